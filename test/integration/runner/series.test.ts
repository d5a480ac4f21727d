import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Runner } from '../../../shared/inference/runner/runner.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../../shared/tasks/classification.ts';
import { TASKS, type TaskInput } from '../../../shared/tasks/tasks.ts';
import { importedRunner } from '../../support/heads.ts';
import { assertNear, expectedOf, inputOf, referenceFolder, referenceOptions } from './reference.ts';

async function runnerOf(t: TestContext, name: string): Promise<Runner> {
  const runner = await startRunner(referenceOptions(name));
  t.after(() => runner.stop());
  return runner;
}

const windowOf = (value: unknown): TaskInput => ({
  contentType: 'application/json',
  body: Buffer.from(JSON.stringify(value)),
});
const task = 'time-series-classification';
const rowsOf = (length: number, channels: number): number[][] =>
  Array.from({ length }, (_, at) => Array.from({ length: channels }, (_, channel) => Math.sin(at + channel)));

for (const name of ['series-last', 'series-first', 'series-flat', 'series-past-values'])
  test(`${name} answers windows as the Python reference does`, async (t) => {
    const runner = await runnerOf(t, name);
    for (const [index, one] of expectedOf(name).entries()) {
      const { output } = await runner.infer(inputOf(one));
      TASKS[task].output.parse(output);
      assertNear(output, one.output, `${name} ${index}`, 1e-3);
    }
  });

test('windows of one length share a batch and keep their answers, whatever their neighbours', async (t) => {
  const runner = await runnerOf(t, 'series-first');
  const windows = Array.from({ length: 6 }, (_, index) => windowOf({ values: rowsOf(5 + (index % 2), 2) }));
  const together = await Promise.all(windows.map((one) => runner.infer(one)));
  for (const [index, one] of windows.entries())
    assertNear((await runner.infer(one)).output, together[index]?.output, String(index));
});

test('a window may come as its numbers alone, and of one channel as one row', async (t) => {
  const runner = await runnerOf(t, 'series-flat');
  const row = rowsOf(16, 1).flat();
  const answers = [row, row.map((value) => [value]), { values: row }, { values: row, rate: 3 }];
  const [first, ...others] = await Promise.all(answers.map((one) => runner.infer(windowOf(one))));
  for (const { output } of others) assert.deepEqual(output, first?.output);
});

test('of a window that is too long the newest is read, and the cloud is asked', async (t) => {
  const runner = await runnerOf(t, 'series-last');
  const rows = rowsOf(50, 2);
  const long = await runner.infer(windowOf({ values: rows }));
  const newest = await runner.infer(windowOf({ values: rows.slice(-20) }));
  assert.deepEqual(long.output, newest.output);
  assert.equal(long.isCut, true);
  assert.equal(long.routeScore, ROUTE_SCORE_FLOOR);
});

test('what is no window of the model is refused, naming what is wrong', async (t) => {
  const runner = await runnerOf(t, 'series-last');
  const refused: [unknown, RegExp][] = [
    [{ values: [] }, /input|values/],
    [{ values: [[1, 2], [3]] }, /as many numbers/],
    [{ values: [['1', '2']] }, /row 0, channel \d is not a number/],
    [{ values: [[1, null]] }, /row 0, channel \d is not a number/],
    [{ values: rowsOf(20, 3) }, /has 3 channels, the model takes 2/],
    [{ values: [1, 2, 3] }, /has 1 channel, the model takes 2/],
    [{ values: rowsOf(3, 2), rate: 0 }, /rate/],
    [{ values: rowsOf(3, 2), rate: 1e-9 }, /over 1000000 samples/],
    [{ values: [[1e300, 0]] }, /beyond those of float32/],
    ['motor', /input/],
  ];
  for (const [value, message] of refused)
    await assert.rejects(
      runner.infer(windowOf(value)),
      (error) => isAppError(error) && error.code === 'INPUT_INVALID' && message.test(error.message),
      JSON.stringify(value).slice(0, 60),
    );
});

test('a foreign classifier is imported from its folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-series-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const name of ['series-past-values', 'series-first']) {
    const from = join(folder, name);
    await cp(referenceFolder(name), from, { recursive: true });
    await rm(join(from, 'outrider.json'));
    // PatchTST’s class says what it is for.
    const runner = await importedRunner(t, from, name === 'series-first' ? { task } : {});
    for (const one of expectedOf(name))
      assertNear((await runner.infer(inputOf(one))).output, one.output, name, 1e-3);
  }
});

test('a graph whose axes cannot be told apart is refused, saying what to write where', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-series-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(referenceFolder('series-last'), folder, { recursive: true });
  await writeFile(join(folder, 'preprocessor_config.json'), '{"feature_size": 3}');
  await assert.rejects(
    startRunner(referenceOptions('series-last', { folder })),
    (error) =>
      isAppError(error) &&
      error.code === 'MODEL_INVALID' &&
      /preprocessor_config.json: which axis of x .*"layout"/.test(error.message),
  );
});
