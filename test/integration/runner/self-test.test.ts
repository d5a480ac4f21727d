import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { selfTest } from '../../../shared/inference/proof/self-test.ts';
import type { Runner } from '../../../shared/inference/runner/runner.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { type ModelSpec, modelSpec } from '../../../shared/release/folder/model-spec.ts';
import { AppError, type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { pictureInput, runnerOptions, textInput } from './fixture-models.ts';

let colours: Runner;
let words: Runner;
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'outrider-golden-'));
  await writeFile(join(folder, 'red.png'), (await pictureInput('#ff0000')).body);
  await writeFile(join(folder, 'torn.png'), (await pictureInput('#ff0000')).body.subarray(0, 40));
  [colours, words] = await Promise.all([
    startRunner(runnerOptions('colours')),
    startRunner(runnerOptions('words')),
  ]);
});
after(async () => {
  await Promise.all([colours.stop(), words.stop()]);
  await rm(folder, { recursive: true });
});

const withCode = (code: ErrorCode, text: RegExp) => (error: unknown) =>
  isAppError(error, code) && text.test(error.message);
const folderOf = (task: ModelSpec['task'], golden: ModelSpec['golden']) => ({
  path: folder,
  spec: modelSpec.parse({
    schema: 1,
    name: 'some',
    task,
    model: 'onnx/model.onnx',
    precision: 'float32',
    files: {},
    golden,
  }),
});
const answerOf = async (runner: Runner, text: string) =>
  (await runner.infer(textInput(text))).output as { label: string; score: number }[];

test('a model answers its golden inputs as recorded', async () => {
  const good = folderOf('text-classification', [
    { input: { text: 'good film' }, output: await answerOf(words, 'good film') },
    { input: { text: 'an awful film' }, output: await answerOf(words, 'an awful film') },
  ]);
  const beforeMonoMs = performance.now();
  const verdict = await selfTest(words, good, { repeat: 3 });
  const allMs = performance.now() - beforeMonoMs;
  assert.equal(verdict.kind, 'golden');
  const { medianMs } = verdict;
  assert.ok(medianMs !== null && medianMs > 0 && medianMs < allMs, `${medianMs} of ${allMs} ms`);
  const picture = await colours.infer(await pictureInput('#ff0000'));
  await selfTest(
    colours,
    folderOf('image-classification', [{ input: { file: 'red.png' }, output: picture.output }]),
  );
});

test('small differences are the processor’s, larger ones the model’s', async () => {
  const [top, other] = await answerOf(words, 'good film');
  assert.ok(top && other);
  const by = (difference: number) =>
    selfTest(
      words,
      folderOf('text-classification', [
        { input: { text: 'good film' }, output: [{ ...top, score: top.score - difference }, other] },
      ]),
    );
  await by(0.04);
  await assert.rejects(
    by(0.06),
    withCode('MODEL_SELF_TEST_FAILED', /text 1: expected “positive” with 0\.\d+/),
  );
});

test('it names the input, what was expected and what came', async () => {
  const golden = [
    { input: { text: 'good film' }, output: await answerOf(words, 'good film') },
    { input: { text: 'good film' }, output: [{ label: 'negative', score: 0.9 }] },
  ];
  await assert.rejects(
    selfTest(words, folderOf('text-classification', golden)),
    withCode(
      'MODEL_SELF_TEST_FAILED',
      /text 2: expected “negative” with 0.900, it answers “positive” with 0\.\d/,
    ),
  );
  await assert.rejects(
    selfTest(
      colours,
      folderOf('image-classification', [
        { input: { file: 'red.png' }, output: [{ label: 'green', score: 1 }] },
      ]),
    ),
    withCode('MODEL_SELF_TEST_FAILED', /red\.png: expected “green” .* “red”/),
  );
});

test('a label that should have come with a score is missed', async () => {
  const answers = (output: unknown) => ({
    infer: async () => ({ output, routeScore: 1, timingsMs: { preprocess: 1, inference: 1 } }),
  });
  const golden = [
    {
      input: { text: 'x' },
      output: [
        { label: 'a', score: 0.6 },
        { label: 'b', score: 0.4 },
      ],
    },
  ];
  const of = folderOf('text-classification', golden);
  for (const output of [
    [
      { label: 'a', score: 0.6 },
      { label: 'c', score: 0.3 },
    ],
    [{ label: 'a', score: Number.NaN }],
    [],
    'nonsense',
    { label: 'a' },
  ])
    await assert.rejects(selfTest(answers(output), of), withCode('MODEL_SELF_TEST_FAILED', /text 1/));
  await selfTest(
    answers([
      { label: 'a', score: 0.6 },
      { label: 'c', score: 0.36 },
    ]),
    of,
  );
});

test('a golden input that cannot be asked, or an output that is none, is the model’s fault', async () => {
  for (const file of ['torn.png', 'gone.png'])
    await assert.rejects(
      selfTest(
        colours,
        folderOf('image-classification', [{ input: { file }, output: [{ label: 'red', score: 1 }] }]),
      ),
      withCode('MODEL_SELF_TEST_FAILED', new RegExp(file)),
    );
  for (const output of [undefined, [], 'red', [{ label: 'red' }]])
    await assert.rejects(
      selfTest(colours, folderOf('image-classification', [{ input: { file: 'red.png' }, output }])),
      withCode('MODEL_INVALID', /red\.png/),
    );
});

test('how a runner ended is not hidden', async () => {
  const dying = {
    infer: async () => {
      throw new AppError('RUNNER_CRASHED', 'the runner ended: SIGSEGV');
    },
  };
  await assert.rejects(
    selfTest(dying, folderOf('text-classification', [])),
    withCode('RUNNER_CRASHED', /SIGSEGV/),
  );
});

test('without golden inputs a model only has to answer', async () => {
  assert.equal((await selfTest(words, folderOf('text-classification', []))).kind, 'smoke');
  assert.equal((await selfTest(colours, folderOf('image-classification', []), { repeat: 2 })).kind, 'smoke');
});

test('a starter model for each kind of input passes', async () => {
  // Those whose activations are not int8: the others round as their processor does.
  for (const name of ['cifar10-vit', 'sst2-lstm']) {
    const model = await openModelFolder(fileURLToPath(new URL(`../../../models/${name}`, import.meta.url)));
    const runner = await startRunner({ ...runnerOptions('words'), folder: model.path, digest: model.digest });
    try {
      assert.equal((await selfTest(runner, model)).kind, 'golden');
    } finally {
      await runner.stop();
    }
  }
});
