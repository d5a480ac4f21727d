import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { PictureOf } from '../../../../agent/ports.ts';
import { SinkStates } from '../../../../agent/sink/sink-states.ts';
import { SnapshotSink } from '../../../../agent/sink/snapshots.ts';
import type { Clock } from '../../../../shared/runtime/clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { answerOf, boxesOf, failureOf } from '../../../support/results.ts';

const NOON_AT_MS = Date.UTC(2026, 10, 30, 12);
const DAY_MS = 86_400_000;
const WISH = { longestPx: 1280, annotate: true, maxBytes: 1e6 };

/** Its time is what the test says; nothing goes off by itself. */
const clockAt = (nowAtMs: number): Clock & { nowMs: number } => ({
  nowMs: nowAtMs,
  nowAtMs() {
    return this.nowMs;
  },
  nowMonoMs() {
    return this.nowMs;
  },
  sleep: () => Promise.resolve(),
  after: () => () => undefined,
});

async function setUp(
  t: TestContext,
  options: {
    readonly folder?: string;
    readonly keep?: { ageMs: number; bytes: number };
    readonly clock?: ReturnType<typeof clockAt>;
    readonly pictureOf?: PictureOf;
  } = {},
) {
  const folder = options.folder ?? join(await temporaryFolder(t), 'snapshots');
  const clock = options.clock ?? clockAt(NOON_AT_MS);
  const states = new SinkStates({ clock, logger: recordingLogger(), metrics: createAgentMetrics() });
  const sink = new SnapshotSink('snapshots', {
    ...{ folder, clock, wish: WISH, keep: options.keep ?? { ageMs: 7 * DAY_MS, bytes: 1e6 } },
    pictureOf: options.pictureOf ?? (async () => new Uint8Array(1_000)),
    tell: states.add({ pipeline: 'gate', name: 'snapshots', type: 'snapshots' }, () => 0),
  });
  const files = async (): Promise<string[]> =>
    (await readdir(folder, { recursive: true })).filter((name) => name.includes('.')).sort();
  return { sink, folder, clock, files, state: () => states.of('gate')[0]! };
}

test('a snapshot is a picture and its Result, by day, time, label and id', async (t) => {
  const { sink, folder, files, state } = await setUp(t);
  const [cat, none] = [answerOf('Siamese cat/../x'), boxesOf()];
  await sink.put(cat);
  await sink.put(none);
  await sink.put(failureOf());
  const day = '2026-11-30/12-00-00.000';
  assert.deepEqual(await files(), [
    ...[`${day}-none-${none.id}.jpg`, `${day}-none-${none.id}.json`],
    ...[`${day}-siamese-cat-x-${cat.id}.jpg`, `${day}-siamese-cat-x-${cat.id}.json`],
  ]);
  const json = await readFile(join(folder, `${day}-none-${none.id}.json`), 'utf8');
  assert.deepEqual(JSON.parse(json), none);
  assert.equal(state().delivered, 2);
});

test('the final answer takes the place of the provisional one', async (t) => {
  const { sink, clock, files } = await setUp(t);
  const first = answerOf('cat', 0.5, { provisional: true });
  await sink.put(first);
  clock.nowMs += 5_000;
  await sink.put({ ...answerOf('dog'), id: first.id });
  assert.deepEqual(
    await files(),
    ['jpg', 'json'].map((ending) => `2026-11-30/12-00-05.000-dog-${first.id}.${ending}`),
  );
});

test('without a picture there is none, and it is counted', async (t) => {
  const { sink, folder, state } = await setUp(t, { pictureOf: async () => undefined });
  await sink.put(answerOf('cat'));
  await assert.rejects(readdir(folder));
  assert.deepEqual([state().delivered, state().dropped], [0, 1]);
});

test('the oldest go by bytes and by age, with their days, and nothing of others is touched', async (t) => {
  const clock = clockAt(NOON_AT_MS);
  const { sink, folder, files } = await setUp(t, { clock, keep: { ageMs: 2 * DAY_MS, bytes: 6_000 } });
  await mkdir(join(folder, '2026-11-30'), { recursive: true });
  const others = ['2026-11-30/mine.jpg', 'notes.txt'];
  for (const name of others) await writeFile(join(folder, name), 'x'.repeat(10_000));
  const ids: string[] = [];
  for (let hour = 0; hour < 8; hour++) {
    const answer = answerOf('cat');
    ids.push(answer.id);
    await sink.put(answer);
    clock.nowMs += 3_600_000;
  }
  const kept = async () => (await files()).filter((name) => name.endsWith('.jpg') && name.includes('cat'));
  assert.equal((await kept()).length, 4);
  assert.ok((await kept()).every((name) => ids.slice(4).some((id) => name.includes(id))));
  clock.nowMs += 3 * DAY_MS;
  await sink.put(answerOf('cat'));
  assert.equal((await kept()).length, 1);
  assert.deepEqual(
    (await files()).filter((name) => !name.includes('cat')),
    others,
  );
});

test('those of an earlier run are kept to the bounds, too, without a new one', async (t) => {
  const first = await setUp(t);
  for (let i = 0; i < 5; i++) {
    await first.sink.put(answerOf('cat'));
    first.clock.nowMs += 1_000;
  }
  const torn = `.12-00-05.000-cat-${answerOf('cat').id}.jpg.0a1b2c3d.tmp`;
  await writeFile(join(first.folder, '2026-11-30', torn), 'x');
  const clock = clockAt(NOON_AT_MS + 10_000);
  const second = await setUp(t, { folder: first.folder, clock, keep: { ageMs: DAY_MS, bytes: 3_500 } });
  second.sink.start();
  await second.sink.stop();
  assert.equal((await second.files()).length, 4);
  const third = await setUp(t, {
    folder: first.folder,
    clock: clockAt(NOON_AT_MS + 2 * DAY_MS),
    keep: { ageMs: DAY_MS, bytes: 1e6 },
  });
  third.sink.start();
  await third.sink.stop();
  assert.deepEqual(await readdir(first.folder), []);
});

test('a clock that was not set makes nothing old', async (t) => {
  const clock = clockAt(5_000);
  const { sink, files } = await setUp(t, { clock });
  await sink.put(answerOf('cat'));
  clock.nowMs = NOON_AT_MS;
  await sink.put(answerOf('dog'));
  assert.equal((await files()).filter((name) => name.endsWith('.jpg')).length, 2);
});

test('a folder that cannot be written is said, and tried again', async (t) => {
  const parent = await temporaryFolder(t);
  await writeFile(join(parent, 'file'), '');
  const { sink, state } = await setUp(t, { folder: join(parent, 'file', 'snapshots') });
  await assert.rejects(sink.put(answerOf('cat')));
  assert.equal(state().state, 'refusing');
});

test('room is given back from the oldest on', async (t) => {
  const { sink, clock, files } = await setUp(t);
  for (let i = 0; i < 4; i++) {
    await sink.put(answerOf('cat'));
    clock.nowMs += 1_000;
  }
  const { bytes: before } = await sink.look();
  const freed = await sink.giveBack(2_000);
  assert.ok(freed >= 2_000 && freed < before);
  assert.equal((await sink.look()).bytes, before - freed);
  assert.match((await files())[0] ?? '', /12-00-02/);
});
