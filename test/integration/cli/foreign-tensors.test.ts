/** Bare graphs of tensors as a user brings them in and asks them: what no made-up input fits is called untested, and an example tests it. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';

const exported = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/exports/${name}.onnx`, import.meta.url));

interface Said {
  readonly code: number | null;
  readonly output: string;
}

async function run(t: TestContext, ...args: string[]): Promise<Said> {
  const program = outrider(t, args);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

const pull = (t: TestContext, name: string, into: string, ...more: string[]): Promise<Said> =>
  run(t, 'models', 'pull', exported(name), '--task', 'tensor', '--into', into, ...more);

/** `numpy.save` of float64 in one row. */
function npy(values: readonly number[]): Buffer {
  const header = `${`{'descr': '<f8', 'fortran_order': False, 'shape': (${values.length},), }`.padEnd(117)}\n`;
  const head = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${header}`, 'latin1');
  head.writeUInt16LE(header.length, 8);
  return Buffer.concat([head, Buffer.from(Float64Array.from(values).buffer)]);
}

const FIFTEEN = Array.from({ length: 15 }, (_, index) => index);

test('a graph that takes long sounds only is tried with longer and longer ones, and the shape is kept', async (t) => {
  const into = await temporaryFolder(t);
  const { code, output } = await pull(t, 'voice', into);
  assert.equal(code, 0, output);
  assert.match(
    output,
    /answers +it answers to input \[1,48\], state \[2,1,4\], sr \[\]; it has no golden inputs/,
  );
  const { spec } = await openModelFolder(join(into, 'voice'));
  assert.deepEqual(spec.trial, { shapes: { input: [1, 48], state: [2, 1, 4], sr: [] } });
  const hub = await startHubProgram(t, { models: [join(into, 'voice')] });
  const input = { input: [Array(64).fill(0.5)], state: [[[1, 0, 0, 0]], [[0, 0, 0, 2]]], sr: 16_000 };
  const at = ['--hub', hub.url, '--key', hub.key, '--json'];
  const answer = await run(t, 'infer', 'voice', JSON.stringify(input), ...at);
  assert.equal(JSON.parse(answer.output)[0].data[0], 3.5, answer.output);
});

test('what no made-up input fits is taken as untested, everywhere', async (t) => {
  const into = await temporaryFolder(t);
  const { code, output } = await pull(t, 'fifteen', into);
  assert.equal(code, 0, output);
  assert.match(
    output,
    /answers +UNTESTED: it loads, and takes no input that could be made up; .*--example FILE/,
  );
  assert.match(output, /time +not measured/);
  assert.doesNotMatch(output, /it answers/);
  const folder = join(into, 'fifteen');
  const { spec } = await openModelFolder(folder);
  assert.match(JSON.stringify(spec.trial), /"untested":".*Reshape/);
  assert.equal(spec.batch.safe, false);
  assert.match(
    (await run(t, 'doctor', '--models', into)).output,
    /model fifteen +warn +is untested: it loads/,
  );
  const hub = await startHubProgram(t);
  const pushed = await run(t, 'models', 'push', folder, '--no-wait', '--hub', hub.url, '--key', hub.key);
  assert.match(
    pushed.output,
    /fifteen@1 is published, not tested: it loads, and took no input that could be made up/,
  );
  const at = ['--hub', hub.url, '--key', hub.key, '--json'];
  const answer = await run(t, 'infer', 'fifteen', JSON.stringify(FIFTEEN), ...at);
  assert.deepEqual(JSON.parse(answer.output)[0].data, [10, 35, 60]);
});

for (const [kind, bytes] of [
  ['npy', npy(FIFTEEN)],
  ['json', Buffer.from(JSON.stringify({ inputs: { x: FIFTEEN } }))],
] as const)
  test(`an example as .${kind} tests it, and becomes its golden input`, async (t) => {
    const into = await temporaryFolder(t);
    const example = join(into, `example.${kind}`);
    await writeFile(example, bytes);
    const { code, output } = await pull(t, 'fifteen', join(into, 'models'), '--example', example);
    assert.equal(code, 0, output);
    assert.match(output, /answers +it answers the example/);
    const folder = join(into, 'models/fifteen');
    const { spec } = await openModelFolder(folder);
    assert.equal(spec.trial, undefined);
    assert.deepEqual(spec.golden[0]?.output, [
      { name: 'sums', datatype: 'FP32', shape: [3], data: [10, 35, 60] },
    ]);
    assert.match((await run(t, 'doctor', folder)).output, /answers +as its golden inputs say/);
    assert.match(
      (await run(t, 'doctor', exported('fifteen'), '--task', 'tensor', '--example', example)).output,
      /answers +it answers the example/,
    );
    const hub = await startHubProgram(t);
    const push = (...args: string[]): Promise<Said> =>
      run(
        t,
        'models',
        'push',
        ...args,
        '--example',
        example,
        '--no-wait',
        '--hub',
        hub.url,
        '--key',
        hub.key,
      );
    assert.match((await push(folder)).output, /says it all: leave --example out \(USAGE\)/);
    const pushed = await push(exported('fifteen'), '--task', 'tensor');
    assert.match(pushed.output, /fifteen@1 is published, its golden inputs answered as recorded/);
  });

test('an example that it does not take is a reason to refuse, and names itself', async (t) => {
  const into = await temporaryFolder(t);
  const example = join(into, 'short.json');
  await writeFile(example, '[1, 2, 3]');
  const { code, output } = await pull(t, 'fifteen', join(into, 'models'), '--example', example);
  assert.equal(code, 1);
  assert.match(output, /short\.json: it is refused: .*Reshape.*\(MODEL_SELF_TEST_FAILED\)/);
  const say = async (bytes: string | Buffer, name: string): Promise<string> => {
    await writeFile(join(into, name), bytes);
    return (await pull(t, 'fifteen', join(into, 'models'), '--example', join(into, name))).output;
  };
  assert.match(
    await say('nonsense', 'bad.json'),
    /bad\.json is no JSON, no array of NumPy .*\(FILE_UNREADABLE\)/,
  );
  assert.match(await say(npy(FIFTEEN).subarray(0, 200), 'cut.npy'), /ends within its 15 elements/);
  assert.match(
    (await pull(t, 'voice', into, '--example', join(into, 'cut.npy'))).output,
    /takes several.*\(USAGE\)/,
  );
  assert.equal((await readFile(example, 'utf8')).length, 9);
});

test('a text comes out byte for byte, or as an error that names its output', async (t) => {
  const into = await temporaryFolder(t);
  assert.equal((await pull(t, 'texts', into)).code, 0);
  const refused = await pull(t, 'texts-with-nul', join(into, 'refused'));
  assert.match(refused.output, /output word may be a text with a NUL, .*\(OUTPUT_NOT_TEXT\)/);
  const hub = await startHubProgram(t, { models: [join(into, 'texts')] });
  const at = ['--hub', hub.url, '--key', hub.key, '--json'];
  const good = await run(t, 'infer', 'texts', '[1, 0]', ...at);
  assert.deepEqual(JSON.parse(good.output)[0].data, ['Zürich 😀', 'plain'], good.output);
  const bad = await run(t, 'infer', 'texts', '[0, 2]', ...at);
  assert.equal(bad.code, 1);
  assert.match(bad.output, /output word: element 1 is no UTF-8/);
  assert.match(bad.output, /OUTPUT_NOT_TEXT/);
  const numbers = await run(t, 'infer', 'texts', '[2]', '--parameters', '{"outputs": ["same"]}', ...at);
  assert.deepEqual(JSON.parse(numbers.output)[0].data, [2], numbers.output);
});

test('a graph that takes nothing, or does not say of which shape, is asked as it is', async (t) => {
  const into = await temporaryFolder(t);
  const names = ['nothing-in', 'shapeless'];
  for (const name of names) {
    const { code, output } = await pull(t, name, into);
    assert.equal(code, 0, output);
    assert.match(output, /answers +it answers; it has no golden inputs/);
  }
  const hub = await startHubProgram(t, { models: names.map((name) => join(into, name)) });
  const ask = async (...words: string[]) => {
    const { output } = await run(t, 'infer', ...words, '--hub', hub.url, '--key', hub.key, '--json');
    return JSON.parse(output);
  };
  assert.deepEqual((await ask('nothing-in', '{}'))[0].data, [1, 2]);
  assert.deepEqual((await ask('shapeless', '[[1, 2], [3, 4]]'))[0], {
    ...{ name: 'y', datatype: 'FP32', shape: [2, 2], data: [-1, -2, -3, -4] },
  });
});

test('a classifier that gives maps is refused with the word that its converter knows', async (t) => {
  const { code, output } = await pull(t, 'zip-map', await temporaryFolder(t));
  assert.equal(code, 1);
  assert.match(
    output,
    /output_probability sequence of maps is of a type .*options={"zipmap": False}.*\(MODEL_INVALID\)/,
  );
});
