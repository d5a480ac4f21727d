import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { isCron, Schedule } from '../../../../shared/runtime/schedule.ts';
import { settle } from '../../../support/fake-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

test('knows what a cron expression is', () => {
  for (const cron of ['*/15 * * * *', '0 3 * * 1', '* * * * * *', '0 0 1 jan *'])
    assert.ok(isCron(cron), cron);
  for (const cron of ['', 'daily', '61 * * * *', '* * *']) assert.ok(!isCron(cron), cron);
});

/** node-cron reads the process's own clock and timers: their hands are turned here, and no second passes on the wall. */
function setUp(t: TestContext) {
  const { timers } = t.mock;
  timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  return {
    async pass(seconds: number): Promise<void> {
      for (let second = 0; second < seconds; second++) {
        timers.tick(1_000);
        await settle();
      }
    },
    /** The machine is off for so long: its clock goes on, and what was due is late. */
    async sleep(seconds: number): Promise<void> {
      timers.setTime(Date.now() + 1_000 * seconds);
      timers.tick(0);
      await settle();
    },
  };
}

test('runs when it is due; a run that fails is told and does not end the schedule; stopped, it runs no more', async (t) => {
  const { pass } = setUp(t);
  const logger = recordingLogger();
  let runs = 0;
  const schedule = new Schedule({
    name: 'test',
    cron: '* * * * * *',
    timeZone: 'Europe/Berlin',
    run: async () => {
      runs++;
      await Promise.resolve();
      throw new Error('it failed');
    },
    logger,
  });
  await schedule.start();
  await pass(1);
  assert.equal(runs, 1);
  await pass(2);
  assert.equal(runs, 3);
  await schedule.stop();
  await pass(10);
  assert.equal(runs, 3);
  assert.deepEqual(
    logger.failures(),
    Array.from({ length: 3 }, () => 'schedule.failed INVARIANT_BROKEN'),
  );
});

test('runs that were missed are made up by one', async (t) => {
  const { pass, sleep } = setUp(t);
  let runs = 0;
  const logger = recordingLogger();
  const schedule = new Schedule({ name: 'often', cron: '* * * * * *', run: async () => void runs++, logger });
  const madeUp = () => logger.lines.filter(({ event }) => event === 'schedule.made_up').length;
  await schedule.start();
  await pass(3);
  assert.deepEqual([runs, madeUp()], [3, 0]);
  await sleep(4.5);
  assert.deepEqual([runs, madeUp()], [5, 1], 'one for the three that were missed, and the fourth is due');
  await pass(2);
  assert.deepEqual([runs, madeUp()], [7, 1]);
  await schedule.stop();
});
