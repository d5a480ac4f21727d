/** A credential's whole life: the agent's renewal, the hub's API and records, and the embedded broker, over real sockets. */
import assert from 'node:assert/strict';
import { cp, readdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findCredential } from '../../../agent/uplink/credential.ts';
import { Renewal } from '../../../agent/uplink/renewal.ts';
import { EmbeddedBroker } from '../../../cloud/broker/broker.ts';
import { deviceTopics } from '../../../shared/contract/topics.ts';
import { connectMqtt, type MqttConnection } from '../../../shared/mqtt/connect.ts';
import { type Clock, systemClock } from '../../../shared/runtime/clock.ts';
import type { AppError } from '../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubApi } from '../../support/hub-api.ts';
import { until } from '../../support/link-contract.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const DAY_MS = 86_400_000;
const LIFE_MS = 30 * DAY_MS;
const never = { onRefused: () => undefined, connected: true };

/** What becomes of a request at the door of the hub. */
type Fate = 'answered' | 'answer lost' | 'not heard';

async function setUp(
  t: TestContext,
  { credentialLifeMs }: { credentialLifeMs?: number | undefined } = { credentialLifeMs: LIFE_MS },
) {
  const clock = new FakeClock();
  const life = credentialLifeMs === undefined ? {} : { credentialLifeMs };
  let hub = await startHubApi({ clock, ...life });
  const asked: string[] = [];
  const fates: Fate[] = [];
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const fate = request.url === '/api/v1/enroll' ? 'answered' : (fates.shift() ?? 'answered');
      const done = (): void => void asked.push(`${request.url?.split('/').at(-1)} ${fate}`);
      if (fate === 'not heard') {
        done();
        return void response.destroy();
      }
      const { authorization = '' } = request.headers;
      const answered = await hub.app.request(request.url ?? '', {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization },
        body: Buffer.concat(chunks),
      });
      done();
      if (fate === 'answer lost') return void response.destroy();
      response.writeHead(answered.status, { 'content-type': 'application/json' }).end(await answered.text());
    };
    answer().catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const folder = await temporaryFolder(t);
  const logger = recordingLogger();
  const stopping = new AbortController();
  t.after(async () => {
    stopping.abort();
    server.closeAllConnections();
    server.close();
    await hub.stop();
  });
  const path = join(folder, 'credential.json');
  const hubUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { token } = await hub.registry.devices.createToken({});
  const enrol = { path, deviceId: 'gate-01', hubUrl, token, clock, logger };
  const credential = async () => (await findCredential(enrol)) ?? assert.fail('no credential');
  const first = await credential();
  /** The agent as after a start: with what is on disk. */
  const renewal = async (onProblem?: (problem: AppError | undefined) => void) =>
    new Renewal({
      ...(onProblem && { onProblem }),
      path,
      credential: await credential(),
      hub: { url: hubUrl },
      clock,
      logger,
      random: () => 0.5,
    });
  /** The hub as it was when `copy` was made of its folder. */
  const restore = async (copy: string): Promise<void> => {
    await hub.stop();
    hub = await startHubApi({ clock, ...life, from: copy });
  };
  const backUp = async (): Promise<string> => {
    const copy = await temporaryFolder(t);
    await cp(join(hub.brokerFolder, '..', 'hub'), copy, { recursive: true });
    return copy;
  };
  const isGood = async (secret: string) => (await hub.registry.devices.authenticate(secret)) !== undefined;
  const parts = { clock, hub, asked, fates, folder, logger, stopping, first, credential, renewal, isGood };
  return { ...parts, backUp, restore };
}

/** Turns the hands in steps, and only while the agent waits: what goes over the socket takes none of their time. */
async function pass(clock: FakeClock, totalMs: number, steps = 10): Promise<void> {
  for (let i = 0; i < steps; i++) {
    await until(() => clock.waiting > 0);
    await clock.advance(totalMs / steps);
  }
  await until(() => clock.waiting > 0);
}

/** The same, for as long as something is expected. */
const untilLater = (clock: FakeClock, isSo: () => Promise<boolean>): Promise<unknown> =>
  until(async () => {
    if (clock.waiting > 0) await clock.advance(DAY_MS / 50);
    return isSo();
  });

test('a device renews its credential when two thirds of its life have passed', async (t) => {
  const { clock, first, renewal, stopping, isGood, credential, folder } = await setUp(t);
  assert.equal(first.lifeMs, LIFE_MS);
  const agent = await renewal();
  agent.start(never, stopping.signal);
  await pass(clock, 19 * DAY_MS, 40);
  assert.equal(agent.secret, first.secret);
  await untilLater(clock, async () => agent.secret !== first.secret && !(await isGood(first.secret)));
  assert.ok(await isGood(agent.secret));
  const { lifeMs, ...stored } = await credential();
  assert.deepEqual({ ...stored, lifeMs: LIFE_MS }, { ...first, secret: agent.secret, before: first.secret });
  // The hands have turned while the answer was on its way.
  assert.ok(lifeMs !== undefined && lifeMs > LIFE_MS - DAY_MS);
  assert.deepEqual(await readdir(folder), ['credential.json']);
});

test('a hub that comes back from a backup, and knows the secret before alone, is told the one that is good', async (t) => {
  const { clock, first, renewal, stopping, isGood, backUp, restore, logger } = await setUp(t);
  const agent = await renewal();
  agent.start(never, stopping.signal);
  await pass(clock, 19 * DAY_MS, 40);
  const copy = await backUp();
  await untilLater(clock, async () => agent.secret !== first.secret && !(await isGood(first.secret)));
  const renewed = agent.secret;
  await restore(copy);
  assert.ok((await isGood(first.secret)) && !(await isGood(renewed)));
  await untilLater(clock, async () => isGood(renewed));
  await untilLater(clock, async () => !(await isGood(first.secret)));
  assert.equal(agent.secret, renewed);
  assert.ok(logger.lines.some(({ event }) => event === 'credential.told_again'));
});

test('a life long: it is renewed again and again', async (t) => {
  const { clock, renewal, stopping, isGood } = await setUp(t);
  const agent = await renewal();
  agent.start(never, stopping.signal);
  for (let round = 0; round < 4; round++) {
    const before = agent.secret;
    await pass(clock, 18 * DAY_MS, 18);
    await untilLater(clock, async () => agent.secret !== before && !(await isGood(before)));
    assert.ok(await isGood(agent.secret));
  }
});

test('one that was switched off learns at its start how little is left', async (t) => {
  const { clock, first, renewal, stopping } = await setUp(t);
  await clock.advance(25 * DAY_MS);
  const agent = await renewal();
  agent.start(never, stopping.signal);
  await until(() => agent.secret !== first.secret);
});

for (const [what, fates] of Object.entries({
  'the request is lost': ['answered', 'not heard'],
  'the answer is lost': ['answered', 'answer lost'],
  'the first use is lost': ['answered', 'answered', 'not heard'],
} satisfies Record<string, Fate[]>)) {
  test(`when ${what}, it asks again for the same, also after a power cut`, async (t) => {
    for (const isCut of [false, true]) {
      const { clock, first, renewal, stopping, isGood, asked, fates: left } = await setUp(t);
      await clock.advance(25 * DAY_MS);
      left.push(...fates);
      const powered = new AbortController();
      let agent = await renewal();
      agent.start(never, AbortSignal.any([powered.signal, stopping.signal]));
      await until(() => asked.length === fates.length + 1);
      if (isCut) {
        powered.abort();
        agent = await renewal();
        agent.start(never, stopping.signal);
      }
      await until(async () => {
        await clock.advance(10_000);
        return agent.secret !== first.secret && !(await isGood(first.secret));
      });
      assert.ok(await isGood(agent.secret), `${what}, ${isCut}`);
    }
  });
}

test('when the answer was lost for longer than the old secret is good, the new one is shown', async (t) => {
  const { clock, first, renewal, stopping, isGood, asked, fates } = await setUp(t);
  await clock.advance(25 * DAY_MS);
  fates.push('answered', 'answer lost');
  const powered = new AbortController();
  (await renewal()).start(never, powered.signal);
  await until(() => asked.length === 3);
  powered.abort();
  await clock.advance(DAY_MS);
  assert.ok(!(await isGood(first.secret)));
  const agent = await renewal();
  agent.start(never, stopping.signal);
  await until(() => agent.secret !== first.secret);
  assert.ok(await isGood(agent.secret));
});

test('a pending secret of an earlier enrolment is left alone', async (t) => {
  const { first, renewal, stopping, folder, asked } = await setUp(t);
  const path = join(folder, 'credential.json.renewal');
  await writeFile(path, JSON.stringify({ ofSha256: 'of another', secret: 'x'.repeat(43) }));
  const agent = await renewal();
  agent.start(never, stopping.signal);
  await until(() => asked.includes('credential answered'));
  assert.equal(agent.secret, first.secret);
});

test('one that has ended, or was revoked, is told once, and goes on asking', async (t) => {
  const { clock, hub, renewal, stopping, logger, asked } = await setUp(t);
  await hub.registry.devices.revoke('gate-01');
  const agent = await renewal();
  agent.start(never, stopping.signal);
  await until(() => logger.failures().length > 0);
  await pass(clock, 3_600_000, 20);
  assert.deepEqual(logger.failures(), ['credential.not_kept LINK_REFUSED']);
  assert.ok(asked.length > 3);
});

test('one without an end that was revoked stays named until it is taken again, and is told once', async (t) => {
  const { clock, hub, renewal, stopping, logger, asked } = await setUp(t, { credentialLifeMs: undefined });
  await hub.registry.devices.revoke('gate-01');
  const named: (string | undefined)[] = [];
  const agent = await renewal((problem) => named.push(problem?.code));
  let refuse = (): void => undefined;
  const broker = {
    connected: false,
    onRefused: (run: () => void) => {
      refuse = run;
    },
  };
  agent.start(broker, stopping.signal);
  refuse();
  await until(() => named.includes('LINK_REFUSED'));
  const before = named.length;
  await pass(clock, 3_600_000, 20);
  assert.ok(named.length > before, 'it asks on');
  assert.deepEqual([...new Set(named.slice(before))], ['LINK_REFUSED']);
  assert.deepEqual(logger.failures(), ['credential.not_kept LINK_REFUSED']);
  assert.ok(asked.length > 3);
  broker.connected = true;
  await pass(clock, 3_600_000, 20);
  assert.equal(named.at(-1), undefined);
});

test('one that does not end is never asked about', async (t) => {
  const { clock, renewal, stopping, asked, first } = await setUp(t, { credentialLifeMs: undefined });
  assert.equal(first.lifeMs, undefined);
  const agent = await renewal();
  agent.start(never, stopping.signal);
  await pass(clock, 100 * DAY_MS);
  assert.deepEqual(asked, ['enroll answered']);
});

test('the broker takes both secrets while a credential is renewed, and only the new one when it has been used', async (t) => {
  let skewMs = 0;
  const clock: Clock = { ...systemClock, nowAtMs: () => Date.now() + skewMs };
  const hub = await startHubApi({ clock, credentialLifeMs: LIFE_MS });
  const broker = new EmbeddedBroker({
    host: '127.0.0.1',
    port: 0,
    folder: hub.brokerFolder,
    logger: silentLogger,
    clock,
  });
  await broker.start();
  const opened: MqttConnection[] = [];
  const connect = async (password: string | (() => string), clientId = 'gate-01') => {
    const connection = await connectMqtt({
      url: `mqtt://127.0.0.1:${broker.port}`,
      clientId,
      username: clientId,
      password,
      logger: silentLogger,
      random: () => 0,
    });
    opened.push(connection);
    return connection;
  };
  t.after(async () => {
    await Promise.all(opened.map((one) => one.end()));
    await broker.stop();
    await hub.stop();
  });
  const { devices } = hub.registry;
  const { token } = await devices.createToken({});
  const [old, renewed] = ['o'.repeat(43), 'n'.repeat(43)];
  await devices.enroll({ token, deviceId: 'gate-01', secret: old });
  let secret = old;
  const device = await connect(() => secret);
  await until(() => device.connected);

  await t.test('with the old one it stays connected while the answer is on its way', async () => {
    await devices.renew('gate-01', old, renewed);
    await device.publish(deviceTopics('gate-01').telemetry, 'x', { qos: 1 });
    const again = await connect(old);
    await until(() => again.connected);
    await again.end();
    await until(() => device.connected);
  });

  await t.test('its first use at the broker ends the old one there', async () => {
    let refused = 0;
    const thief = await connect(old);
    thief.onRefused(() => {
      refused += 1;
    });
    await until(() => thief.connected || device.connected);
    secret = renewed;
    const fresh = await connect(renewed);
    await until(() => fresh.connected && refused > 0);
    await Promise.all([thief.end(), fresh.end()]);
    await until(() => device.connected);
  });

  await t.test('its first use at the hub ends the old one everywhere', async () => {
    assert.equal(await devices.authenticate(renewed), 'gate-01');
    await device.publish(deviceTopics('gate-01').telemetry, 'x', { qos: 1 });
    let refused = 0;
    const replay = await connect(old);
    replay.onRefused(() => {
      refused += 1;
    });
    await until(() => refused > 0);
    await replay.end();
    await until(() => device.connected);
  });

  await t.test('at its end the connection is cut, and nobody comes in with it', async () => {
    let refused = 0;
    device.onRefused(() => {
      refused += 1;
    });
    skewMs = LIFE_MS + 60_000;
    // A clock that was set is seen when the file is read, which any change brings about.
    await devices.createToken({});
    await until(() => !device.connected && refused > 0);
  });
});
