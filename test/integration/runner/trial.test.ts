import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTrial } from '../../../cloud/registry/trial.ts';
import { startRunner } from '../../../shared/inference/runner-process.ts';
import { type ModelFolder, openModelFolder } from '../../../shared/release/model-folder.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { fixtureFolder } from './fixture-models.ts';

const withCode = (code: ErrorCode, text: RegExp) => (error: unknown) =>
  isAppError(error, code) && text.test(error.message);
const limits = { maxRssBytes: 1_000_000_000, startTimeoutMs: 8_000, callTimeoutMs: 4_000 };
const tryModel = createTrial({ startRunner, threads: 1, clock, limits });
const folder = (name: string): Promise<ModelFolder> => openModelFolder(fixtureFolder(name));

test('a version that answers passes', async () => {
  assert.equal(await tryModel(await folder('words')), 'smoke');
  assert.equal(await tryModel(await folder('colours')), 'smoke');
});

test('one that answers wrongly does not', async () => {
  const { spec, ...rest } = await folder('words');
  const golden = [{ input: { text: 'good film' }, output: [{ label: 'negative', score: 0.9 }] }];
  await assert.rejects(
    tryModel({ ...rest, spec: { ...spec, golden } }),
    withCode('MODEL_SELF_TEST_FAILED', /text 1: expected “negative”/),
  );
});

test('one that hangs, or eats the memory, costs its runner and is told in one sentence', async () => {
  for (const name of ['hangs', 'hungry'])
    await assert.rejects(
      tryModel(await folder(name)),
      withCode('MODEL_SELF_TEST_FAILED', /^the hub could not run it: /),
      name,
    );
});

test('one that cannot be loaded is not valid', async () => {
  await assert.rejects(tryModel(await folder('no-labels')), withCode('MODEL_INVALID', /./));
});
