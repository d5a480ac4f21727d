/** `mqtts`: a certificate of the named authority is trusted, any other is not. Needs `openssl` to make them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createServer, type Server } from 'node:tls';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { type Logger, silentLogger } from '../../../shared/runtime/logger.ts';
import { startEmbeddedBroker, type TestBroker } from '../../support/broker.ts';
import { connectAs, until } from '../../support/link-contract.ts';

describe('the link over TLS', () => {
  let broker: TestBroker;
  let server: Server;
  let folder: string;
  let url: string;
  const certificate = (name: string) => join(folder, `${name}.pem`);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'outrider-tls-'));
    for (const name of ['ours', 'foreign'])
      execFileSync(
        'openssl',
        [
          ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost'],
          ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
          ...['-keyout', join(folder, `${name}.key`), '-out', certificate(name)],
        ],
        { stdio: 'ignore' },
      );
    broker = await startEmbeddedBroker();
    const key = await readFile(join(folder, 'ours.key'));
    const cert = await readFile(certificate('ours'));
    server = createServer({ key, cert }, (near) => {
      const far = createConnection({ port: broker.port, host: '127.0.0.1', noDelay: true });
      near.on('error', () => far.destroy());
      far.on('error', () => near.destroy());
      near.pipe(far).pipe(near);
    });
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `mqtts://localhost:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.close();
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('connects where the authority is the one that was named', async () => {
    const device = await connectAs({ url }, 'gate-01', { caFile: certificate('ours') });
    await device.publish('outrider/v1/devices/gate-01/telemetry', 'hello', { qos: 1 });
    await device.end();
  });

  for (const [what, caFile] of [
    ['another authority', 'foreign'],
    ['no authority at all', undefined],
  ] as const)
    it(`does not connect with ${what}`, async () => {
      const events: string[] = [];
      const logger: Logger = { ...silentLogger, failure: (event) => events.push(event), child: () => logger };
      const device = await connectMqtt({
        url,
        clientId: 'gate-01',
        username: 'gate-01',
        password: 'gate-secret',
        logger,
        random: () => 0.01,
        ...(caFile && { caFile: certificate(caFile) }),
      });
      await until(() => events.includes('mqtt.unreachable'));
      await delay(200);
      assert.ok(!device.connected);
      assert.deepEqual(events, ['mqtt.unreachable']);
      await device.end();
    });

  it('says which file cannot be read, and which address it cannot use', async () => {
    const options = { clientId: 'x', username: 'x', password: 'x', logger: silentLogger };
    await assert.rejects(connectMqtt({ ...options, url, caFile: '/nowhere.pem' }), (error) =>
      isAppError(error, 'FILE_UNREADABLE'),
    );
    for (const bad of ['localhost:1883', 'http://localhost', 'nonsense', 'mqtt://'])
      await assert.rejects(connectMqtt({ ...options, url: bad }), (error) =>
        isAppError(error, 'CONFIG_INVALID'),
      );
  });
});
