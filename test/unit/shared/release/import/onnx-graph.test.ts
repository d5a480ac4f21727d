import assert from 'node:assert/strict';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  checkGraphs,
  checkOperators,
  externalFilesOf,
} from '../../../../../shared/release/import/graph-check.ts';
import { parseOnnx, readOnnxGraph } from '../../../../../shared/release/import/onnx-graph.ts';
import { precisionOf } from '../../../../../shared/release/import/precision.ts';
import { AppError } from '../../../../../shared/runtime/errors.ts';
import { type GraphParts, hiddenWeights, onnxFile } from '../../../../support/onnx-file.ts';

const read = (parts: GraphParts) => parseOnnx(onnxFile(parts));
const STARTER = 'models/cifar10-cnn/onnx/model_quantized.onnx';

test('reads a real model: what it takes and gives, and by whom it was made', async () => {
  const graph = await readOnnxGraph(STARTER);
  assert.deepEqual(graph.inputs, [{ name: 'pixel_values', type: 'float32', dims: [null, 3, 32, 32] }]);
  assert.deepEqual(graph.outputs, [{ name: 'logits', type: 'float32', dims: [null, 10] }]);
  assert.equal(graph.opset, 17);
  assert.ok(graph.operators.has('Conv') && graph.operators.has('QuantizeLinear'));
  assert.deepEqual(precisionOf([graph]), {
    precision: 'int8-static',
    foldDequantize: false,
    mixesRows: false,
  });
});

test('weights that stand among the inputs are none', () => {
  const graph = read({
    inputs: [
      { name: 'x', dims: ['batch', 3] },
      { name: 'w', dims: [3] },
    ],
    initializers: [{ name: 'w', dims: [3], bytes: new Uint8Array(12) }],
  });
  assert.deepEqual(
    graph.inputs.map(({ name }) => name),
    ['x'],
  );
  assert.equal(graph.weights.get('float32'), 3);
});

test('finds operators and weights in graphs within graphs', () => {
  const body = {
    nodes: [{ op: 'Strange', domain: 'my.ops' }],
    initializers: [{ name: 'w', location: 'w.bin' }],
  };
  const graph = read({ nodes: [{ op: 'If', body: { nodes: [{ op: 'Loop', body }] } }] });
  assert.ok(graph.operators.has('my.ops:Strange'));
  assert.deepEqual([...graph.externalFiles], ['w.bin']);
});

test('graphs nested without end are refused', () => {
  let parts: GraphParts = {};
  for (let depth = 0; depth < 40; depth++) parts = { nodes: [{ op: 'If', body: parts }] };
  assert.throws(() => read(parts), { code: 'MODEL_INVALID' });
});

test('custom operators are refused by name, those of the runtime and of the file itself are not', () => {
  const custom = read({
    nodes: [
      { op: 'Conv' },
      { op: 'Magic', domain: 'acme.com' },
      { op: 'QAttention', domain: 'com.microsoft' },
    ],
  });
  assert.throws(
    () => checkOperators('model.onnx', custom),
    (error) => {
      assert.ok(error instanceof AppError && error.code === 'MODEL_INVALID');
      assert.match(error.message, /model\.onnx needs custom operators.*: acme\.com:Magic$/);
      return true;
    },
  );
  const own = read({
    nodes: [{ op: 'Magic', domain: 'acme.com' }],
    functions: [{ domain: 'acme.com', name: 'Magic', op: 'Relu' }],
  });
  checkOperators('model.onnx', own);
  assert.ok(own.operators.has('Relu'));
});

test('weights outside of the folder are refused, those beside their graph are found', () => {
  const at = (location: string) =>
    externalFilesOf('onnx/model.onnx', read({ initializers: [{ name: 'w', location }] }));
  assert.deepEqual(at('model.onnx_data'), ['onnx/model.onnx_data']);
  for (const outside of ['../../etc/passwd', '/etc/passwd', 'a/../../b', '..', 'C:\\x', '', 'a\0b'])
    if (outside === '') assert.deepEqual(at(outside), []);
    else assert.throws(() => at(outside), { code: 'MODEL_INVALID' }, outside);
});

test('weights from elsewhere are found wherever a file can name them', () => {
  for (const [where, bytes] of Object.entries(hiddenWeights('../secret')))
    assert.throws(() => externalFilesOf('model.onnx', parseOnnx(bytes)), { code: 'MODEL_INVALID' }, where);
});

test('a file of a few bytes that says to be large costs nothing', () => {
  const claims = {
    'a length without its content': [0x3a, 0xff, 0xff, 0xff, 0xff, 0x07],
    'a number without end': [0x08, ...Array<number>(12).fill(0xff)],
    'a length below nothing': [0x3a, ...Array<number>(9).fill(0xff), 0x01],
    'a group, which the format has given up': [0x3b, 0x3c],
    'a field without number': [0x02, 0x00],
  };
  for (const [what, bytes] of Object.entries(claims))
    assert.throws(() => parseOnnx(Uint8Array.from(bytes)), { code: 'MODEL_INVALID' }, what);
});

test('a file that is no graph, or a part of one, is refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-onnx-'));
  const whole = await readFile(STARTER);
  const cases: Record<string, Uint8Array> = {
    empty: new Uint8Array(),
    text: Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n'),
    cut: whole.subarray(0, whole.length / 2),
    zeros: new Uint8Array(1_000),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    await writeFile(join(folder, `${name}.onnx`), bytes);
    await assert.rejects(readOnnxGraph(join(folder, `${name}.onnx`)), { code: 'MODEL_INVALID' }, name);
  }
  await assert.rejects(readOnnxGraph(join(folder, 'none.onnx')), { code: 'FILE_UNREADABLE' });
  await assert.rejects(checkGraphs(folder, { model: 'cut.onnx', graphs: [] }), { code: 'MODEL_INVALID' });
});

test('whatever the bytes, it ends: with a graph or an error', () => {
  const seed = onnxFile({
    nodes: [{ op: 'If', body: { nodes: [{ op: 'Add' }] } }],
    inputs: [{ name: 'x', dims: ['n', 3] }],
    initializers: [{ name: 'w', location: 'w.bin' }],
  });
  const changes = fc.array(fc.tuple(fc.nat(seed.length - 1), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(changes, fc.uint8Array({ maxLength: 60 }), (edits, tail) => {
      const bytes = Uint8Array.from([...seed, ...tail]);
      for (const [at, value] of edits) bytes[at] = value;
      try {
        parseOnnx(bytes);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('precision: told from operators and weights', () => {
  const of = (parts: GraphParts) => precisionOf([read(parts)]);
  assert.equal(of({ nodes: [{ op: 'Conv' }] }).precision, 'float32');
  assert.equal(of({ initializers: [{ name: 'w', type: 10, dims: [8] }] }).precision, 'float16');
  assert.deepEqual(of({ nodes: [{ op: 'DequantizeLinear' }] }), {
    precision: 'int8-weights',
    foldDequantize: true,
    mixesRows: false,
  });
  assert.equal(of({ nodes: [{ op: 'MatMulNBits', domain: 'com.microsoft' }] }).precision, 'int4-weights');
  for (const nodes of [
    [{ op: 'DynamicQuantizeLinear' }, { op: 'MatMulInteger' }],
    [{ op: 'DynamicQuantizeLSTM', domain: 'com.microsoft' }],
  ])
    assert.deepEqual(of({ nodes }), { precision: 'int8-dynamic', foldDequantize: false, mixesRows: true });
});

test('names are bounded in sum, too: many long ones would fill the memory of who reads them', () => {
  const initializers = Array.from({ length: 17 }, (_, i) => ({
    name: `${i}${'n'.repeat(4 * 1024 * 1024 - 8)}`,
    dims: [1],
    bytes: new Uint8Array(4),
  }));
  assert.throws(() => read({ inputs: [{ name: 'x', dims: [1] }], initializers }), /its names have over/);
});
