/** `outrider models pull` as a user runs it, on folders as others export them and a server that speaks the hub's file API. */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type DescribeOptions, stageModel } from '../../../cli/import/stage-model.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { toAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { HuggingFaceHub } from '../../support/hugging-face-hub.ts';
import { onnxFile } from '../../support/onnx-file.ts';
import { outrider } from '../../support/programs.ts';

const path = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const FIXTURES = 'test/fixtures/models';

interface Said {
  readonly code: number | null;
  readonly output: string;
}

async function pull(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Said> {
  const program = outrider(t, ['models', 'pull', ...args], { env });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

/** What it is refused with, as a command says it; nothing is left of it. */
async function refusal(work: () => Promise<unknown>, into: string): Promise<string> {
  const error = await work().then(
    () => assert.fail('it is taken'),
    (failure: unknown) => toAppError(failure),
  );
  assert.deepEqual(await readdir(into), []);
  return `${error.message} (${error.code})`;
}

/** A starter or fixture model as its exporter left it: without our file. */
async function foreign(t: TestContext, from: string): Promise<string> {
  const folder = join(await temporaryFolder(t), 'foreign');
  await cp(path(from), folder, { recursive: true });
  await rm(join(folder, 'outrider.json'));
  return folder;
}

async function filesOf(folder: string): Promise<Record<string, Uint8Array>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Object.fromEntries(
    await Promise.all(
      files.map(async ({ name, parentPath }) => {
        const full = join(parentPath, name);
        return [full.slice(folder.length + 1), await readFile(full)] as const;
      }),
    ),
  );
}

test('a folder that somebody else exported is described, tried, and says what it is', async (t) => {
  const from = await foreign(t, 'models/sst2-minilm');
  const into = await temporaryFolder(t);
  await writeFile(join(from, 'pytorch_model.bin'), 'not needed');
  const { code, output } = await pull(t, [from, '--into', into, '--name', 'acme/reviews']);
  assert.equal(code, 0, output);
  assert.match(output, /task +text-classification/);
  assert.match(output, /precision +int8-weights/);
  assert.match(output, /inputs +input_ids int64\[\?,\?\]/);
  assert.match(output, /told from “BertForSequenceClassification” in config\.json/);
  assert.match(output, /Next: outrider models push /);
  const { spec } = await openModelFolder(join(into, 'acme/reviews'));
  assert.equal(spec.name, 'acme/reviews');
  assert.equal(spec.foldDequantize, true);
  assert.deepEqual(spec.batch, { safe: true, maxSize: 16 });
  assert.deepEqual(spec.signature?.outputs, [{ name: 'logits', type: 'float32', dims: [null, 2] }]);
  assert.deepEqual((await readdir(join(into, 'acme/reviews'))).includes('pytorch_model.bin'), false);
  // Pulled once more it is there; another version under its name is not replaced by accident.
  assert.equal((await pull(t, [from, '--into', into, '--name', 'acme/reviews'])).code, 0);
  await writeFile(
    join(from, 'config.json'),
    (await readFile(join(from, 'config.json'), 'utf8')).replace('NEGATIVE', 'BAD'),
  );
  const other = await pull(t, [from, '--into', into, '--name', 'acme/reviews']);
  assert.match(other.output, /\(CONFLICT\)/);
  assert.equal((await pull(t, [from, '--into', into, '--name', 'acme/reviews', '--force'])).code, 0);
  assert.deepEqual(await readdir(into), ['acme']);
});

test('dynamic quantization is seen: no batches', async (t) => {
  const from = await foreign(t, `${FIXTURES}/colours-dynamic`);
  const into = await temporaryFolder(t);
  const { code, output } = await pull(t, [from, '--into', into, '--task', 'image-classification']);
  assert.equal(code, 0, output);
  assert.match(output, /Dynamic quantization: an answer would depend on its neighbours, so batching is off/);
  assert.equal((await openModelFolder(join(into, 'foreign'))).spec.batch.safe, false);
});

test('a folder that lies where models lie is described in place', async (t) => {
  const from = await foreign(t, `${FIXTURES}/colours`);
  const { code, output } = await pull(t, [
    from,
    '--into',
    join(from, '..'),
    '--task',
    'image-classification',
  ]);
  assert.equal(code, 0, output);
  assert.equal((await openModelFolder(from)).spec.name, 'foreign');
  assert.deepEqual(await readdir(join(from, '..')), ['foreign']);
});

test('labels may come from a file, as lines or JSON', async (t) => {
  const from = await foreign(t, `${FIXTURES}/colours`);
  const into = await temporaryFolder(t);
  const labels = join(into, 'labels.txt');
  await writeFile(labels, 'rot\ngrün\nblau\n');
  const args = ['--into', into, '--task', 'image-classification', '--labels', labels];
  assert.equal((await pull(t, [from, ...args])).code, 0);
  const config = JSON.parse(await readFile(join(into, 'foreign/config.json'), 'utf8'));
  assert.deepEqual(config.id2label, { 0: 'rot', 1: 'grün', 2: 'blau' });
  await writeFile(labels, '["one", "two"]');
  const two = await pull(t, [from, ...args, '--force']);
  assert.match(
    two.output,
    /onnx\/model\.onnx does not fit image-classification: it gives 3 numbers, and has 2 labels \(MODEL_INVALID\)/,
  );
});

test('each refusal names the file and the reason, and leaves nothing behind', async (t) => {
  const into = await temporaryFolder(t);
  // In this process: what a command prints of an error is the same for all of them.
  const broken = async (
    change: (folder: string) => Promise<unknown>,
    described: DescribeOptions = {},
  ): Promise<string> => {
    const folder = await foreign(t, `${FIXTURES}/words`);
    await change(folder);
    return refusal(() => stageModel(folder, join(into, 'stage'), { ...described, isShown: false }), into);
  };
  const graph = (parts: Parameters<typeof onnxFile>[0]) => (folder: string) =>
    writeFile(join(folder, 'onnx/model.onnx'), onnxFile(parts));
  const task = { task: 'text-classification' };
  assert.match(
    await broken(graph({ nodes: [{ op: 'Magic', domain: 'acme' }] }), task),
    /model\.onnx needs custom operators.*acme:Magic \(MODEL_INVALID\)/,
  );
  assert.match(
    await broken(graph({ initializers: [{ name: 'w', location: '../../secret' }] }), task),
    /takes weights from “\.\.\/\.\.\/secret”, which is outside of its folder/,
  );
  assert.match(
    await broken(graph({ initializers: [{ name: 'w', location: 'model.onnx_data' }] }), task),
    /takes weights from onnx\/model\.onnx_data, which is missing/,
  );
  assert.match(
    await broken((folder) => writeFile(join(folder, 'onnx/model.onnx'), 'a pointer'), task),
    /model\.onnx.* is not an ONNX file/,
  );
  assert.match(
    await broken((folder) => rm(join(folder, 'tokenizer.json')), task),
    /tokenizer\.json is missing/,
  );
  assert.match(
    await broken((folder) => rm(join(folder, 'onnx'), { recursive: true }), task),
    /has no \.onnx file/,
  );
  assert.match(
    await broken((folder) => writeFile(join(folder, 'tokenizer.json'), '{}'), task),
    /tokenizer\.json: model: .* \(MODEL_INVALID\)/,
  );
  assert.match(
    await broken((folder) => writeFile(join(folder, 'config.json'), '{"architectures": ["Newest"]}')),
    /cannot be told from “Newest” in config\.json; say it with --task/,
  );
  assert.match(
    await broken(async () => undefined, { ...task, maxSize: '1KB' }),
    /the limit is 1000.*\(INPUT_TOO_LARGE\)/s,
  );
});

test('a bare graph is told what it is: nothing is guessed that could be wrong', async (t) => {
  const folder = await temporaryFolder(t);
  const bare = join(folder, 'detector.onnx');
  await writeFile(
    bare,
    onnxFile({
      inputs: [{ name: 'images', dims: [1, 3, 416, 416] }],
      outputs: [{ name: 'output', dims: [1, 3549, 7] }],
    }),
  );
  const into = join(folder, 'models');
  await mkdir(into);
  const say = (described: DescribeOptions): Promise<string> =>
    refusal(() => stageModel(bare, join(into, 'stage'), { ...described, isShown: false }), into);
  assert.match(await say({}), /cannot be told from its files; say it with --task/);
  assert.match(await say({ task: 'object-detection' }), /its labels are nowhere named.*--labels/);
  await writeFile(join(folder, 'labels.txt'), 'cat\ndog\n');
  const labels = { task: 'object-detection', labels: join(folder, 'labels.txt') };
  assert.match(await say(labels), /output \[1,3549,7\] may be of yolox or of yolov5; say it with --family/);
  assert.match(
    await say({ ...labels, family: 'yolo' }),
    /--family is one of detr, .*“yolo” is none \(USAGE\)/,
  );
});

const repository: Record<string, Uint8Array> = {};
const hub = new HuggingFaceHub({
  'acme/words': { files: repository, large: ['onnx/model.onnx'], token: 'hf_t' },
});
let mirror = '';
before(async () => {
  Object.assign(repository, await filesOf(path(`${FIXTURES}/words`)));
  delete repository['outrider.json'];
  repository['README.md'] = Buffer.from('---\npipeline_tag: text-classification\n---\n# Words\n');
  repository['onnx/model_fp16.onnx'] = Buffer.alloc(1_000_000);
  mirror = await hub.start();
});
after(() => hub.stop());

test('a model of a hub is fetched from a mirror: only the files that are needed, whatever breaks on the way', async (t) => {
  const into = await temporaryFolder(t);
  hub.break({ path: 'onnx/model.onnx', times: 1, kind: { cut: 50 } });
  const env = { HF_ENDPOINT: mirror, HF_TOKEN: 'hf_t' };
  const { code, output } = await pull(t, ['hf:acme/words@v1', '--into', into, '--json'], env);
  assert.equal(code, 0, output);
  const card = JSON.parse(output);
  assert.equal(card.task, 'text-classification');
  assert.ok(card.medianMs > 0 && card.residentBytes > 1e6);
  assert.equal((await openModelFolder(join(into, 'acme/words'))).digest, card.digest);
  assert.equal(hub.asked.filter((line) => line.includes('fp16')).length, 0);
  // How much came before the cut is chance: it is asked for twice, from wherever it was.
  assert.equal(hub.asked.filter((line) => line.includes('/onnx/model.onnx')).length, 2);
});

test('what the hub does not give, or gives otherwise, ends with its reason', async (t) => {
  const into = await temporaryFolder(t);
  const env = { HF_ENDPOINT: mirror, HF_TOKEN: 'hf_t' };
  const say = async (args: string[], more: NodeJS.ProcessEnv = {}): Promise<string> =>
    (await pull(t, [...args, '--into', into], { ...env, ...more })).output;
  assert.match(await say(['hf:acme/none']), /has no acme\/none.*\(MODEL_UNKNOWN\)/);
  assert.match(
    await say(['hf:acme/words'], { HF_TOKEN: '' }),
    /needs a token \(HF_TOKEN\) \(MODEL_UNKNOWN\)/,
  );
  assert.match(await say(['hf:words']), /is not of the form hf:org\/name.*\(USAGE\)/s);
  assert.match(await say(['hf:acme/words', '--mirror', 'ftp://x']), /is no http\(s\) address \(USAGE\)/);
  hub.break({ path: 'onnx/model.onnx', times: 1, kind: 'wrong' });
  assert.match(await say(['hf:acme/words']), /is not what the hub lists.*\(MODEL_DIGEST_MISMATCH\)/);
  assert.deepEqual(await readdir(into), []);
});

test('a hub whose name has no address, and one that does not answer, are told apart', async (t) => {
  const into = await temporaryFolder(t);
  const from = (mirror: string) => pull(t, ['hf:acme/words', '--into', into, '--mirror', mirror]);
  assert.match(
    (await from('https://nowhere.invalid')).output,
    /a name without an address.*\(NAME_UNRESOLVED\)/,
  );
  assert.match((await from('http://127.0.0.1:9')).output, /does not answer.*\(HUB_UNREACHABLE\)/);
});
