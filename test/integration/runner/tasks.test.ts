import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { selfTest } from '../../../shared/inference/proof/self-test.ts';
import type { Inference, Runner } from '../../../shared/inference/runner/runner.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { ERRORS, isAppError } from '../../../shared/runtime/errors.ts';
import type { FilledMask } from '../../../shared/tasks/fill-mask/schema.ts';
import type { Span } from '../../../shared/tasks/question-answering/schema.ts';
import { TASKS, type TaskInput } from '../../../shared/tasks/tasks.ts';
import type { Entity } from '../../../shared/tasks/token-classification/schema.ts';
import { textInput } from './fixture-models.ts';
import { assertNear, expectedOf, inputOf, referenceFolder, referenceOptions } from './reference.ts';

/** One runner for each model that a test asks for; stopped at the end. */
const runners = new Map<string, Promise<Runner>>();
after(async () => {
  for (const runner of runners.values()) await (await runner).stop();
});
function runnerOf(name: string): Promise<Runner> {
  const runner = runners.get(name) ?? startRunner(referenceOptions(name));
  runners.set(name, runner);
  return runner;
}

const jsonInput = (value: unknown, parameters?: Record<string, unknown>): TaskInput =>
  textInput(JSON.stringify(value), parameters);
const refuses = async (name: string, input: TaskInput, code: string) => {
  const runner = await runnerOf(name);
  await assert.rejects(
    () => runner.infer(input),
    (error) => isAppError(error) && error.code === code,
    code,
  );
};

const words = fc
  .array(
    fc.constantFrom('the', 'Paris', 'café', 'cats', '😀', 'Zürich,', 'isn’t', '東京', 'supercalifragilistic'),
    {
      minLength: 1,
      maxLength: 40,
    },
  )
  .map((parts) => parts.join(' '));

/** Requests of each task; those of many rows or of a cut text among them. */
const REQUESTS: Record<string, fc.Arbitrary<TaskInput>> = {
  'ner-bert': fc
    .tuple(words, fc.constantFrom({}, { aggregation_strategy: 'max', stride: 8 }))
    .map(([text, parameters]) => textInput(text, parameters)),
  'ner-roberta': words.map((text) => textInput(text, { aggregation_strategy: 'simple' })),
  'qa-bert': fc
    .tuple(words, words, fc.constantFrom({}, { top_k: 3, handle_impossible_answer: true }))
    .map(([question, context, parameters]) =>
      jsonInput({ question: question.slice(0, 40), context }, parameters),
    ),
  'nli-bert': fc
    .tuple(
      words,
      fc.uniqueArray(fc.constantFrom('sports', 'politics', 'the weather'), { minLength: 1 }),
      fc.boolean(),
    )
    .map(([text, candidate_labels, multi_label]) => textInput(text, { candidate_labels, multi_label })),
  'embed-mean': words.map((text) => textInput(text)),
  'mlm-roberta': words.map((text) => textInput(`<mask> ${text}`, { top_k: 3 })),
};

async function asBatches(runner: Runner, inputs: readonly TaskInput[]): Promise<Inference[]> {
  const prepared = await Promise.all(inputs.map((input) => runner.prepare(input)));
  const answers: Inference[] = [];
  for (const key of new Set(prepared.map(({ shapeKey }) => shapeKey))) {
    const members = [...prepared.keys()].filter((index) => prepared[index]?.shapeKey === key);
    const outcomes = await runner.run(members.map((index) => prepared[index]?.handle ?? -1));
    for (const [place, outcome] of outcomes.entries()) {
      assert.ok(outcome.ok);
      answers[members[place] ?? -1] = outcome.value;
    }
  }
  return answers;
}

for (const [name, request] of Object.entries(REQUESTS))
  test(`${name}: a batch answers as its members would alone`, async () => {
    const runner = await runnerOf(name);
    assert.equal(runner.facts.maxBatchSize, 8);
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 8 }), async (inputs) => {
        const together = await asBatches(runner, inputs);
        for (const [index, input] of inputs.entries()) {
          const alone = await runner.infer(input);
          TASKS[runner.facts.task].output.parse(alone.output);
          assertNear(together[index]?.output, alone.output, `${index}`, 1e-5);
          assert.ok(Math.abs((together[index]?.routeScore ?? Number.NaN) - alone.routeScore) < 1e-3);
          assert.equal(together[index]?.isCut, alone.isCut);
        }
      }),
      { numRuns: 12 },
    );
  });

test('pictures of one shape share a batch and answer as alone', async () => {
  for (const name of ['detr', 'yolox']) {
    const runner = await runnerOf(name);
    const body = ['wide.png', 'turned.jpg', 'wide.png'].map((file) =>
      readFileSync(referenceFolder(`pictures/${file}`)),
    );
    const inputs = body.map((bytes) => textInput(bytes, { threshold: 0.2 }));
    const together = await asBatches(runner, inputs);
    for (const [index, input] of inputs.entries())
      assertNear(together[index]?.output, (await runner.infer(input)).output, `${name} ${index}`, 1e-3);
  }
});

test('every model passes the trial that an import makes of it', async () => {
  for (const name of [...Object.keys(REQUESTS), 'detr', 'yolov8']) {
    const folder = await openModelFolder(referenceFolder(name)).catch(() => undefined);
    const spec = folder?.spec ?? JSON.parse(readFileSync(`${referenceFolder(name)}/outrider.json`, 'utf8'));
    const { kind } = await selfTest(await runnerOf(name), {
      path: referenceFolder(name),
      spec: { ...spec, golden: [] },
    });
    assert.equal(kind, 'smoke');
  }
});

test('what a task cannot take is refused with its code, and the runner goes on', async () => {
  await refuses('mlm-bert', textInput('no mask here'), 'INPUT_INVALID');
  await refuses('mlm-bert', textInput('[MASK] and [MASK]', { top_k: 5_001 }), 'PARAMETERS_INVALID');
  await refuses('mlm-bert', textInput(`${'word '.repeat(200)} [MASK]`), 'INPUT_INVALID');
  await refuses('mlm-bert', textInput('a [MASK]', { targets: ['\u0000'] }), 'PARAMETERS_INVALID');
  await refuses('qa-bert', textInput('no JSON'), 'INPUT_INVALID');
  await refuses('qa-bert', jsonInput({ question: 'what?' }), 'INPUT_INVALID');
  await refuses('qa-bert', jsonInput({ question: ' ', context: 'a' }), 'INPUT_EMPTY');
  await refuses('qa-bert', jsonInput({ question: 'a', context: '\n' }), 'INPUT_EMPTY');
  await refuses(
    'qa-bert',
    jsonInput({ question: 'a b c d e f g h', context: 'a' }, { max_seq_len: 8 }),
    'INPUT_INVALID',
  );
  await refuses(
    'qa-bert',
    jsonInput({ question: 'a', context: 'a' }, { doc_stride: 100 }),
    'PARAMETERS_INVALID',
  );
  await refuses(
    'ner-bert',
    textInput('a', { stride: 12, aggregation_strategy: 'none' }),
    'PARAMETERS_INVALID',
  );
  await refuses(
    'ner-bert',
    textInput('a', { stride: 46, aggregation_strategy: 'max' }),
    'PARAMETERS_INVALID',
  );
  await refuses('nli-bert', textInput('a'), 'PARAMETERS_INVALID');
  await refuses('nli-bert', textInput('a', { candidate_labels: ['long '.repeat(90)] }), 'PARAMETERS_INVALID');
  await refuses('embed-mean', textInput('a', { prompt_name: 'toString' }), 'PARAMETERS_INVALID');
  await refuses('embed-mean', textInput('word '.repeat(90), { truncate: false }), 'INPUT_INVALID');
  for (const name of ['mlm-bert', 'qa-bert', 'ner-bert', 'nli-bert', 'embed-mean'])
    await refuses(
      name,
      textInput(Buffer.from([0xc3, 0x28]), { candidate_labels: ['a'] }),
      name === 'nli-bert' ? 'TEXT_INVALID' : 'PARAMETERS_INVALID',
    );
  const filled = (await (await runnerOf('mlm-bert')).infer(textInput('a [MASK]'))).output as FilledMask[];
  assert.equal(filled.length, 5);
});

test('a text with two masks is answered by a list for each, with the other mask in its text', async () => {
  const runner = await runnerOf('mlm-bert');
  const { output, routeScore } = await runner.infer(
    textInput('The [MASK] of France is [MASK].', { top_k: 2 }),
  );
  // By transformers' steps (FillMaskPipeline.postprocess) with Python's onnxruntime and tokenizers.
  const expected = [
    [
      [0.229757, 349, '##ατ', '[CLS] theατ of france is [MASK]. [SEP]'],
      [0.122002, 6, ',', '[CLS] the, of france is [MASK]. [SEP]'],
    ],
    [
      [0.588367, 349, '##ατ', '[CLS] the [MASK] of france isατ. [SEP]'],
      [0.033994, 136, '##ᅵ', '[CLS] the [MASK] of france isᅵ. [SEP]'],
    ],
  ].map((words) =>
    words.map(([score, token, token_str, sequence]) => ({ score, token, token_str, sequence })),
  );
  assertNear(output, expected, 'both');
  assert.deepEqual(TASKS['fill-mask'].output.parse(output), output);
  const [[first]] = output as [[FilledMask]];
  assert.ok(routeScore < Math.log(first.score / (1 - first.score)) + 1, 'as sure as the less sure of both');
});

test('hostile questions are the caller’s fault, whatever they are', async () => {
  const runner = await runnerOf('qa-bert');
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  const bodies = fc.oneof(
    fc.json(),
    fc.string({ minLength: 1 }),
    fc.constant(deep),
    fc.constant('{"question":NaN}'),
  );
  await fc.assert(
    fc.asyncProperty(bodies, async (body) => {
      await runner.infer(textInput(body)).catch((error: unknown) => {
        assert.ok(isAppError(error) && ERRORS[error.code].kind === 'caller', String(error));
      });
    }),
    { numRuns: 60 },
  );
  const { output } = await runner.infer(jsonInput({ question: 'Who?', context: 'The author wrote it.' }));
  assert.equal((output as Span[]).length, 1);
});

test('a text that was cut says so, and is as unsure as can be', async () => {
  const long = 'Paris is the capital. '.repeat(40);
  for (const [name, input] of [
    ['ner-bert', textInput(long)],
    ['embed-mean', textInput(long)],
    ['nli-bert', textInput(long, { candidate_labels: ['a', 'b'] })],
    ['mlm-bert', textInput(`[MASK] ${long}`)],
  ] as const) {
    const { isCut, routeScore } = await (await runnerOf(name)).infer(input);
    assert.deepEqual([isCut, routeScore], [true, -1e9], name);
  }
  const whole = await (await runnerOf('ner-bert')).infer(
    textInput(long, { stride: 8, aggregation_strategy: 'simple', ignore_labels: [] }),
  );
  assert.equal(whole.isCut, undefined);
  assert.ok(((whole.output as Entity[]).at(-1)?.end ?? 0) > long.length - 20, 'it is read to its end');
});

test('a megabyte of context is read as far as a request may go', async () => {
  const runner = await startRunner(referenceOptions('qa-bert', { callTimeoutMs: 60_000 }));
  try {
    const context = 'Sarah lives in London. '.repeat(40_000);
    const { isCut, output } = await runner.infer(jsonInput({ question: 'Where?', context }));
    assert.equal(isCut, true);
    assert.equal((output as Span[]).length, 1);
  } finally {
    await runner.stop();
  }
});

test('an execution provider that does not work here is named, and nothing falls back', async () => {
  // Neither has its libraries on a machine without a GPU; where one works, that is right too.
  for (const executionProvider of ['cuda', 'webgpu'] as const) {
    const started = await startRunner(referenceOptions('embed-mean', { executionProvider })).then(
      async (runner) => {
        assert.equal(runner.facts.executionProvider, executionProvider);
        await runner.stop();
      },
      (error: unknown) => {
        assert.ok(isAppError(error, 'RUNNER_START_FAILED'), String(error));
        assert.match(error.message, new RegExp(executionProvider));
      },
    );
    assert.equal(started, undefined);
  }
});

const without = (json: object, left: string): object =>
  Object.fromEntries(Object.entries(json).filter(([key]) => key !== left));

/** A copy of a folder with another file in it. */
async function changed(
  name: string,
  file: string,
  change: (json: Record<string, unknown>) => unknown,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-model-'));
  await cp(referenceFolder(name), folder, { recursive: true });
  const json = JSON.parse(await readFile(join(folder, file), 'utf8')) as Record<string, unknown>;
  await writeFile(join(folder, file), JSON.stringify(change(json)));
  return folder;
}

test('a folder that cannot be followed is refused at load, by the file and the reason', async () => {
  const cases: [string, string, (json: Record<string, unknown>) => unknown, RegExp][] = [
    ['yolox', 'outrider.json', (spec) => without(spec, 'detector'), /detector\.family/],
    ['yolov8', 'outrider.json', (spec) => ({ ...spec, detector: { family: 'yolov5' } }), /yolov5/],
    ['yolov8', 'config.json', () => ({ id2label: { 0: 'one' } }), /labels/],
    [
      'nli-bert',
      'config.json',
      (config) => ({ ...config, label2id: {}, id2label: { 0: 'A', 1: 'B' } }),
      /entail/,
    ],
    ['mlm-bert', 'tokenizer_config.json', (settings) => without(settings, 'mask_token'), /mask_token/],
    ['embed-mean', '1_Pooling/config.json', () => ({ pooling_mode_of_tomorrow: true }), /pooling/],
    [
      'embed-mean',
      'modules.json',
      () => [{ path: '2_Dense', type: 'sentence_transformers.models.Dense' }],
      /Dense/,
    ],
    ['ner-bert', 'config.json', (config) => ({ ...config, id2label: { 0: 'O', 1: 'B-PER' } }), /labels/],
    ['qa-bert', 'outrider.json', (spec) => ({ ...spec, task: 'object-detection' }), /id2label/],
  ];
  for (const [name, file, change, reason] of cases) {
    const folder = await changed(name, file, change);
    await assert.rejects(startRunner(referenceOptions('', { folder })), (error) => {
      assert.ok(isAppError(error, 'MODEL_INVALID'), `${name}: ${error}`);
      assert.match(error.message, reason, name);
      return true;
    });
    await rm(folder, { recursive: true });
  }
});

test('a graph whose rows depend on each other reads the windows of one context one by one', async () => {
  const folder = await changed('qa-bert', 'outrider.json', (spec) => without(spec, 'batch'));
  const runner = await startRunner(referenceOptions('', { folder }));
  assert.equal(runner.facts.maxBatchSize, 1);
  for (const one of expectedOf('qa-bert').slice(0, 4))
    assertNear((await runner.infer(inputOf(one))).output, one.output, JSON.stringify(one.parameters));
  await runner.stop();
  await rm(folder, { recursive: true });
});

test('a detector’s family is told from its outputs where the folder does not say it', async () => {
  for (const name of ['detr', 'rt-detr', 'yolov8', 'yolov10']) {
    const folder = await changed(name, 'outrider.json', (spec) => without(spec, 'detector'));
    const runner = await startRunner(referenceOptions('', { folder }));
    const input = textInput(readFileSync(referenceFolder('pictures/wide.png')), { threshold: 0.2 });
    const named = await (await runnerOf(name)).infer(input);
    assert.deepEqual((await runner.infer(input)).output, named.output);
    await runner.stop();
    await rm(folder, { recursive: true });
  }
});
