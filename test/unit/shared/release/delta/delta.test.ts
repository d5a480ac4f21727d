import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { DELTA_KINDS, type DeltaKind } from '../../../../../shared/contract/deltas.ts';
import { decodeDelta } from '../../../../../shared/release/delta/decode.ts';
import { applyDelta, makeDelta } from '../../../../../shared/release/delta/delta-process.ts';
import { type DeltaFile, encodeDelta } from '../../../../../shared/release/delta/encode.ts';
import {
  BLOCK_BYTES,
  ByteWriter,
  COPY,
  DIFF,
  END,
  FORMS,
  MAGIC,
  MAX_ROW,
  MIX,
  readVarint,
  STEPS,
} from '../../../../../shared/release/delta/format.ts';
import { NumberEncoder } from '../../../../../shared/release/delta/numbers.ts';
import { pack } from '../../../../../shared/release/delta/packed.ts';
import { StepDecoder, StepEncoder } from '../../../../../shared/release/delta/steps.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';
import { quickFolder } from '../../../../support/fixed.ts';
import { onnxFile } from '../../../../support/onnx-file.ts';

/** Repeats exactly, on every machine. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** As weights are: around 0, small ones often. */
function weights(count: number, seed: number, scale = 0.05): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => (next() + next() + next() - 1.5) * scale);
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const [FLOAT, INT8, BFLOAT16] = [1, 3, 16];

interface Layer {
  readonly name: string;
  readonly dims?: number[];
  readonly numbers: ArrayBufferView;
  readonly type?: number;
}
const graphOf = (layers: readonly Layer[]): Uint8Array =>
  onnxFile({
    nodes: [{ op: 'MatMul' }],
    initializers: layers.map(({ name, numbers, type = FLOAT, dims }) => ({
      ...{ name, type, bytes: bytesOf(numbers) },
      ...(dims && { dims }),
    })),
  });

interface Pair {
  readonly base: Uint8Array;
  readonly result: Uint8Array;
}

/** For an agent of today. */
const ANY = { maxBytes: Number.POSITIVE_INFINITY, kinds: DELTA_KINDS };

/** Encodes, decodes, compares. @returns bytes of the delta as a share of the whole file */
async function roundTrip(folder: string, { base, result }: Pair, isGraph = true): Promise<number> {
  const path = (name: string): string => join(folder, name);
  await writeFile(path('base'), base);
  await writeFile(path('result'), result);
  const file = (name: string): DeltaFile => ({ path: path(name), graphs: isGraph ? [path(name)] : [] });
  const encoded = encodeDelta({ base: file('base'), result: file('result'), out: path('delta') }, ANY);
  assert.ok('bytes' in encoded);
  assert.equal((await readFile(path('delta'))).length, encoded.bytes);
  decodeDelta({ base: path('base'), delta: path('delta'), out: path('out') }, result.length);
  assert.ok((await readFile(path('out'))).equals(result), 'the same bytes');
  return encoded.bytes / result.length;
}

test('a last layer that is trained anew costs its own bytes', async (t) => {
  const folder = await quickFolder(t);
  const trunk = { name: 'trunk', numbers: weights(1_000_000, 1) };
  const base = graphOf([trunk, { name: 'head', numbers: weights(10_000, 2) }]);
  const result = graphOf([trunk, { name: 'head', numbers: weights(10_000, 3) }]);
  const share = await roundTrip(folder, { base, result });
  assert.ok(share < 0.012, `${share}`);
});

test('float weights that have moved a little cost their low bits', async (t) => {
  const folder = await quickFolder(t);
  const before = weights(1_200_000, 1);
  const noise = weights(before.length, 2, 2e-4);
  const after = before.map((weight, i) => weight + (noise[i] ?? 0));
  const share = await roundTrip(folder, {
    base: graphOf([{ name: 'w', numbers: before }]),
    result: graphOf([{ name: 'w', numbers: after }]),
  });
  assert.ok(share < 0.6, `${share}`);
});

test('quantized weights of which few have moved by one step cost little', async (t) => {
  const folder = await quickFolder(t);
  const next = random(7);
  const before = Int8Array.from({ length: 500_000 }, () => Math.round((next() - 0.5) * 127));
  const after = before.map((weight) => (next() < 0.03 ? weight + (next() < 0.5 ? 1 : -1) : weight));
  const share = await roundTrip(folder, {
    base: graphOf([{ name: 'w', numbers: before, type: INT8 }]),
    result: graphOf([{ name: 'w', numbers: after, type: INT8 }]),
  });
  assert.ok(share < 0.04, `${share}`);
});

/** A convolution whose kernels move as one, each another way: fine-tuned and quantized anew. */
function tuned(outputs: number, inputs: number): { before: Int8Array; after: Int8Array; dims: number[] } {
  const next = random(3);
  const before = Int8Array.from({ length: outputs * inputs * 9 }, () => Math.round((next() - 0.5) * 127));
  let pull = 0;
  const after = before.map((weight, at) => {
    if (at % 9 === 0) pull = (next() + next() - 1) * 2;
    return Math.round(weight + pull + (next() - 0.5) * 0.8);
  });
  return { before, after, dims: [outputs, inputs, 3, 3] };
}

test('quantized weights that move together cost a quarter less than each by itself', async (t) => {
  const folder = await quickFolder(t);
  const { before, after, dims } = tuned(64, 64);
  const share = await roundTrip(folder, {
    base: graphOf([{ name: 'w', numbers: before, type: INT8, dims }]),
    result: graphOf([{ name: 'w', numbers: after, type: INT8, dims }]),
  });
  const pair = { bytes: bytesOf(after), base: bytesOf(before) };
  const out = new Uint8Array(2 * before.length);
  const alone = new NumberEncoder().encode(pair, FORMS.bytes, out, before.length) ?? assert.fail();
  assert.ok(share < (0.75 * (alone.coded + alone.rest)) / before.length, `${share}`);
});

test('whatever 8-bit numbers become, and however they lie, their steps lead there', () => {
  const lying = fc
    .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }))
    .map(([one, other]) => ({ row: Math.max(one, other), group: Math.min(one, other) }));
  const numbers = fc.oneof(
    fc.uint8Array({ minLength: 400, maxLength: 400 }),
    fc.array(fc.constantFrom(0, 1, 255, 128, 127), { minLength: 400, maxLength: 400 }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(numbers, numbers, lying), { minLength: 1, maxLength: 3 }), (blocks) => {
      const [encoder, decoder, out] = [new StepEncoder(), new StepDecoder(), new Uint8Array(4_000)];
      for (const [from, to, rows] of blocks) {
        const [base, bytes] = [Uint8Array.from(from), Uint8Array.from(to)];
        const coded = encoder.encode({ bytes, base }, rows, out, out.length) ?? assert.fail();
        decoder.decode(base, rows, out.slice(0, coded));
        assert.deepEqual(base, bytes);
      }
    }),
    { numRuns: 100, seed: 1 },
  );
});

test('what is not worth it teaches nothing: the next block comes out as without it', () => {
  const { before, after } = tuned(8, 16);
  const pair = { bytes: bytesOf(after), base: bytesOf(before) };
  const [rows, out] = [{ row: 144, group: 9 }, new Uint8Array(2 * before.length)];
  const encoder = new StepEncoder();
  assert.equal(encoder.encode(pair, rows, out, 10), undefined);
  const coded = encoder.encode(pair, rows, out, out.length) ?? assert.fail();
  const made = Uint8Array.from(pair.base);
  new StepDecoder().decode(made, rows, out.slice(0, coded));
  assert.deepEqual(made, pair.bytes);
});

test('a quantized tensor of several blocks is cut between its rows', async (t) => {
  const folder = await quickFolder(t);
  const row = 100_003;
  const before = new Int8Array(row * (Math.ceil(BLOCK_BYTES / row) + 1)).fill(3);
  const after = before.map((weight, at) => (at % 5_001 === 0 ? weight + 1 : weight));
  const dims = [before.length / row, row];
  const share = await roundTrip(folder, {
    base: graphOf([{ name: 'w', numbers: before, type: INT8, dims }]),
    result: graphOf([{ name: 'w', numbers: after, type: INT8, dims }]),
  });
  assert.ok(share < 0.002, `${share}`);
});

test('a difference as older hubs have made it, of 8-bit numbers one by one, still makes the file', async (t) => {
  const folder = await quickFolder(t);
  const { before, after } = tuned(8, 16);
  const [base, result, out] = [bytesOf(before), bytesOf(after), Buffer.alloc(2 * before.length)];
  const numbers = { bytes: result, base };
  const made = new NumberEncoder().encode(numbers, FORMS.bytes, out, before.length) ?? assert.fail();
  const delta = frame(base.length, result.length).varint(DIFF).varint(result.length).varint(0);
  delta.varint(FORMS.bytes.code).varint(made.coded).varint(made.rest);
  delta.put(out.subarray(0, made.coded + made.rest)).varint(END);
  await writeFile(join(folder, 'base'), base);
  await writeFile(join(folder, 'delta'), bytes(delta));
  const files = { base: join(folder, 'base'), delta: join(folder, 'delta'), out: join(folder, 'out') };
  decodeDelta(files, result.length);
  assert.ok((await readFile(files.out)).equals(result));
});

/** Kinds of the blocks of a delta, as any reader of the format finds them. */
function blocksOf(delta: Uint8Array): number[] {
  let at = MAGIC.length;
  const varint = (): number => readVarint(() => delta[at++] ?? assert.fail('it ends too early'));
  const numbers = (count: number): number[] => Array.from({ length: count }, varint);
  const skip = (count = 0): void => {
    at += count;
  };
  numbers(2);
  const kinds: number[] = [];
  while (at < delta.length) {
    const kind = varint();
    kinds.push(kind);
    if (kind === COPY) numbers(2);
    else if (kind === MIX) {
      numbers(3);
      skip(numbers(2).at(-1));
      skip(numbers(2).at(-1));
    } else if (kind === DIFF) {
      const [, , , coded = 0, rest = 0] = numbers(5);
      skip(coded + rest);
    } else if (kind === STEPS) skip(numbers(5).at(-1));
    else assert.equal(kind, END);
  }
  return kinds;
}

test('an agent that has told of no kinds gets a difference without blocks that it does not know', async (t) => {
  const folder = await quickFolder(t);
  const { before, after, dims } = tuned(32, 64);
  for (const [name, numbers] of Object.entries({ base: before, result: after }))
    await writeFile(join(folder, name), graphOf([{ name: 'w', numbers, type: INT8, dims }]));
  const file = (name: string): DeltaFile => ({ path: join(folder, name), graphs: [join(folder, name)] });
  const encode = async (kinds: readonly DeltaKind[]) => {
    const out = join(folder, 'delta');
    const encoded = encodeDelta({ base: file('base'), result: file('result'), out }, { ...ANY, kinds });
    assert.ok('bytes' in encoded);
    const result = await readFile(join(folder, 'result'));
    decodeDelta({ base: join(folder, 'base'), delta: out, out: join(folder, 'out') }, result.length);
    assert.ok((await readFile(join(folder, 'out'))).equals(result));
    return { ...encoded, blocks: blocksOf(await readFile(out)) };
  };
  const [old, today] = [await encode([]), await encode(['steps'])];
  assert.deepEqual(
    [old.kind, old.blocks.includes(STEPS), old.blocks.includes(DIFF)],
    [undefined, false, true],
  );
  assert.deepEqual([today.kind, today.blocks.includes(STEPS)], ['steps', true]);
  assert.ok(today.bytes < old.bytes, `${today.bytes} of ${old.bytes}`);
});

test('tensors are found again under other names, in another order, at other places', async (t) => {
  const folder = await quickFolder(t);
  const one = { name: 'one', numbers: weights(50_000, 1) };
  const two = { name: 'two', numbers: weights(60_000, 2) };
  const share = await roundTrip(folder, {
    base: graphOf([one, two]),
    result: graphOf([{ ...two, name: 'onnx::MatMul_99' }, { name: 'new', numbers: weights(10, 5) }, one]),
  });
  assert.ok(share < 0.002, `${share}`);
});

test('weights in a file beside the graph are found by what the graph says of it', async (t) => {
  const folder = await quickFolder(t);
  const before = bytesOf(weights(300_000, 1));
  const noise = weights(300_000, 2, 2e-4);
  const after = bytesOf(weights(300_000, 1).map((weight, i) => weight + (noise[i] ?? 0)));
  const names = { base: before, result: after };
  for (const [name, data] of Object.entries(names)) {
    await writeFile(join(folder, `${name}.data`), data);
    const place = { offset: 0, length: data.length };
    await writeFile(
      join(folder, `${name}.onnx`),
      onnxFile({ initializers: [{ name: 'w', location: `${name}.data`, place }] }),
    );
  }
  const file = (name: string): DeltaFile => ({
    path: join(folder, `${name}.data`),
    graphs: [join(folder, `${name}.onnx`)],
  });
  const out = join(folder, 'delta');
  const encoded = encodeDelta({ base: file('base'), result: file('result'), out }, ANY);
  assert.ok('bytes' in encoded && encoded.bytes < 0.6 * after.length);
  decodeDelta({ base: join(folder, 'base.data'), delta: out, out: join(folder, 'out') }, after.length);
  assert.ok((await readFile(join(folder, 'out'))).equals(after));
});

test('a file without tensors costs what is new in it', async (t) => {
  const folder = await quickFolder(t);
  const next = random(3);
  const words = Array.from({ length: 30_000 }, () => `"${next().toString(36)}": ${Math.floor(next() * 1e6)}`);
  const base = Buffer.from(words.join(',\n'));
  words.splice(10_000, 3, '"another": 1');
  words.push('"at the end": 2');
  const result = Buffer.from(words.join(',\n'));
  const share = await roundTrip(folder, { base, result }, false);
  assert.ok(share < 0.001, `${share}`);
  assert.ok((await roundTrip(folder, { base: Buffer.alloc(0), result: Buffer.from('a') }, false)) > 0);
  await roundTrip(folder, { base, result: Buffer.alloc(0) }, false);
});

test('a delta that is not worth it is given up', async (t) => {
  const folder = await quickFolder(t);
  await writeFile(join(folder, 'base'), weights(10, 1));
  await writeFile(join(folder, 'result'), Buffer.from(weights(500_000, 2).buffer));
  const file = (name: string): DeltaFile => ({ path: join(folder, name), graphs: [] });
  const [base, result] = [file('base'), file('result')];
  assert.deepEqual(encodeDelta({ base, result, out: join(folder, 'delta') }, { ...ANY, maxBytes: 1_000 }), {
    tooLarge: true,
  });
});

test('whatever two files are, one comes out of the other and the delta', async (t) => {
  const folder = await quickFolder(t);
  const layer = fc.record({
    name: fc.constantFrom('a', 'b', 'c', ''),
    type: fc.constantFrom(FLOAT, INT8, BFLOAT16, 10, 6, 7),
    bytes: fc.uint8Array({ minLength: 0, maxLength: 600, size: 'max' }),
  });
  const graph = fc.array(layer, { maxLength: 5 }).map((layers) => onnxFile({ initializers: layers }));
  const any = fc.oneof(graph, fc.uint8Array({ maxLength: 2_000, size: 'max' }));
  const edited = fc
    .tuple(any, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 20 }))
    .map(([base, edits]) => {
      const result = Uint8Array.from(base);
      for (const [at, value] of edits) if (result.length > 0) result[at % result.length] = value;
      return { base, result };
    });
  const pair = fc.oneof(edited, fc.record({ base: any, result: any }));
  await fc.assert(
    fc.asyncProperty(pair, async (one) => void (await roundTrip(folder, one))),
    { numRuns: 150, seed: 1 },
  );
});

/** Decodes it and expects a refusal with our own code. */
async function refused(t: TestContext, delta: Uint8Array, resultBytes = 100, base = Buffer.alloc(50, 7)) {
  const folder = await quickFolder(t);
  await writeFile(join(folder, 'base'), base);
  await writeFile(join(folder, 'delta'), delta);
  const files = { base: join(folder, 'base'), delta: join(folder, 'delta'), out: join(folder, 'out') };
  assert.throws(
    () => decodeDelta(files, resultBytes),
    (error) => isAppError(error, 'DELTA_INVALID'),
  );
}

const frame = (baseBytes = 50, resultBytes = 100): ByteWriter =>
  new ByteWriter().put(MAGIC).varint(baseBytes).varint(resultBytes);
const bytes = (writer: ByteWriter): Uint8Array => Uint8Array.from(writer.written);
/** A block of 100 own bytes. */
function own(writer: ByteWriter, count = 100): ByteWriter {
  const instructions = new ByteWriter().varint(count).varint(0).signed(0);
  writer.varint(MIX).varint(count).varint(0).varint(instructions.length);
  pack(writer, instructions.written);
  pack(writer, Buffer.alloc(count, 'own'));
  return writer;
}
const mix = (instructions: ByteWriter, length = 100): Uint8Array => {
  const writer = frame().varint(MIX).varint(length).varint(0).varint(instructions.length);
  pack(writer, instructions.written);
  pack(writer, Buffer.alloc(1));
  return bytes(writer.varint(END));
};
const bomb = (): Uint8Array => {
  const packed = new ByteWriter();
  pack(packed, Buffer.concat([Buffer.alloc(3 * BLOCK_BYTES), Buffer.from('x')]));
  const instructions = new ByteWriter().varint(100).varint(0).signed(0);
  const writer = frame().varint(MIX).varint(100).varint(0).varint(instructions.length);
  pack(writer, instructions.written);
  return bytes(writer.put(packed.written).varint(END));
};

/** A block of steps for 40 numbers. */
function steps(
  block: Partial<Record<'from' | 'row' | 'group' | 'says', number>> & { readonly coded?: Uint8Array },
): Uint8Array {
  const { from = 0, row = 8, group = 1, coded = Buffer.alloc(5) } = block;
  const writer = frame().varint(STEPS).varint(40).varint(from).varint(row).varint(group);
  return bytes(
    writer
      .varint(block.says ?? coded.length)
      .put(coded)
      .varint(END),
  );
}

const MALICIOUS: Record<string, Uint8Array> = {
  'nothing at all': new Uint8Array(0),
  'another file': Buffer.from('PK\x03\x04 what devices have not asked for'),
  'another base': bytes(own(frame(51)).varint(END)),
  'another size than is signed': bytes(own(frame(50, 101)).varint(END)),
  'no end': bytes(own(frame())),
  'an end too early': bytes(frame().varint(END)),
  'something after its end': bytes(own(frame()).varint(END).varint(0)),
  'an unknown block': bytes(frame().varint(9).varint(100).varint(END)),
  'a block that makes nothing': bytes(frame().varint(COPY).varint(0).varint(0)),
  'a block that makes too much': bytes(own(frame(), 101).varint(END)),
  'a copy beyond the base': bytes(frame().varint(COPY).varint(100).varint(0).varint(END)),
  'a copy that begins beyond the base': bytes(
    frame()
      .varint(COPY)
      .varint(10)
      .varint(2 ** 48)
      .varint(END),
  ),
  'a number that does not end': Buffer.concat([MAGIC, Buffer.alloc(20, 0xff)]),
  'a bomb': bomb(),
  'a packed block that is longer than its own bytes': bytes(
    frame()
      .varint(MIX)
      .varint(100)
      .varint(0)
      .varint(3)
      .varint(2)
      .varint(2 ** 40),
  ),
  'a copy before the base': mix(new ByteWriter().varint(90).varint(10).signed(-100)),
  'an instruction that makes nothing': mix(new ByteWriter().varint(0).varint(0).signed(0)),
  'instructions that make too much': mix(
    new ByteWriter()
      .varint(2 ** 40)
      .varint(0)
      .signed(0),
  ),
  'instructions that make too little': mix(new ByteWriter().varint(1).varint(0).signed(0)),
  'instructions that break off': mix(new ByteWriter().varint(1).varint(1)),
  'numbers of an unknown kind': bytes(
    frame().varint(DIFF).varint(40).varint(0).varint(99).varint(5).varint(0),
  ),
  'numbers of half a width': bytes(frame().varint(DIFF).varint(41).varint(0).varint(5).varint(5).varint(0)),
  'numbers beyond the base': bytes(
    frame().varint(DIFF).varint(40).varint(20).varint(0).varint(5).varint(0).put(Buffer.alloc(5)),
  ),
  'numbers that end too early': bytes(
    frame().varint(DIFF).varint(40).varint(0).varint(0).varint(5).varint(0).put(Buffer.alloc(5, 0xff)),
  ),
  'numbers without a beginning': bytes(
    frame().varint(DIFF).varint(40).varint(0).varint(0).varint(0).varint(0),
  ),
  'numbers that are longer than what they make': bytes(
    frame()
      .varint(DIFF)
      .varint(40)
      .varint(0)
      .varint(0)
      .varint(2 ** 45)
      .varint(0),
  ),
  'steps beyond the base': steps({ from: 20 }),
  'steps in rows of nothing': steps({ row: 0 }),
  'steps in rows that no memory holds': steps({ row: MAX_ROW + 1 }),
  'steps in kernels of nothing': steps({ group: 0 }),
  'steps in kernels that are longer than their row': steps({ row: 8, group: 9 }),
  'steps that end too early': steps({ coded: Buffer.alloc(5, 0xff) }),
  'steps without a beginning': steps({ coded: Buffer.alloc(0) }),
  'steps that are longer than what they make': steps({ says: 2 ** 45 }),
};
for (const [what, delta] of Object.entries(MALICIOUS))
  test(`a delta is refused within bounds: ${what}`, (t) => refused(t, delta));

test('a packed bomb of a block is refused before it is in memory', async (t) => {
  const size = 2 * BLOCK_BYTES + 1;
  const writer = frame(50, size).varint(MIX).varint(size);
  await refused(t, bytes(writer), size);
});

test('a delta with any bytes changed is refused, or makes a file of the signed length', async (t) => {
  const folder = await quickFolder(t);
  const path = (name: string): string => join(folder, name);
  const before = weights(3_000, 1);
  const base = graphOf([
    { name: 'w', numbers: before },
    { name: 'i', numbers: tuned(8, 16).before, type: INT8, dims: [8, 16, 3, 3] },
  ]);
  const result = Buffer.concat([
    graphOf([
      { name: 'w', numbers: before.map((weight) => weight * 1.001) },
      { name: 'i', numbers: tuned(8, 16).after, type: INT8, dims: [8, 16, 3, 3] },
    ]),
    Buffer.from('more'),
  ]);
  await roundTrip(folder, { base, result });
  const good = await readFile(path('delta'));
  const next = random(11);
  let refusals = 0;
  for (let round = 0; round < 1_500; round++) {
    const bad = Buffer.from(good);
    const isCut = round % 5 === 0;
    for (let i = 0; i < 1 + (round % 3); i++)
      bad[Math.floor(next() ** 3 * bad.length)] = Math.floor(next() * 256);
    await writeFile(path('bad'), isCut ? bad.subarray(0, Math.floor(next() * bad.length)) : bad);
    try {
      decodeDelta({ base: path('base'), delta: path('bad'), out: path('out') }, result.length);
      assert.equal((await readFile(path('out'))).length, result.length);
    } catch (error) {
      assert.ok(isAppError(error, 'DELTA_INVALID'), `${error}`);
      refusals++;
    }
  }
  assert.ok(refusals > 300, `${refusals}`);
});

test('a process of its own makes and applies it, tells what is wrong, and ends when it is told to', async (t) => {
  const folder = await quickFolder(t);
  const path = (name: string): string => join(folder, name);
  await writeFile(path('base'), Buffer.alloc(200_000, 'the base'));
  await writeFile(path('result'), Buffer.concat([Buffer.alloc(200_000, 'the base'), Buffer.from('more')]));
  const limits = { signal: new AbortController().signal, timeoutMs: 60_000 };
  const files = { base: { path: path('base'), graphs: [] }, result: { path: path('result'), graphs: [] } };
  const made = await makeDelta({ ...files, out: path('delta'), ...ANY, maxBytes: 10_000 }, limits);
  assert.ok('bytes' in made && made.bytes < 200);
  const apply = { base: path('base'), delta: path('delta'), out: path('out'), resultBytes: 200_004 };
  await applyDelta(apply, limits);
  assert.ok((await readFile(path('out'))).equals(await readFile(path('result'))));
  await writeFile(path('delta'), 'torn');
  const code = (error: unknown): string | undefined => (error as { code?: string }).code;
  await assert.rejects(applyDelta(apply, limits), (error) => code(error) === 'DELTA_INVALID');
  const stopping = new AbortController();
  const late = applyDelta(apply, { ...limits, signal: stopping.signal });
  stopping.abort();
  await assert.rejects(late, (error) => code(error) === 'STOPPING');
  await assert.rejects(
    applyDelta(apply, { ...limits, timeoutMs: 0 }),
    (error) => code(error) === 'DELTA_INVALID',
  );
});
