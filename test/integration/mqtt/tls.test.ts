/** `mqtts` and `wss`: whom a client believes, and a certificate that changes while everybody stays connected. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { connect } from 'node:tls';
import { EmbeddedBroker } from '../../../cloud/broker/broker.ts';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { Authority } from '../../../shared/runtime/authority.ts';
import { CertificateFiles } from '../../../shared/runtime/certificate-files.ts';
import { type Clock, systemClock } from '../../../shared/runtime/clock.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import type { Trust } from '../../../shared/runtime/trust.ts';
import { startEmbeddedBroker, TEST_USERS, type TestBroker } from '../../support/broker.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { connectAs, until } from '../../support/link-contract.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const DAY_MS = 86_400_000;
const logger = silentLogger;
const parts = { clock: systemClock, logger };

const openAuthority = async (t: TestContext, clock: Clock = systemClock): Promise<Authority> =>
  Authority.open({ folder: join(await temporaryFolder(t), 'tls'), names: [], clock, logger });

/** A broker on every address, with the certificate of this authority. */
async function startBroker(t: TestContext, authority: Authority) {
  const folder = await temporaryFolder(t);
  const certificate = await CertificateFiles.open(authority, parts);
  const broker = new EmbeddedBroker({
    host: '0.0.0.0',
    port: 0,
    webSocketPort: 0,
    certificate,
    folder,
    logger,
    clock: systemClock,
  });
  await broker.start();
  certificate.start();
  t.after(async () => {
    certificate.stop();
    await broker.stop();
  });
  return broker;
}

/** What a client says that does not believe the broker. */
async function refusal(t: TestContext, url: string, trust?: Trust): Promise<string> {
  const logger = recordingLogger();
  const device = await connectMqtt({
    url,
    clientId: 'gate-01',
    username: 'gate-01',
    password: 'gate-secret',
    logger,
    ...(trust && { trust: () => trust }),
  });
  t.after(() => device.end());
  const said = await until(() => logger.failures()[0]);
  assert.ok(!device.connected);
  return said;
}

for (const scheme of ['mqtts', 'wss'] as const)
  describe(`trust over ${scheme}`, () => {
    let broker: TestBroker;
    before(async () => {
      broker = await startEmbeddedBroker(TEST_USERS, logger, scheme);
    });
    after(() => broker.stop());

    it('is refused to a broker of another authority', async (t) => {
      const { pem } = await openAuthority(t);
      assert.equal(await refusal(t, broker.url, { ca: pem }), 'mqtt.untrusted HUB_UNTRUSTED');
    });

    it('is refused where no authority was named: the system knows none of ours', async (t) => {
      assert.equal(await refusal(t, broker.url), 'mqtt.untrusted HUB_UNTRUSTED');
    });

    it('is refused to a certificate that has expired', async (t) => {
      const past: Clock = { ...systemClock, nowAtMs: () => Date.now() - 500 * DAY_MS };
      const authority = await openAuthority(t, past);
      const { port, webSocketPort } = await startBroker(t, authority);
      const url = `${scheme}://127.0.0.1:${scheme === 'wss' ? webSocketPort : port}`;
      assert.equal(await refusal(t, url, { ca: authority.pem }), 'mqtt.untrusted HUB_UNTRUSTED');
    });

    it('is refused to a certificate for another name', async (t) => {
      const authority = await openAuthority(t);
      const { port, webSocketPort } = await startBroker(t, authority);
      const url = `${scheme}://127.0.0.2:${scheme === 'wss' ? webSocketPort : port}`;
      assert.equal(await refusal(t, url, { ca: authority.pem }), 'mqtt.untrusted HUB_UNTRUSTED');
    });

    it('is refused to a broker that speaks plain text', async (t) => {
      const plain = await startEmbeddedBroker(TEST_USERS, logger, scheme === 'wss' ? 'ws' : 'mqtt');
      t.after(() => plain.stop());
      const url = `${scheme}://127.0.0.1:${plain.port}`;
      assert.equal(await refusal(t, url, broker.trust?.()), 'mqtt.unreachable BROKER_UNREACHABLE');
    });
  });

it('a client that was given the very certificate believes it whatever its names, and no other', async (t) => {
  const authority = await openAuthority(t);
  const { port } = await startBroker(t, authority);
  const { current } = await CertificateFiles.open(authority, parts);
  const other = await CertificateFiles.open(await openAuthority(t), parts);
  const url = `mqtts://127.0.0.2:${port}`;
  // It has no users: a refused credential means that TLS was agreed.
  assert.equal(await refusal(t, url, { certificate: current.cert }), 'mqtt.refused LINK_REFUSED');
  assert.equal(await refusal(t, url, { certificate: other.current.cert }), 'mqtt.untrusted HUB_UNTRUSTED');
});

it('a new certificate is shown to who comes, and nobody who is there loses the connection', async (t) => {
  const broker = await startEmbeddedBroker(TEST_USERS, logger, 'mqtts');
  t.after(() => broker.stop());
  const device = await connectAs(broker, 'gate-01');
  let lost = 0;
  device.onDisconnect(() => {
    lost += 1;
  });
  const first = await shownBy(broker.port);
  const { pem, keyFile, certFile } = await openAuthority(t);
  // Somebody who copies one file after the other: in between they are no pair.
  await cp(keyFile, join(broker.folder, 'tls', 'server.key'));
  assert.equal(await shownBy(broker.port), first);
  await cp(certFile, join(broker.folder, 'tls', 'server.pem'));
  let shown = first;
  while (shown === first) shown = await shownBy(broker.port);
  const newcomer = await connectAs({ ...broker, trust: () => ({ ca: pem }) }, 'gate-02');
  await device.publish('outrider/v1/devices/gate-01/telemetry', 'still here', { qos: 1 });
  assert.equal(lost, 0);
  await Promise.all([device.end(), newcomer.end()]);
});

/** The serial number of the certificate that a server shows now. */
function shownBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      resolve(new X509Certificate(raw).serialNumber);
    });
    socket.once('error', reject);
  });
}

it('says which file cannot be read, and which two are no pair', async (t) => {
  const [one, other] = [await openAuthority(t), await openAuthority(t)];
  const open = (certFile: string, keyFile: string) => CertificateFiles.open({ certFile, keyFile }, parts);
  await assert.rejects(open('/nowhere.pem', one.keyFile), (error) => isAppError(error, 'FILE_UNREADABLE'));
  for (const [certFile, keyFile] of [
    [one.certFile, other.keyFile],
    [one.keyFile, one.certFile],
  ] as const)
    await assert.rejects(open(certFile, keyFile), (error) => isAppError(error, 'CONFIG_INVALID'));
});
