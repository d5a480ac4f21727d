import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  BYTES_OF,
  decodeSafetensors,
  encodeSafetensors,
  isSafetensors,
} from '../../../../../shared/inference/tensor/safetensors.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

const datatype = fc.constantFrom(...(Object.keys(BYTES_OF) as (keyof typeof BYTES_OF)[]));
const tensors = fc
  .array(
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 20 }).filter((name) => name !== '__metadata__'),
      datatype,
      shape: fc.array(fc.nat(4), { maxLength: 4 }),
      seed: fc.nat(255),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((all) => [...new Map(all.map((one) => [one.name, one])).values()])
  .map((all) =>
    all.map(({ seed, ...one }) => ({
      ...one,
      bytes: new Uint8Array(one.shape.reduce((product, dim) => product * dim, BYTES_OF[one.datatype])).fill(
        seed,
      ),
    })),
  );

const byName = <T extends { name: string }>(all: readonly T[]): T[] =>
  all.toSorted((a, b) => (a.name < b.name ? -1 : 1));

test('what is written is read again, and told from JSON', () => {
  fc.assert(
    fc.property(tensors, (all) => {
      const body = encodeSafetensors(all);
      assert.ok(isSafetensors(body));
      const read = decodeSafetensors(body).map((one) => ({ ...one, bytes: Uint8Array.from(one.bytes) }));
      // Tensors without elements may change places.
      assert.deepEqual(byName(read), byName(all));
    }),
  );
  for (const text of ['[1,2,3]', '{"a":1}', '', '12345678{'])
    assert.equal(isSafetensors(Buffer.from(text)), false);
});

test('damaged bytes are refused as the caller’s fault, never more', () => {
  fc.assert(
    fc.property(
      tensors,
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1 }),
      fc.nat(400),
      (all, changes, cut) => {
        const body = encodeSafetensors(all).slice();
        for (const [at, byte] of changes) if (at < body.length) body[at] = byte;
        for (const damaged of [body, body.subarray(0, cut)])
          try {
            decodeSafetensors(damaged);
          } catch (error) {
            assert.ok(isAppError(error, 'INPUT_INVALID'), String(error));
          }
      },
    ),
    { numRuns: 300 },
  );
});

const made = (header: object | string, data: number, length?: bigint): Buffer => {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([head, text, Buffer.alloc(data)]);
};

test('every length is checked', () => {
  const one = (changes: object) => ({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...changes } });
  assert.equal(decodeSafetensors(made({ ...one({}), __metadata__: { format: 'pt' } }, 8)).length, 1);
  const bad: Record<string, Buffer> = {
    'left over': made(one({}), 9),
    'too short': made(one({}), 7),
    'a hole': made(one({ data_offsets: [4, 12] }), 12),
    'another size': made(one({ shape: [3] }), 8),
    'a huge shape': made(one({ shape: [2 ** 40, 2 ** 40] }), 8),
    'a negative shape': made(one({ shape: [-2] }), 8),
    'an unknown dtype': made(one({ dtype: 'BF16' }), 4),
    'a dtype of the prototype': made(one({ dtype: 'constructor' }), 8),
    'an overlap': made({ ...one({}), b: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, 8),
    'a header beyond the end': made(one({}), 8, 500n),
    'a huge header': made(one({}), 8, 2n ** 62n),
    'no JSON': made('{"a":', 8),
    'no tensor': made('{}', 0),
  };
  for (const [what, body] of Object.entries(bad))
    assert.throws(
      () => decodeSafetensors(body),
      (error) => isAppError(error, 'INPUT_INVALID'),
      what,
    );
});
