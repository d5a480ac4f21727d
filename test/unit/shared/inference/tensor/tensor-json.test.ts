import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeSafetensors } from '../../../../../shared/inference/tensor/safetensors.ts';
import { type GraphInput, readTensors } from '../../../../../shared/inference/tensor/tensor-input.ts';
import { toJson } from '../../../../../shared/inference/tensor/tensor-json.ts';
import { ERRORS, isAppError } from '../../../../../shared/runtime/errors.ts';
import { fromHalf, toHalf } from '../../../../../shared/tasks/tensor/half.ts';

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const X: GraphInput = { name: 'x', type: 'float32', dims: [null, 2] };
const LONG: GraphInput = { name: 'n', type: 'int64', dims: [null] };

test('half precision: each of the 65,536 numbers comes back, and others go to the nearest', () => {
  for (let bits = 0; bits < 65_536; bits++) {
    const value = fromHalf(bits);
    if (Number.isNaN(value)) assert.ok(Number.isNaN(fromHalf(toHalf(value))));
    else assert.equal(toHalf(value), bits, `${bits}`);
  }
  fc.assert(
    fc.property(fc.double({ min: -65_000, max: 65_000, noNaN: true }), (value) => {
      const bits = toHalf(value);
      const error = Math.abs(fromHalf(bits) - value);
      const isNeighbour = (other: number) => (other & 0x7c00) !== 0x7c00;
      for (const other of [bits - 1, bits + 1].filter((one) => one >= 0 && one < 65_536 && isNeighbour(one)))
        if (Math.sign(fromHalf(other)) === Math.sign(value))
          assert.ok(error <= Math.abs(fromHalf(other) - value));
    }),
  );
});

test('named tensors, nested numbers and safetensors are the same input', () => {
  const named = readTensors(json([{ name: 'x', datatype: 'FP32', shape: [2, 2], data: [1, 2, 3, 4.5] }]), [
    X,
  ]);
  const nested = readTensors(
    json([
      [1, 2],
      [3, 4.5],
    ]),
    [X],
  );
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4.5).buffer);
  const raw = readTensors(encodeSafetensors([{ name: 'x', datatype: 'FP32', shape: [2, 2], bytes }]), [X]);
  assert.deepEqual(named, nested);
  assert.deepEqual(named, raw);
});

test('a text is fed as it is, or refused: a NUL would end it, half a character become another', () => {
  const text = { name: 's', type: 'string', dims: [null] } as const;
  const read = (data: string[]) =>
    readTensors(json([{ name: 's', datatype: 'BYTES', shape: [data.length], data }]), [text]);
  assert.deepEqual(read(['', '\uFEFFa😀\uFFFD']).s?.data, ['', '\uFEFFa😀\uFFFD']);
  for (const broken of ['ab\0cd', '\uD83D', 'a\uDE00b'])
    assert.throws(() => read(['a', broken]), { code: 'INPUT_INVALID' });
});

test('what JSON has no number for travels as text, exactly', () => {
  const data = [2 ** 53 - 1, '9223372036854775807', '-9223372036854775808', 0];
  const { n } = readTensors(json([{ name: 'n', datatype: 'INT64', shape: [4], data }]), [LONG]);
  assert.ok(n);
  assert.deepEqual(toJson('n', n).data, data);
  const floats = readTensors(
    json([{ name: 'x', datatype: 'FP32', shape: [1, 2], data: ['NaN', '-Infinity'] }]),
    [X],
  );
  assert.ok(floats.x);
  assert.deepEqual(toJson('x', floats.x).data, ['NaN', '-Infinity']);
});

test('hostile JSON is the caller’s fault, with a code', () => {
  const deep = '['.repeat(200_000) + ']'.repeat(200_000);
  const shape = (shape: unknown, data: unknown) => json([{ name: 'x', datatype: 'FP32', shape, data }]);
  const bad: Record<string, Buffer> = {
    'not JSON': Buffer.from('[1,2'),
    'not UTF-8': Buffer.from([0x5b, 0xc3, 0x28, 0x5d]),
    NaN: Buffer.from('[[NaN, 1]]'),
    nesting: Buffer.from(deep),
    'nesting that JSON takes': json(Array.from({ length: 100 }).reduce<unknown>((inner) => [inner], 1)),
    ragged: json([[1, 2], [3]]),
    'a word': json([['a', 'b']]),
    null: json(null),
    'a scalar': json(3),
    'an object': json({ x: 1 }),
    'another name': json([{ name: 'y', datatype: 'FP32', shape: [1, 2], data: [1, 2] }]),
    twice: json([1, 2].map(() => ({ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }))),
    'another type': json([{ name: 'x', datatype: 'FP64', shape: [1, 2], data: [1, 2] }]),
    'another shape': shape([1, 3], [1, 2, 3]),
    'too few': shape([1, 2], [1]),
    'a huge shape': shape([9_007_199_254_740_991, 2], [1, 2]),
    'a negative shape': shape([-1, 2], []),
    'a fraction of a shape': shape([0.5, 2], [1]),
    'nothing in it': json([]),
    'objects within': json([{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [{}, []] }]),
    'a prototype': Buffer.from('[{"__proto__":{"name":"x"},"datatype":"FP32","shape":[1,2],"data":[1,2]}]'),
  };
  for (const [what, body] of Object.entries(bad))
    assert.throws(
      () => readTensors(body, [X]),
      (error) => isAppError(error) && ERRORS[error.code].kind === 'caller',
      what,
    );
  for (const data of [[1.5], [2 ** 53], ['1e3'], ['99999999999999999999'], [true], [null]])
    assert.throws(
      () => readTensors(json([{ name: 'n', datatype: 'INT64', shape: [1], data }]), [LONG]),
      (error) => isAppError(error, 'INPUT_INVALID'),
      JSON.stringify(data),
    );
});

test('any JSON either fits or is refused, whatever it is', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      try {
        readTensors(json(value), [X]);
      } catch (error) {
        assert.ok(isAppError(error, 'INPUT_INVALID'), String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('a whole number that JSON does not carry exactly is refused, saying how it is sent', () => {
  const given = Buffer.from(
    '[{"name": "n", "datatype": "INT64", "shape": [1], "data": [9223372036854775807]}]',
  );
  assert.throws(() => readTensors(given, [LONG]), {
    code: 'INPUT_INVALID',
    message: /^n: 9223372036854776000 is no INT64: .* up to 9007199254740991; send it as a text /,
  });
  const [sent] = [
    readTensors(json([{ name: 'n', datatype: 'INT64', shape: [1], data: ['9223372036854775807'] }]), [LONG]),
  ];
  assert.deepEqual(sent.n?.data, BigInt64Array.of(9_223_372_036_854_775_807n));
});
