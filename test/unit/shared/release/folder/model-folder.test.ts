import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, open, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findModelFolders, openModelFolder } from '../../../../../shared/release/folder/model-folder.ts';
import { type ErrorCode, isAppError } from '../../../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../../../support/fixed.ts';

const sha256 = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');
const withCode =
  (code: ErrorCode, message = /./) =>
  (error: unknown): boolean =>
    isAppError(error, code) && message.test(error.message);

const FILES: Readonly<Record<string, string>> = {
  'config.json': '{"id2label": {"0": "cat"}}',
  'onnx/model.onnx': 'an ONNX graph',
  'tokenizer.json': '{}',
};

/** outrider.json of a model with these files. */
const spec = (files: Readonly<Record<string, string>>, overrides: Record<string, unknown> = {}): string =>
  JSON.stringify({
    schema: 1,
    name: 'small',
    task: 'image-classification',
    model: 'onnx/model.onnx',
    precision: 'float32',
    files: Object.fromEntries(Object.entries(files).map(([path, content]) => [path, sha256(content)])),
    ...overrides,
  });

async function write(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

async function modelFolder(
  t: TestContext,
  overrides: Record<string, unknown> = {},
  extra: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = join(await temporaryFolder(t), 'small');
  await write(folder, { ...FILES, 'outrider.json': spec(FILES, overrides), ...extra });
  return folder;
}

test('the digest is over the lines of the files that a runner reads, byte-sorted by path', async (t) => {
  const files = { ...FILES, 'B.txt': 'b', 'a.txt': 'a', 'ä.txt': 'umlaut', 'onnx/z.bin': 'z' };
  const folder = join(await temporaryFolder(t), 'small');
  const all: Record<string, string> = { ...files, 'outrider.json': spec(FILES) };
  await write(folder, all);
  const { digest, bytes, spec: read, path } = await openModelFolder(folder);
  const order = [
    'B.txt',
    'a.txt',
    'config.json',
    'onnx/model.onnx',
    'onnx/z.bin',
    'outrider.json',
    'tokenizer.json',
  ];
  const lines = [...order, 'ä.txt'].map((name) => `${sha256(all[name]!)} ${name}\n`);
  assert.equal(digest, sha256(lines.join('')));
  assert.equal(
    bytes,
    Object.values(all).reduce((sum, content) => sum + Buffer.byteLength(content), 0),
  );
  assert.deepEqual([read.name, path], ['small', folder]);
});

test('what a runner does not read travels along and changes nothing', async (t) => {
  const { digest, bytes } = await openModelFolder(await modelFolder(t));
  const more = await modelFolder(
    t,
    {},
    {
      'README.md': 'a figure on a card',
      'readme.txt': 'x',
      LICENSE: 'Apache',
      'LICENSE.md': 'Apache',
      NOTICE: 'x',
      '.gitattributes': 'x',
      '.cache/huggingface/lock': 'x',
      'onnx/model_quantized.onnx': 'another variant',
      'onnx/.part': 'x',
    },
  );
  const same = await openModelFolder(more);
  assert.deepEqual([same.digest, same.bytes], [digest, bytes]);
});

test('whatever a runner reads makes another version', async (t) => {
  const { digest } = await openModelFolder(await modelFolder(t));
  for (const [overrides, extra] of [
    [{}, { 'preprocessor_config.json': '{}' }],
    [{}, { 'onnx/model.onnx_data': 'weights beside the graph' }],
    [{ batch: { safe: true, maxSize: 8 } }, {}],
  ] as const) {
    const other = await openModelFolder(await modelFolder(t, overrides, extra));
    assert.notEqual(other.digest, digest);
  }
});

test('a file that differs from its record is told by name', async (t) => {
  for (const name of Object.keys(FILES)) {
    const folder = await modelFolder(t, {}, { [name]: `${FILES[name]}!` });
    await assert.rejects(
      openModelFolder(folder),
      (error) => withCode('MODEL_DIGEST_MISMATCH')(error) && (error as Error).message.includes(name),
    );
  }
});

test('a file that is recorded but missing is told by name', async (t) => {
  const folder = await modelFolder(t);
  await rm(join(folder, 'tokenizer.json'));
  await assert.rejects(
    openModelFolder(folder),
    withCode('MODEL_INVALID', /small: tokenizer\.json .*missing/),
  );
});

test('the graph itself needs a record', async (t) => {
  const { 'onnx/model.onnx': _graph, ...others } = FILES;
  const folder = await modelFolder(t, {}, { 'outrider.json': spec(others) });
  await assert.rejects(
    openModelFolder(folder),
    withCode('MODEL_INVALID', /onnx\/model\.onnx has no SHA-256/),
  );
});

test('links are refused, wherever they stand and wherever they lead', async (t) => {
  const folder = await modelFolder(t);
  const outside = join(folder, '..', 'outside');
  await write(outside, { secret: 'secret' });
  for (const [target, name] of [
    [join(outside, 'secret'), 'weights.bin'],
    [outside, 'more'],
    ['config.json', 'README.md'],
    ['/nowhere', 'onnx/broken'],
  ] as const) {
    await symlink(target, join(folder, name));
    await assert.rejects(openModelFolder(folder), withCode('MODEL_INVALID', /is a link/), name);
    await rm(join(folder, name));
  }
  await openModelFolder(folder);
});

test('what is too large is said before it is read', async (t) => {
  const sparse = await modelFolder(t);
  const weights = await open(join(sparse, 'weights.bin'), 'w');
  await weights.truncate(5 * 1024 ** 3);
  await weights.close();
  await assert.rejects(
    openModelFolder(sparse),
    withCode('MODEL_INVALID', /weights\.bin has 5368709120 bytes; the limit is/),
  );
  const many = Object.fromEntries(Array.from({ length: 120 }, (_, index) => [`more/${index}`, '']));
  await assert.rejects(
    openModelFolder(await modelFolder(t, {}, many)),
    withCode('MODEL_INVALID', /has 124 files .*limit is 100/),
  );
  await assert.rejects(
    openModelFolder(await modelFolder(t, {}, { 'outrider.json': ' '.repeat(20_000_000) })),
    withCode('MODEL_INVALID', /outrider\.json has 20000000 bytes/),
  );
});

test('a name that is no UTF-8 is called that', {
  skip: process.platform !== 'linux' && 'names are bytes on Linux',
}, async (t) => {
  const folder = await modelFolder(t);
  await writeFile(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe])]), '');
  await assert.rejects(openModelFolder(folder), withCode('MODEL_INVALID', /has a name that is no UTF-8/));
});

test('outrider.json is strict: all problems at once, each with its key', async (t) => {
  const folder = await modelFolder(t, {
    name: '../evil',
    model: '/etc/passwd',
    precision: 'int3',
    colour: 'red',
    batch: { safe: true, maxSize: 0 },
    files: { '../outside': 'a'.repeat(64), 'a/../../b': 'a'.repeat(64), x: 'no digest' },
  });
  await assert.rejects(openModelFolder(folder), (error) => {
    assert.ok(withCode('MODEL_INVALID')(error));
    for (const key of ['name', 'model', 'precision', 'batch.maxSize', 'files', 'top'])
      assert.match((error as Error).message, new RegExp(`(: |; )${key}[^;]*: `), key);
    return true;
  });
});

test('a folder without outrider.json, or with one that is no JSON, is told by its path', async (t) => {
  const folder = await modelFolder(t);
  await writeFile(join(folder, 'outrider.json'), '{');
  await assert.rejects(
    openModelFolder(folder),
    withCode('MODEL_INVALID', /small: outrider\.json is no JSON/),
  );
  await rm(join(folder, 'outrider.json'));
  await assert.rejects(openModelFolder(folder), withCode('MODEL_INVALID', /small: has no outrider\.json/));
});

/** The names found below a folder, and the paths that were passed over with their codes. */
async function find(root: string, isWanted?: (name: string) => boolean) {
  const passedOver: [string, string][] = [];
  const onInvalid = (path: string, error: unknown): void => {
    passedOver.push([path.slice(root.length + 1), isAppError(error) ? error.code : String(error)]);
  };
  const found = await findModelFolders(root, onInvalid, isWanted);
  return {
    names: found.map(({ spec: { name } }) => name),
    passedOver: passedOver.sort(([one], [other]) => one.localeCompare(other)),
  };
}

test('one bad folder does not hide the others, and each is told once', async (t) => {
  const root = await temporaryFolder(t);
  const model = (name: string, files = FILES) => ({ ...files, 'outrider.json': spec(FILES, { name }) });
  const place = (folder: string, files: Readonly<Record<string, string>>) => write(join(root, folder), files);
  await place('zebra', model('zebra'));
  await place('org/ant', model('org/ant'));
  await place('damaged', model('damaged', { ...FILES, 'config.json': 'other' }));
  await place('broken', { 'outrider.json': '{' });
  await place('hugging-face', FILES);
  await place('notes', { 'todo.txt': 'x' });
  await place('.cache/hidden', model('hidden'));
  await place('a/b/too-deep', model('too-deep'));
  await writeFile(join(root, 'README.md'), 'x');
  assert.deepEqual(await find(root), {
    names: ['org/ant', 'zebra'],
    passedOver: [
      ['broken', 'MODEL_INVALID'],
      ['damaged', 'MODEL_DIGEST_MISMATCH'],
      ['hugging-face', 'MODEL_INVALID'],
    ],
  });
});

test('the files of a model that nobody wants are not read', async (t) => {
  const root = await temporaryFolder(t);
  for (const name of ['small', 'large'])
    await write(join(root, name), { ...FILES, 'outrider.json': spec(FILES, { name }) });
  // Reading it would tell.
  await writeFile(join(root, 'large', 'config.json'), 'other');
  assert.deepEqual(await find(root, (name) => name === 'small'), { names: ['small'], passedOver: [] });
  assert.deepEqual((await find(root)).passedOver, [['large', 'MODEL_DIGEST_MISMATCH']]);
});

test('a folder may be a model itself, empty, or not there', async (t) => {
  const root = await temporaryFolder(t);
  assert.deepEqual(await find(root), { names: [], passedOver: [] });
  assert.deepEqual((await find(await modelFolder(t))).names, ['small']);
  await assert.rejects(find(join(root, 'nothing')), withCode('FILE_UNREADABLE', /nothing/));
});
