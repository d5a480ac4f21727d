/** What a head means: read from the graph's end and from `config.json`, as Python's transformers answers it. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Inference } from '../../../shared/inference/runner/runner.ts';
import type { Classification } from '../../../shared/tasks/forms/labels.ts';
import type { TaskInput, TaskName } from '../../../shared/tasks/tasks.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { GENERATION, startModelHub } from '../../support/generation.ts';
import { headFolder, importedRunner } from '../../support/heads.ts';
import { outrider } from '../../support/programs.ts';
import { bytesInput, pictureInput, textInput } from './fixture-models.ts';

const scoresOf = ({ output }: Inference): Record<string, number> =>
  Object.fromEntries((output as Classification[]).map(({ label, score }) => [label, score]));

function assertScores(actual: Inference, expected: Readonly<Record<string, number>>): void {
  const scores = scoresOf(actual);
  assert.deepEqual(Object.keys(scores).sort(), Object.keys(expected).sort());
  for (const [label, score] of Object.entries(expected))
    assert.ok(
      Math.abs((scores[label] ?? Number.NaN) - score) < 1e-5,
      `${label}: ${scores[label]}, not ${score}`,
    );
}

const softmax = (...logits: number[]): number[] => {
  const sum = logits.reduce((all, logit) => all + Math.exp(logit), 0);
  return logits.map((logit) => Math.exp(logit) / sum);
};
const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));
const named = ([red = 0, green = 0, blue = 0]: readonly number[]) => ({ red, green, blue });

/** Its planes are 0, 0.2 and 0.6; the head takes eight times as much. */
const COLOUR = '#003399';
const LOGITS: readonly number[] = [0, 1.6, 4.8];

for (const name of [
  ...['ends-in-softmax', 'ends-in-log-softmax', 'spelled-softmax', 'spelled-softmax-less'],
  ...['softmax-in-if', 'softmax-in-function', 'softmax-in-parts', 'softmax-averaged'],
])
  test(`a graph with ${name.replaceAll('-', ' ')} gets no second one, and is as sure as its logits say`, async (t) => {
    const runner = await importedRunner(t, name);
    const answer = await runner.infer(await pictureInput(COLOUR));
    assertScores(answer, named(softmax(...LOGITS)));
    assert.ok(Math.abs(answer.routeScore - (4.8 - Math.log(1 + Math.exp(1.6)))) < 1e-4);
    const asIs = { ...(await pictureInput(COLOUR)), parameters: { function_to_apply: 'none' } };
    const raw = softmax(...LOGITS).map((p) => (name === 'ends-in-log-softmax' ? Math.log(p) : p));
    assertScores(await runner.infer(asIs), named(raw));
    const asked = { ...asIs, parameters: { function_to_apply: 'softmax' } };
    assertScores(await runner.infer(asked), named(softmax(...LOGITS)));
  });

test('labels that are independent have a sigmoid each, by the graph or by config.json, and never two', async (t) => {
  const expected = named(LOGITS.map((logit) => sigmoid(logit - 4)));
  const flips = LOGITS.reduce((sum, logit) => sum - Math.log1p(Math.exp(-Math.abs(logit - 4))), 0);
  for (const name of ['ends-in-sigmoid', 'several-labels']) {
    const answer = await (await importedRunner(t, name)).infer(await pictureInput(COLOUR));
    assertScores(answer, expected);
    assert.ok(Math.abs(answer.routeScore - flips) < 1e-4, name);
  }
  const branched = await (await importedRunner(t, 'sigmoid-in-if')).infer(await pictureInput(COLOUR));
  assertScores(branched, named(LOGITS.map(sigmoid)));
  const spelled = await (await importedRunner(t, 'spelled-sigmoid')).infer(await pictureInput(COLOUR));
  assertScores(spelled, named(LOGITS.map(sigmoid)));
});

test('a regression answers its number, one label or several; one label without a word of it is a probability', async (t) => {
  const film = textInput('good film');
  const regression = await importedRunner(t, 'regression');
  const answer = await regression.infer(film);
  assertScores(answer, { LABEL_0: -1.75 });
  // Nothing says how sure it is: by chance, and the same again.
  assert.ok(answer.routeScore >= 0 && answer.routeScore < 1);
  assert.equal((await regression.infer(film)).routeScore, answer.routeScore);
  assertScores(await (await importedRunner(t, 'regression-of-two')).infer(film), { NEG: -1.75, POS: 1.75 });
  assertScores(await (await importedRunner(t, 'single-label')).infer(film), { LABEL_0: sigmoid(-1.75) });
});

test('what a user types gives the same', async (t: TestContext) => {
  const into = await temporaryFolder(t);
  const run = async (...args: string[]): Promise<string> => {
    const program = outrider(t, args);
    assert.equal((await program.exited).code, 0, program.output());
    return program.output();
  };
  const tasks: Record<string, TaskName> = { regression: 'text-classification' };
  await run('models', 'pull', headFolder('regression'), '--into', into);
  const hub = await startModelHub(into, tasks);
  t.after(() => hub.stop());
  const output = await run(
    'infer',
    'regression',
    'good film',
    '--json',
    '--hub',
    hub.url,
    '--key',
    hub.adminKey,
  );
  assert.deepEqual(JSON.parse(output).flat(), [{ label: 'LABEL_0', score: -1.75 }]);
});

const PURPLE = await pictureInput('#cc00ee');
const SOUND = bytesInput(await readFile(join(GENERATION, 'sounds', 'short.wav')));

/** What gives logits, and what gives probabilities: by one operator, as a mean of two, or by one that no reader of nodes takes for it. */
const PROBABLE: readonly [logits: string, names: readonly string[], task: TaskName, input: TaskInput][] = [
  ['detr', ['softmaxed-detr', 'averaged-detr'], 'object-detection', PURPLE],
  [
    'nan-spans',
    ['softmaxed-spans', 'averaged-spans', 'shares-spans'],
    'question-answering',
    textInput(JSON.stringify({ question: 'a', context: 'film bad good film a' })),
  ],
  [join(GENERATION, 'wav2vec2'), ['softmaxed-ctc'], 'automatic-speech-recognition', SOUND],
  [
    'nan-tokens',
    ['softmaxed-tokens', 'averaged-tokens', 'shares-tokens'],
    'token-classification',
    textInput('good', { ignore_labels: [] }),
  ],
  ['nan-mask', ['softmaxed-mask', 'averaged-mask', 'shares-mask'], 'fill-mask', textInput('good [MASK]')],
  [
    'nan-entailment',
    ['softmaxed-entailment', 'averaged-entailment', 'shares-entailment'],
    'zero-shot-classification',
    textInput('good', { candidate_labels: ['bad', 'film'] }),
  ],
];
for (const [logits, names, task, input] of PROBABLE)
  test(`${task}: a graph that gives probabilities answers as the one that gives logits`, async (t) => {
    const answerOf = async (name: string): Promise<unknown[]> => {
      // What has its own description needs none.
      const runner = await importedRunner(t, name, name.includes('/') ? {} : { task });
      const { output, routeScore } = await runner.infer(input);
      const rounded = JSON.stringify([output, routeScore], (_key, value) =>
        typeof value === 'number' ? Number(value.toFixed(4)) : value,
      );
      return JSON.parse(rounded);
    };
    const expected = await answerOf(logits);
    assert.notDeepEqual(expected[0], [], 'it answers nothing');
    for (const name of names) assert.deepEqual(await answerOf(name), expected, name);
  });
