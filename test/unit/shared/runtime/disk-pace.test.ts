import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeFileAtomic } from '../../../../shared/runtime/atomic-file.ts';
import { DiskPace, diskPace, SLOW_SYNC_MS, watchDiskPace } from '../../../../shared/runtime/disk-pace.ts';
import { createMetrics } from '../../../../shared/runtime/metrics.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

interface Watched {
  readonly pace: DiskPace;
  readonly said: [string, unknown][];
  readonly sync: (ms: number) => Promise<void>;
  readonly pass: (ms: number) => void;
  readonly scraped: () => Promise<string>;
}

function watched(): Watched {
  let now = 5_000;
  const pace = new DiskPace(() => now);
  const said: [string, unknown][] = [];
  const note = (event: string, facts?: object): void => void said.push([event, facts]);
  const metrics = createMetrics({});
  watchDiskPace({ logger: { warn: note, info: note }, metrics }, pace);
  const pass = (ms: number): void => {
    now += ms;
  };
  return { pace, said, sync: (ms) => pace.timed(async () => pass(ms)), pass, scraped: () => metrics.text() };
}

test('a slow disk is told once, and once that it is over', async () => {
  const { said, sync, pass, scraped } = watched();
  await sync(SLOW_SYNC_MS - 1);
  assert.deepEqual(said, []);
  for (const ms of [1_500, 2_500, 1_200]) await sync(ms);
  assert.deepEqual(said, [['disk.slow', { slowestMs: 1_500, thresholdMs: 1_000 }]]);
  assert.match(await scraped(), /^outrider_disk_slowest_sync_seconds 2\.5$/m);
  pass(61_000);
  await sync(5);
  assert.equal(said.length, 1, 'it was slow within the last two minutes');
  pass(61_000);
  await sync(5);
  assert.deepEqual(said.slice(1), [['disk.slow_over', { slowestMs: 2_500 }]]);
  await sync(3_000);
  assert.deepEqual(said.slice(2), [['disk.slow', { slowestMs: 3_000, thresholdMs: 1_000 }]], 'and told anew');
});

test('a sync that does not end is seen while it is under way, and one that fails counts', async () => {
  const { pace, sync, pass } = watched();
  let end = (): void => undefined;
  const hanging = pace.timed(
    () =>
      new Promise((resolve) => {
        end = resolve;
      }),
  );
  pass(7_000);
  assert.equal(pace.slowestMs, 7_000);
  end();
  await hanging;
  await assert.rejects(
    pace.timed(async () => {
      pass(9_000);
      throw new Error('gone');
    }),
    /gone/,
  );
  assert.equal(pace.slowestMs, 9_000);
  pass(200_000);
  await sync(1);
  assert.equal(pace.slowestMs, 1);
});

test('state files are timed', async (t) => {
  const timed = t.mock.method(diskPace, 'timed');
  await writeFileAtomic(`${await temporaryFolder(t)}/state.json`, '{}');
  assert.equal(timed.mock.callCount(), 2, 'the file, and its name in the folder');
});
