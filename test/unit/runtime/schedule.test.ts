import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCron, Schedule } from '../../../shared/runtime/schedule.ts';
import { eventually } from '../../support/programs.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

test('knows what a cron expression is', () => {
  for (const cron of ['*/15 * * * *', '0 3 * * 1', '* * * * * *', '0 0 1 jan *'])
    assert.ok(isCron(cron), cron);
  for (const cron of ['', 'daily', '61 * * * *', '* * *']) assert.ok(!isCron(cron), cron);
});

test('runs when it is due; a run that fails is told and does not end the schedule; stopped, it runs no more', async () => {
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
  await eventually(() => runs >= 2, 'it never ran twice');
  await schedule.stop();
  const before = runs;
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.equal(runs, before);
  assert.equal(logger.failures()[0], 'schedule.failed INVARIANT_BROKEN');
});

test('runs that were missed are made up by one', async () => {
  let runs = 0;
  const logger = recordingLogger();
  const schedule = new Schedule({ name: 'often', cron: '* * * * * *', run: async () => void runs++, logger });
  const madeUp = () => logger.lines.filter(({ event }) => event === 'schedule.made_up').length;
  await schedule.start();
  await eventually(() => runs > 0, 'it never ran');
  const before = runs;
  // The machine sleeps, as far as this process can tell.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_500);
  await eventually(() => madeUp() > 0 && runs > before, 'nothing was made up');
  await schedule.stop();
  assert.equal(madeUp(), 1);
});
