import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import { Updater } from '../../../agent/updater/updater.ts';
import { HubUpdateSource } from '../../../agent/uplink/update-source.ts';
import { createSlot } from '../../../agent/wiring/models.ts';
import type { ModelRef } from '../../../shared/contract/names.ts';
import { applyDelta } from '../../../shared/release/delta/delta-process.ts';
import { type Clock, systemClock } from '../../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import type { Classification } from '../../../shared/tasks/forms/labels.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { eventually } from '../../support/programs.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { pictureInput } from '../runner/fixture-models.ts';
import { MODEL, makeVersion, publishing } from './published.ts';

const DAY_MS = 86_400_000;
const red = await pictureInput('#ff0000');
const white = await pictureInput('#ffffff');
const black = await pictureInput('#000000');
/** Other labels make another version. */
const PRETTY = '{"id2label":{"0":"crimson","1":"green","2":"blue"}}';

/** A device with version 1 in its models folder, and a hub that has published it. */
async function setUp(t: TestContext) {
  const hub = await publishing(t);
  const given = await makeVersion(join(hub.folder, 'given'), 'colours');
  const first = await hub.publish('1', given);
  const time = { aheadMs: 0 };
  const clock: Clock = { ...systemClock, nowAtMs: () => Date.now() + time.aheadMs };
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const credential = {
    deviceId: 'device',
    secret: 'the-device',
    hubId: 'hub',
    mqttUrl: 'mqtt://127.0.0.1',
    tokenSha256: 'token',
    updateRoot: hub.repository.initialRoot(),
  };
  const folder = join(hub.folder, 'agent');
  const updater = await Updater.open({
    folder,
    given: [given],
    taskOf: () => 'image-classification',
    source: new HubUpdateSource({
      folder: join(folder, 'tuf'),
      find: async () => ({ hub: { url: hub.url }, credential }),
      clock,
      logger,
    }),
    agentVersion: '0.1.0',
    isInWindow: () => true,
    mayDownload: () => true,
    applyDelta,
    onBytes: () => undefined,
    onChange: () => undefined,
    clock,
    logger,
    metrics,
  });
  const slot = createSlot(MODEL, (await updater.candidates(MODEL))[0], {
    threads: 1,
    onSwitch: () => undefined,
    clock,
    logger,
    metrics,
  });
  await slot.start();
  updater.use(new Map([[MODEL, slot]]));
  await updater.start();
  t.after(async () => {
    await updater.stop();
    await slot.stop();
  });
  const answer = async (input: TaskInput = red): Promise<string> => {
    const { output, model } = await slot.infer(input);
    return `${(output as Classification[])[0]?.label} by ${model.version}`;
  };
  const now = () => updater.updates[0];
  const refusedWith = async (code: ErrorCode): Promise<string> => {
    await eventually(
      () => now()?.error?.code === code,
      () => `not ${code}: ${JSON.stringify(now())}`,
    );
    return now()?.error?.message ?? '';
  };
  const onTrial = () => eventually(() => now()?.phase === 'trial', 'it never came');
  const second = async (): Promise<ModelRef> =>
    hub.publish('2', await makeVersion(join(hub.folder, 'second'), 'colours', { 'config.json': PRETTY }));
  return { hub, first, second, updater, slot, folder, time, answer, now, refusedWith, onTrial };
}

/** A version that passes its self-test with a black picture and never comes back from a white one. */
const poisoned = (folder: string, fixture: 'hangs' | 'hungry') =>
  makeVersion(join(folder, fixture), fixture, { 'golden/1.png': black.body }, [
    { input: { file: 'golden/1.png' }, output: [{ label: 'red', score: 1 / 3 }] },
  ]);

const sends = (response: ServerResponse, body: Uint8Array): true => {
  response.writeHead(200).end(body);
  return true;
};

test('a good version is taken, and no input is dropped on the way', async (t) => {
  const { hub, updater, second, answer, now } = await setUp(t);
  assert.equal(await answer(), 'red by 0');
  const taken = await second();
  updater.want([taken]);
  const said = new Set<string>();
  const failures: unknown[] = [];
  const asking = Array.from({ length: 3 }, async () => {
    while (now()?.phase !== 'committed')
      said.add(await answer().catch((error: unknown) => String(failures.push(error))));
  });
  await Promise.all(asking);
  assert.deepEqual(failures, []);
  said.add(await answer());
  assert.deepEqual([...said].sort(), ['crimson by 2', 'red by 0']);
  assert.deepEqual([now()?.test, await answer()], ['smoke', 'crimson by 2']);
  // Listed no more: a device that has it answers with it.
  await hub.repository.remove([taken]);
  assert.equal(hub.repository.release(taken.name, taken.version), undefined);
  updater.want([taken]);
  await updater.stop();
  assert.deepEqual([now()?.phase, await answer()], ['committed', 'crimson by 2']);
});

test('a wrong signature is refused, and the old version answers', async (t) => {
  const { hub, updater, second, answer, refusedWith } = await setUp(t);
  const stranger = await hub.openRepository('stranger');
  hub.hooks.tamper = async (path, response) =>
    path === '/tuf/metadata/timestamp.json' &&
    sends(response, (await stranger.metadata('timestamp.json')) ?? assert.fail());
  updater.want([await second()]);
  assert.match(await refusedWith('UPDATE_UNTRUSTED'), /timestamp\.json/);
  assert.equal(await answer(), 'red by 0');
});

test('content with a wrong digest is refused and removed, and the old version answers', async (t) => {
  const { hub, updater, second, folder, answer, refusedWith } = await setUp(t);
  hub.hooks.tamper = (path, response) =>
    path.endsWith('config.json') && sends(response, Buffer.from(PRETTY.replace('crimson', 'crimsom')));
  updater.want([await second()]);
  assert.match(await refusedWith('MODEL_DIGEST_MISMATCH'), /config\.json/);
  assert.deepEqual(await readdir(join(folder, 'versions')).catch(() => []), []);
  assert.equal(await answer(), 'red by 0');
});

test('a truncated download is told, goes on where it ended, and the old version answers meanwhile', async (t) => {
  const { hub, updater, second, answer, refusedWith, onTrial } = await setUp(t);
  const ref = await second();
  hub.hooks.tamper = (path, response) =>
    path.endsWith('config.json') && sends(response, Buffer.from(PRETTY.slice(0, 20)));
  updater.want([ref]);
  assert.match(await refusedWith('DOWNLOAD_INCOMPLETE'), /20 of 51 bytes/);
  assert.equal(await answer(), 'red by 0');
  hub.hooks.tamper = () => false;
  updater.want([ref]);
  await onTrial();
  assert.ok(hub.asked.some((one) => /config\.json bytes=20-$/.test(one)));
});

test('older metadata is refused, and the version that desired names of what is listed is taken', async (t) => {
  const { hub, updater, second, answer, refusedWith, onTrial, first, now } = await setUp(t);
  const old = new Map<string, Uint8Array>();
  for (const name of ['timestamp.json', '2.snapshot.json', '2.targets.json'])
    old.set(name, (await hub.repository.metadata(name)) ?? assert.fail(name));
  updater.want([await second()]);
  await onTrial();
  for (let i = 0; i < 60; i++) await answer();
  await eventually(
    () => now()?.phase === 'committed',
    () => `not committed: ${JSON.stringify(now())}`,
  );

  const third = await hub.publish(
    '3',
    await makeVersion(join(hub.folder, 'third'), 'colours', { 'config.json': `${PRETTY} ` }),
  );
  hub.hooks.tamper = (path, response) => {
    const body = old.get(path.replace('/tuf/metadata/', ''));
    return body !== undefined && sends(response, body);
  };
  updater.want([third]);
  assert.match(await refusedWith('UPDATE_OLDER'), /timestamp/);
  assert.equal(await answer(), 'crimson by 2');
  hub.hooks.tamper = () => false;
  updater.want([first]);
  await onTrial();
  assert.equal(await answer(), 'red by 1', 'a rollback that the operator asks for');
});

test('an expired timestamp is refused, and the old version answers', async (t) => {
  const { updater, second, time, answer, refusedWith } = await setUp(t);
  const ref = await second();
  time.aheadMs = 2 * DAY_MS;
  updater.want([ref]);
  assert.match(await refusedWith('UPDATE_EXPIRED'), /timestamp\.json/);
  assert.equal(await answer(), 'red by 0');
});

test('a version that does not answer its golden inputs as recorded is refused before it answers for anybody', async (t) => {
  const { hub, updater, answer, refusedWith, now } = await setUp(t);
  const wrong = await makeVersion(join(hub.folder, 'wrong'), 'colours', { 'golden/1.png': red.body }, [
    { input: { file: 'golden/1.png' }, output: [{ label: 'blue', score: 0.99 }] },
  ]);
  updater.want([await hub.publish('2', wrong)]);
  assert.match(await refusedWith('MODEL_SELF_TEST_FAILED'), /golden\/1\.png/);
  assert.deepEqual([now()?.phase, await answer()], ['rolled-back', 'red by 0']);
});

test('a file that is no model is refused', async (t) => {
  const { hub, updater, answer, refusedWith, now } = await setUp(t);
  const changes = { 'onnx/model.onnx': 'no model at all' };
  updater.want([await hub.publish('2', await makeVersion(join(hub.folder, 'torn'), 'colours', changes))]);
  await refusedWith('MODEL_INVALID');
  assert.deepEqual([now()?.phase, await answer()], ['rolled-back', 'red by 0']);
});

test('one that hangs on an input is given up, and the old version answers that input', async (t) => {
  const { hub, updater, answer, refusedWith, onTrial } = await setUp(t);
  updater.want([await hub.publish('2', await poisoned(hub.folder, 'hangs'))]);
  await onTrial();
  assert.match(await answer(black), /by 2$/);
  assert.match(await answer(white), /by 0$/);
  await refusedWith('RUNNER_TIMEOUT');
  assert.match(await answer(white), /by 0$/);
});

test('one that eats the memory is given up, and the old version answers that input', async (t) => {
  const { hub, updater, slot, answer, now, onTrial } = await setUp(t);
  updater.want([await hub.publish('2', await poisoned(hub.folder, 'hungry'))]);
  await onTrial();
  const said = await slot.infer(white).catch((error: unknown) => error);
  assert.ok(!(said instanceof AppError), isAppError(said) ? said.code : '');
  await eventually(() => now()?.phase === 'rolled-back', 'it was not rolled back');
  assert.match(`${now()?.error?.code}`, /RUNNER_(CRASHED|TIMEOUT)/);
  assert.match(await answer(), /by 0$/);
});
