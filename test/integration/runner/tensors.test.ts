import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Runner } from '../../../shared/inference/runner/runner.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { encodeSafetensors } from '../../../shared/inference/tensor/safetensors.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { TASKS, type TaskInput } from '../../../shared/tasks/tasks.ts';
import type { Tensor } from '../../../shared/tasks/tensor/schema.ts';
import { importedRunner } from '../../support/heads.ts';
import { referenceOptions } from './reference.ts';

let types: Runner;
let rows: Runner;
let mixed: Runner;
before(async () => {
  [types, rows, mixed] = (await Promise.all(
    ['tensor-types', 'tensor-rows', 'tensor-mixed'].map((name) => startRunner(referenceOptions(name))),
  )) as [Runner, Runner, Runner];
});
after(() => Promise.all([types, rows, mixed].map((runner) => runner.stop())));

const jsonInput = (value: unknown, parameters?: Record<string, unknown>): TaskInput => ({
  contentType: 'application/json',
  body: Buffer.from(JSON.stringify(value)),
  ...(parameters && { parameters }),
});
const refuses = (runner: Runner, input: TaskInput, code: string) =>
  assert.rejects(runner.infer(input), (error) => isAppError(error) && error.code === code, code);

const ALL: Record<string, [string, (number | boolean | string)[]]> = {
  bool: ['BOOL', [true, false]],
  uint8: ['UINT8', [0, 255]],
  uint16: ['UINT16', [0, 65_535]],
  uint32: ['UINT32', [0, 4_294_967_295]],
  uint64: ['UINT64', [1, '18446744073709551615']],
  int8: ['INT8', [-128, 127]],
  int16: ['INT16', [-32_768, 32_767]],
  int32: ['INT32', [-2_147_483_648, 2_147_483_647]],
  int64: ['INT64', [-1, '-9223372036854775808']],
  float16: ['FP16', [1.5, 'Infinity']],
  float32: ['FP32', [0.25, 'NaN']],
  float64: ['FP64', [0.1, '-Infinity']],
  string: ['BYTES', ['', 'Zürich 😀']],
};

test('every element type goes in and comes out as it was', async () => {
  const inputs = Object.entries(ALL).map(([type, [datatype, data]]) => ({
    ...{ name: `${type}_in`, datatype, shape: [2], data },
  }));
  const { output } = await types.infer(jsonInput(inputs));
  TASKS.tensor.output.parse(output);
  assert.deepEqual(
    output,
    Object.entries(ALL).map(([type, [datatype, data]]) => ({
      ...{ name: `${type}_out`, datatype, shape: [2], data },
    })),
  );
  const empty = inputs.map((input) => ({ ...input, shape: [0], data: [] }));
  const [first] = (await types.infer(jsonInput(empty))).output as Tensor[];
  assert.deepEqual(first, { name: 'bool_out', datatype: 'BOOL', shape: [0], data: [] });
});

test('safetensors, named and nested numbers give the same answer', async () => {
  const bytes = new Uint8Array(Float32Array.of(1, 0, 2).buffer);
  const raw = encodeSafetensors([{ name: 'x', datatype: 'FP32', shape: [1, 3], bytes }]);
  const expected = [
    { name: 'y', datatype: 'FP32', shape: [1, 2], data: [11, 14] },
    { name: 'same', datatype: 'FP32', shape: [1, 3], data: [1, 0, 2] },
  ];
  for (const input of [
    jsonInput([[1, 0, 2]]),
    jsonInput([{ name: 'x', datatype: 'FP32', shape: [1, 3], data: [1, 0, 2] }]),
    { contentType: 'application/octet-stream', body: raw },
  ])
    assert.deepEqual((await rows.infer(input)).output, expected);
  const one = await rows.infer(jsonInput([[1, 0, 2]], { outputs: ['y'] }));
  assert.deepEqual(one.output, expected.slice(0, 1));
  assert.ok(one.routeScore >= 0 && one.routeScore < 1);
});

test('what does not fit is refused by name, and the runner goes on', async () => {
  await refuses(rows, jsonInput([[1, 0]]), 'INPUT_INVALID');
  await refuses(rows, jsonInput([[1, 0, 2]], { outputs: ['z'] }), 'PARAMETERS_INVALID');
  await refuses(rows, jsonInput([[1, 0, 2]], { outputs: [] }), 'PARAMETERS_INVALID');
  await refuses(rows, { contentType: '', body: Buffer.from('no tensor') }, 'INPUT_INVALID');
  await refuses(rows, { contentType: '', body: Buffer.from([0xff, 0xfe, 0xfd]) }, 'TEXT_INVALID');
  await refuses(types, jsonInput([[1]]), 'INPUT_INVALID');
  assert.equal(
    (
      await rows.infer(
        jsonInput([
          [1, 0, 2],
          [0, 0, 0],
        ]),
      )
    ).isCut,
    undefined,
  );
});

test('rows that share a batch answer as alone, also where the graph adds them up', async () => {
  for (const runner of [rows, mixed]) {
    const inputs = [
      [1, 2, 3],
      [4, 5, 6],
      [-1, 0.5, 9],
    ].map((row) => jsonInput([row]));
    const prepared = await Promise.all(inputs.map((input) => runner.prepare(input)));
    if (runner.facts.maxBatchSize === 1) continue;
    assert.equal(new Set(prepared.map(({ shapeKey }) => shapeKey)).size, 1);
    const outcomes = await runner.run(prepared.map(({ handle }) => handle));
    for (const [index, outcome] of outcomes.entries()) {
      assert.ok(outcome.ok);
      const alone = await runner.infer(inputs[index] as TaskInput);
      assert.deepEqual(outcome.value.output, alone.output);
      assert.equal(outcome.value.routeScore, alone.routeScore);
    }
  }
  assert.equal(mixed.facts.maxBatchSize, 1, 'an output without rows is seen from the graph');
  const [several, other] = await Promise.all([
    rows.prepare(
      jsonInput([
        [1, 2, 3],
        [4, 5, 6],
      ]),
    ),
    rows.prepare(
      jsonInput([
        [1, 2, 3],
        [4, 5, 6],
      ]),
    ),
  ]);
  assert.notEqual(several.shapeKey, other.shapeKey, 'requests of several rows go alone');
});

test('a text that cannot be carried whole is an error of its own row: its neighbours are answered', async (t) => {
  const graph = fileURLToPath(new URL('../../fixtures/exports/texts.onnx', import.meta.url));
  const texts = await importedRunner(t, graph, { task: 'tensor' });
  await refuses(texts, jsonInput([2]), 'OUTPUT_NOT_TEXT');
  const prepared = await Promise.all([[1], [2], [0]].map((number) => texts.prepare(jsonInput(number))));
  const outcomes = await texts.run(prepared.map(({ handle }) => handle));
  assert.deepEqual(
    outcomes.map((outcome) =>
      outcome.ok ? (outcome.value.output as Tensor[])[0]?.data : outcome.error.code,
    ),
    [['Zürich 😀'], 'OUTPUT_NOT_TEXT', ['plain']],
  );
});
