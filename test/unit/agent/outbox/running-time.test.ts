import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { StoredRunningTime } from '../../../../agent/outbox/running-time.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

/** A run of the agent; each has a clock of its own, which starts anywhere. */
function setUp(path: string, startMs = 0) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const time = new StoredRunningTime({ path, clock, logger });
  const stored = async (): Promise<number> =>
    (JSON.parse(await readFile(path, 'utf8').catch(() => '{"runMs": -1}')) as { runMs: number }).runMs;
  return { clock, logger, time, stored, begin: () => clock.advance(startMs).then(() => time.start()) };
}

test('counts on where the last run has stopped, whatever the clock says', async (t) => {
  const path = join(await temporaryFolder(t), 'running-time.json');
  const first = setUp(path, 5_000_000);
  await first.begin();
  assert.equal(first.time.nowRunMs(), 0);
  await first.clock.advance(90_000);
  assert.equal(first.time.nowRunMs(), 90_000);
  await first.time.stop();

  const second = setUp(path, 7);
  await second.begin();
  await second.clock.advance(1_000);
  assert.equal(second.time.nowRunMs(), 91_000);
  await second.time.stop();
});

test('a run that is killed loses at most its last minute', async (t) => {
  const path = join(await temporaryFolder(t), 'running-time.json');
  const { time, clock, stored, begin } = setUp(path);
  await begin();
  t.after(() => time.stop());
  await clock.advance(59_999);
  assert.equal(await stored(), -1, 'it spares the disk');
  await clock.advance(1);
  assert.equal(await stored(), 60_000);
  await clock.advance(60_000);
  assert.equal(await stored(), 120_000, 'again and again');
});

test('starts from zero when the file is damaged, and says so: that only prolongs what waits', async (t) => {
  const path = join(await temporaryFolder(t), 'running-time.json');
  await writeFile(path, '{"runMs": ');
  const { time, logger, begin } = setUp(path);
  await begin();
  assert.equal(time.nowRunMs(), 0);
  assert.deepEqual(logger.failures(), ['running_time.unreadable DATA_CORRUPT']);
  await time.stop();
});

test('where nothing waits nothing is written, and what was accepted says how late it was at least', async (t) => {
  const path = join(await temporaryFolder(t), 'running-time.json');
  const first = setUp(path);
  first.time.isNeeded = () => false;
  await first.begin();
  await first.clock.advance(86_400_000);
  assert.equal(await first.stored(), -1);
  // It is killed; its outbox holds a request of this time.
  const second = setUp(path);
  await second.begin();
  second.time.atLeast(86_400_000);
  assert.equal(second.time.nowRunMs(), 86_400_000);
  second.time.atLeast(5);
  assert.equal(second.time.nowRunMs(), 86_400_000);
  await second.time.stop();
});
