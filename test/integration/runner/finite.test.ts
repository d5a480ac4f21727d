/** What is no number is no answer: of every task, beside neighbours that have one, in the hub, on a device, and at a first trial. */
import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Runner } from '../../../shared/inference/runner/runner.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import type { TaskInput, TaskName } from '../../../shared/tasks/tasks.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startModelHub } from '../../support/generation.ts';
import { headFolder, importedRunner } from '../../support/heads.ts';
import { outrider } from '../../support/programs.ts';
import { pictureInput, textInput } from './fixture-models.ts';

const withCode = (code: ErrorCode, text: RegExp) => (error: unknown) =>
  isAppError(error, code) && text.test(error.message);

/** Alone it is refused; of a batch of three the other two are answered as if they were alone. */
async function refusesTheBrokenOne(runner: Runner, sound: TaskInput, broken: TaskInput): Promise<void> {
  await assert.rejects(runner.infer(broken), withCode('OUTPUT_NOT_FINITE', /of the model hold NaN/));
  const { output } = await runner.infer(sound);
  if (runner.facts.maxBatchSize < 3) return;
  const prepared = await Promise.all([sound, broken, sound].map((input) => runner.prepare(input)));
  assert.equal(new Set(prepared.map(({ shapeKey }) => shapeKey)).size, 1);
  const outcomes = await runner.run(prepared.map(({ handle }) => handle));
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.ok ? outcome.value.output : outcome.error.code)),
    [output, 'OUTPUT_NOT_FINITE', output],
  );
}

test('a picture whose logits are NaN is refused, its neighbours are not', async (t) => {
  const runner = await importedRunner(t, 'nan-for-red');
  await refusesTheBrokenOne(runner, await pictureInput('#0000ff'), await pictureInput('#ff0000'));
});

test('a detector’s boxes and scores likewise', async (t) => {
  const runner = await importedRunner(t, 'detects-nan', { task: 'object-detection' });
  await refusesTheBrokenOne(runner, await pictureInput('#0000ff'), await pictureInput('#ff0000'));
});

const TEXTS: readonly [name: string, task: TaskName, make: (word: string) => TaskInput][] = [
  ['nan-text', 'text-classification', textInput],
  ['nan-tokens', 'token-classification', textInput],
  ['nan-vector', 'feature-extraction', textInput],
  ['nan-mask', 'fill-mask', (word) => textInput(`${word} [MASK]`)],
  ['nan-entailment', 'zero-shot-classification', (word) => textInput(word, { candidate_labels: ['good'] })],
  [
    'nan-spans',
    'question-answering',
    (word) => textInput(JSON.stringify({ question: 'a', context: `film ${word}` })),
  ],
];

for (const [name, task, make] of TEXTS)
  test(`${task}: a text whose numbers are NaN is refused, its neighbours are not`, async (t) => {
    const runner = await importedRunner(t, name, { task });
    await refusesTheBrokenOne(runner, make('good'), make('nan'));
  });

async function run(
  t: TestContext,
  args: readonly string[],
): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, args);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

test('the hub answers it with its code over HTTP, and counts it', async (t) => {
  const into = await temporaryFolder(t);
  assert.equal((await run(t, ['models', 'pull', headFolder('nan-for-red'), '--into', into])).code, 0);
  const failed: string[] = [];
  const hub = await startModelHub(into, { 'nan-for-red': 'image-classification' }, (...one) =>
    failed.push(one.join(' ')),
  );
  t.after(() => hub.stop());
  const ask = async (face: string, colour: string): Promise<Response> =>
    fetch(`${hub.url}${face}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'image/png' },
      body: Buffer.from((await pictureInput(colour)).body),
    });
  const address = '/hf/models/nan-for-red';
  assert.equal((await ask(address, '#0000ff')).status, 200);
  const refused = await ask(address, '#ff0000');
  assert.equal(refused.status, 500);
  assert.match(await refused.text(), /OUTPUT_NOT_FINITE|NaN/);
  assert.deepEqual(failed, ['nan-for-red OUTPUT_NOT_FINITE']);
});

test('a model that gives it at its first trial is not taken in, by anybody', async (t) => {
  const into = await temporaryFolder(t);
  const pulled = await run(t, ['models', 'pull', headFolder('nan-always'), '--into', into]);
  assert.equal(pulled.code, 1);
  assert.match(pulled.output, /nan-always: the logits of the model hold NaN.*\(OUTPUT_NOT_FINITE\)/s);
  const folder = join(into, 'given');
  await cp(headFolder('nan-for-red'), folder, { recursive: true });
  assert.equal((await run(t, ['models', 'pull', folder, '--into', into])).code, 0);
  // Tried before it goes up, whoever has exported it.
  await cp(join(headFolder('nan-always'), 'onnx'), join(folder, 'onnx'), { recursive: true });
  await rm(join(folder, 'outrider.json'));
  const push = await run(t, ['models', 'push', folder, '--hub', 'http://127.0.0.1:9', '--key', 'none']);
  assert.match(push.output, /\(OUTPUT_NOT_FINITE\)/);
});
