import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HubClient } from '../../cli/hub-client.ts';
import { deviceList } from '../../shared/contract/admin.ts';
import { DELTA_KINDS } from '../../shared/contract/deltas.ts';
import { isFailure, type Result, result } from '../../shared/contract/result.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { mislabelled, nudged, recalibrated } from '../support/model-variants.ts';
import { freePort } from '../support/ports.ts';
import { commandOf, descendants, eventually, outrider, upFlags } from '../support/programs.ts';

const NAME = 'cifar10-cnn';

/** The demo, and a second terminal; `model` is the one that a test looks at. */
async function setUp(t: TestContext, { folder = '', model = NAME, pipeline = 'vision' } = {}) {
  const data = folder || (await temporaryFolder(t));
  const { flags, agent, hub } = await upFlags(data);
  const up = outrider(t, ['up', ...flags]);
  await up.says(/edge +confident/);
  const run = async (...args: string[]) => {
    const command = outrider(t, [...args, '--data', data]);
    const { code } = await command.exited;
    return { code, said: command.output() };
  };
  const client = await HubClient.find({ hub, data });
  const record = async () => {
    const { devices } = await client.get('/api/v1/devices', deviceList);
    return devices.find(({ id }) => id === 'demo');
  };
  const device = async () => (await record())?.reported ?? undefined;
  const countsOf = async (version: string) =>
    (await record())?.telemetry?.versions?.find(
      (one) => one.model.name === model && one.model.version === version,
    );
  const running = async () =>
    (await device())?.pipelines.find(({ name }) => name === pipeline)?.edge?.version;
  const update = async () => (await device())?.updates?.find((one) => one.model.name === model);
  // Until the hub has said so, a model from a folder has no number.
  await eventually(async () => (await running()) === '1', 'the device was not told its number');
  // By this the hub knows which differences it can read.
  assert.deepEqual((await device())?.deltaKinds, [...DELTA_KINDS]);
  return { data, up, agent, run, running, update, countsOf };
}

/** A device is asked often, and leaves the machine to those who make the update. */
const ASK_EVERY_MS = 20;

/** Asks the device again and again, until it is told to stop. */
function asking(agent: string, body: Uint8Array | string, pipeline = 'vision') {
  const answers: Result[] = [];
  const state = { isOver: false };
  const done = (async () => {
    while (!state.isOver) {
      const response = await fetch(`${agent}/v1/infer/${pipeline}?route=edge`, { method: 'POST', body });
      answers.push(result.parse(await response.json()));
      await delay(ASK_EVERY_MS);
    }
  })();
  return {
    answers,
    stop: async () => {
      state.isOver = true;
      await done;
    },
  };
}

async function picture(): Promise<Uint8Array> {
  const folder = new URL('../../models/demo/pictures/', import.meta.url);
  const [first = ''] = await readdir(folder);
  return readFile(new URL(first, folder));
}

test('a pushed version is taken within seconds with no input dropped; a broken one is refused and says why', async (t) => {
  const { data, up, agent, run, running, update, countsOf } = await setUp(t);
  const asked = asking(agent, await picture());
  const pushed = await run('models', 'push', await recalibrated(NAME, join(data, 'retrained')));
  assert.equal(pushed.code, 0, pushed.said);
  assert.match(pushed.said, /cifar10-cnn@2 is published, its golden inputs answered as recorded/);
  assert.match(pushed.said, /demo: cifar10-cnn@2 committed/);
  const tuned = await run('models', 'push', await nudged(NAME, join(data, 'tuned')));
  assert.equal(tuned.code, 0, tuned.said);
  assert.match(tuned.said, /demo: cifar10-cnn@3 committed \(no golden inputs\), .* came of/);
  const { wireBytes = 0, totalBytes = 0, savedBytes = 0 } = (await update()) ?? {};
  assert.ok(wireBytes < totalBytes / 10 && savedBytes > 0.9 * totalBytes, `${wireBytes} of ${totalBytes}`);
  await asked.stop();
  assert.deepEqual(asked.answers.filter(isFailure), []);
  const versions = asked.answers.map((one) => (isFailure(one) ? 'failed' : one.model.version));
  assert.deepEqual([...new Set(versions)], ['1', '2', '3'], 'one after the other, and nothing in between');
  await eventually(async () => ((await countsOf('2'))?.answers ?? 0) >= 50, 'its answers were not counted');
  const [before, now] = [await countsOf('1'), await countsOf('2')];
  assert.ok((before?.answers ?? 0) > 0 && (before?.times.length ?? 0) > 0);
  assert.deepEqual([now?.failures, now?.crashes, before?.failures, before?.crashes], [0, 0, 0, 0]);
  await eventually(async () => (await running()) === '3', 'the hub was not told');
  assert.match((await run('devices', 'ls')).said, /cifar10-cnn@3/);
  assert.match((await run('models', 'ls')).said, /cifar10-cnn +image-classification +3 +smoke +3 +auto/);

  const broken = await mislabelled(NAME, join(data, 'broken'));
  const refused = await run('models', 'push', broken);
  assert.equal(refused.code, 1);
  assert.match(refused.said, /golden.*\(MODEL_SELF_TEST_FAILED\)/);

  const forced = await run('models', 'push', broken, '--force');
  assert.equal(forced.code, 1, forced.said);
  assert.match(forced.said, /demo has refused cifar10-cnn@4: .*golden.*\(MODEL_SELF_TEST_FAILED\)/);
  assert.deepEqual([await running(), (await update())?.phase], ['3', 'rolled-back']);
  assert.match((await run('devices', 'ls')).said, /cifar10-cnn@4: refused/);

  const back = await run('models', 'deploy', NAME, '1', '--no-wait');
  assert.equal(back.code, 0, back.said);
  await eventually(async () => (await running()) === '1', 'the way back was not taken');

  // What was counted of both outlives the hub.
  up.process.kill('SIGTERM');
  await up.exited;
  const evidence = await readFile(join(data, 'hub', 'evidence.json'), 'utf8');
  for (const one of [before, now]) assert.ok(evidence.includes(one?.model.digest ?? 'nothing'));
});

test('an agent that is killed in a trial comes back with the version before, and says so', async (t) => {
  const { data, up, run, running, update } = await setUp(t);
  await run('models', 'push', await recalibrated(NAME, join(data, 'retrained')), '--no-wait');
  await eventually(async () => (await update())?.phase === 'trial', 'no trial');
  const pid = descendants(up.process.pid ?? 0).find((one) => commandOf(one).includes('dist/agent.js'));
  process.kill(pid ?? assert.fail('no agent'), 'SIGKILL');
  await eventually(async () => (await update())?.error?.code === 'UPDATE_INTERRUPTED', 'it was not told');
  assert.equal(await running(), '1');
});

test('a device takes what somebody with the key has signed for, and hears nothing of it before', async (t) => {
  const data = await temporaryFolder(t);
  const safe = join(data, 'safe');
  await mkdir(safe);
  const ports = ['--hub-port', String(await freePort()), '--mqtt-port', String(await freePort())];
  const models = fileURLToPath(new URL('../../models', import.meta.url));
  const maker = outrider(t, ['hub', '--data', data, '--models', models, '--deploy', 'auto', ...ports]);
  await maker.says('development signing keys');
  maker.process.kill('SIGTERM');
  await maker.exited;
  for (const role of ['root', 'targets'])
    await rename(join(data, 'hub', 'tuf', 'keys', `${role}.pem`), join(safe, `${role}.pem`));

  const name = 'sst2-lstm';
  const { agent, run, running, update } = await setUp(t, { folder: data, model: name, pipeline: 'text' });
  const retrained = await recalibrated(name, join(data, 'retrained'), 1.01);
  const waits = await run('models', 'push', retrained);
  assert.equal(waits.code, 1);
  assert.match(waits.said, /sst2-lstm@2 is uploaded and waits for its signature.*\(UPDATE_NOT_LISTED\)/);
  assert.deepEqual([await running(), await update()], ['1', undefined]);
  const asked = asking(agent, 'a fine film', 'text');
  const pushed = await run('models', 'push', retrained, '--signing-key', join(safe, 'targets.pem'));
  const tuned = await nudged(name, join(data, 'tuned'));
  const small = await run('models', 'push', tuned, '--signing-key', join(safe, 'targets.pem'));
  await asked.stop();
  assert.match(small.said, /demo: sst2-lstm@3 committed \(no golden inputs\), .* came of/);
  const { wireBytes = 0, totalBytes = 0 } = (await update()) ?? {};
  assert.ok(wireBytes < totalBytes / 5, `${wireBytes} of ${totalBytes}: the signed difference was taken`);
  assert.equal(pushed.code, 0, pushed.said);
  assert.match(pushed.said, /sst2-lstm@2 is published\./);
  assert.match(pushed.said, /demo: sst2-lstm@2 committed/);
  await eventually(async () => (await running()) === '3', 'the hub was not told');
});
