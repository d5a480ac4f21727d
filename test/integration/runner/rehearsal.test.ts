import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRehearsal } from '../../../cloud/publishing/rehearsal.ts';
import type { StartRunner } from '../../../shared/inference/runner/runner.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { type ModelFolder, openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { eventually } from '../../support/programs.ts';
import { fixtureFolder } from './fixture-models.ts';

const withCode = (code: ErrorCode, text: RegExp) => (error: unknown) =>
  isAppError(error, code) && text.test(error.message);
const limits = { maxRssBytes: 1_000_000_000 };
const rehearse = createRehearsal({ startRunner, threads: 1, clock, limits });
const folder = (name: string): Promise<ModelFolder> => openModelFolder(fixtureFolder(name));

test('a version that answers passes', async () => {
  assert.equal(await rehearse(await folder('words')), 'smoke');
  assert.equal(await rehearse(await folder('colours')), 'smoke');
});

test('one that answers wrongly does not', async () => {
  const { spec, ...rest } = await folder('words');
  const golden = [{ input: { text: 'good film' }, output: [{ label: 'negative', score: 0.9 }] }];
  await assert.rejects(
    rehearse({ ...rest, spec: { ...spec, golden } }),
    withCode('MODEL_SELF_TEST_FAILED', /text 1: expected “negative”/),
  );
});

test('one that hangs, or eats the memory, costs its runner and is told in one sentence', async () => {
  for (const name of ['hangs', 'hungry']) {
    const runnersClock = new FakeClock();
    let isUp = false;
    const start: StartRunner = async (options) => {
      const runner = await startRunner(options, runnersClock);
      isUp = true;
      return runner;
    };
    const tried = assert.rejects(
      createRehearsal({ startRunner: start, threads: 1, clock, limits })(await folder(name)),
      withCode('MODEL_SELF_TEST_FAILED', /^the hub could not run it: /),
      name,
    );
    await eventually(() => isUp && runnersClock.waiting > 0, 'nobody waits for its answer');
    // The time for a call is over, or no time passes at all and its memory ends it.
    if (name === 'hangs') await runnersClock.advance(60_000);
    await tried;
  }
});

test('one that cannot be loaded is not valid', async () => {
  await assert.rejects(rehearse(await folder('no-labels')), withCode('MODEL_INVALID', /./));
});
