import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CaptureDetail } from '../../../../shared/contract/captures.ts';
import { writeDataset } from '../../../../shared/dataset/dataset.ts';
import { parseSplits, splitOf, USUAL_SPLITS } from '../../../../shared/dataset/split.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { newId, sha256Hex } from '../../../../shared/runtime/ids.ts';
import type { TaskName } from '../../../../shared/tasks/tasks.ts';
import { CLOUD_MODEL, EDGE_MODEL, temporaryFolder } from '../../../support/fixed.ts';

const JPEG = Buffer.from('ffd8ffe000104a4649460001', 'hex');

function capture(task: TaskName, body: Buffer, cloud: unknown, group = sha256Hex(body)): CaptureDetail {
  const label =
    Array.isArray(cloud) && typeof cloud[0]?.score === 'number' && !cloud[0].box ? cloud[0].label : null;
  return {
    ...{ id: newId(), requestId: newId(), atMs: 1_790_000_000_000, deviceId: 'gate-01', pipeline: 'p', task },
    ...{ why: 'uncertain', probability: 1, weight: 1, seen: 1, loss: 1, isSample: false, parameters: null },
    edge: { model: EDGE_MODEL, score: 0.5, label: 'x' },
    cloud: { model: CLOUD_MODEL, label },
    input: { sha256: sha256Hex(body), bytes: body.length, contentType: 'x/y' },
    group,
    answers: { edge: [{ label: 'x', score: 0.5 }], cloud },
  };
}

const optionsOf = (out: string, all: readonly [CaptureDetail, Buffer][]) => ({
  out,
  captures: all.map(([one]) => one),
  detailOf: async (id: string) => all.find(([one]) => one.id === id)?.[0] ?? assert.fail(),
  inputOf: async (id: string) => all.find(([one]) => one.id === id)?.[1] ?? assert.fail(),
});
const linesOf = async (path: string) =>
  (await readFile(path, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const filesIn = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((one) => one.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();

test('pictures with labels are folders of their labels, and a row each', async (t) => {
  const out = join(await temporaryFolder(t), 'data');
  const labels = ['cat', '../etc', 'CON', 'cat/dog', 'Cat'];
  const all = labels.map((label, i): [CaptureDetail, Buffer] => {
    const body = Buffer.concat([JPEG, Buffer.from([i])]);
    return [capture('image-classification', body, [{ label, score: 0.9 }]), body];
  });
  const made = await writeDataset(optionsOf(out, all));
  assert.deepEqual([made.format, made.examples, made.task], ['imagefolder', 5, 'image-classification']);
  const rows = await linesOf(join(out, 'captures.jsonl'));
  const pictures = (await filesIn(out)).filter((file) => file.endsWith('.jpg'));
  assert.deepEqual(new Set(pictures), new Set(rows.map(({ file }) => file)));
  for (const file of pictures) assert.match(file, /^(train|test)\/[^./][^/]*\/[0-9a-f-]{36}\.jpg$/);
  const folders = new Set(pictures.map((file) => file.split('/')[1]?.toLowerCase()));
  assert.equal(folders.size, 5, 'no two labels share a folder, whatever the file system');
  const [row = assert.fail()] = rows;
  assert.deepEqual(
    [row.scores, row.why, row.weight, row.cloud_digest],
    [[{ label: row.label, score: 0.9 }], 'uncertain', 1, CLOUD_MODEL.digest],
  );
  const { labels: names } = JSON.parse(await readFile(join(out, 'dataset.json'), 'utf8'));
  assert.deepEqual(new Set(Object.values(names)), new Set(labels));
});

test('boxes are written as Hugging Face’s metadata.jsonl has them', async (t) => {
  const out = join(await temporaryFolder(t), 'data');
  const boxes = [{ label: 'person', score: 0.8, box: { xmin: 10, ymin: 20, xmax: 40, ymax: 60 } }];
  await writeDataset({
    ...optionsOf(out, [[capture('object-detection', JPEG, boxes), JPEG]]),
    splits: [{ name: 'train', share: 1 }],
  });
  const [row = assert.fail()] = await linesOf(join(out, 'train', 'metadata.jsonl'));
  assert.deepEqual(row.objects, { bbox: [[10, 20, 30, 40]], categories: ['person'], scores: [0.8] });
  assert.deepEqual(new Set(await filesIn(join(out, 'train'))), new Set([row.file_name, 'metadata.jsonl']));
});

test('texts are lines of JSON, what is neither lies in files', async (t) => {
  const folder = await temporaryFolder(t);
  const text = Buffer.from('Grüße\u2028, a fine film');
  await writeDataset({
    ...optionsOf(join(folder, 'a'), [
      [capture('text-classification', text, [{ label: 'GOOD', score: 1 }]), text],
    ]),
    splits: [{ name: 'all', share: 1 }],
  });
  const [row = assert.fail()] = await linesOf(join(folder, 'a', 'all.jsonl'));
  assert.deepEqual([row.text, row.label, row.split], [text.toString(), 'GOOD', 'all']);
  const wave = Buffer.from('RIFF0000WAVEfmt ');
  await writeDataset({
    ...optionsOf(join(folder, 'b'), [
      [capture('audio-classification', wave, [{ label: 'siren', score: 1 }]), wave],
    ]),
    splits: [{ name: 'all', share: 1 }],
  });
  const [sound = assert.fail()] = await linesOf(join(folder, 'b', 'all.jsonl'));
  assert.deepEqual(await readFile(join(folder, 'b', String(sound.file))), wave);
  const asked = Buffer.from('{"question":"Who?","context":"Spain won."}');
  await writeDataset({
    ...optionsOf(join(folder, 'c'), [
      [capture('question-answering', asked, { answer: 'Spain', score: 1, start: 0, end: 5 }), asked],
    ]),
    splits: [{ name: 'all', share: 1 }],
  });
  const [question = assert.fail()] = await linesOf(join(folder, 'c', 'all.jsonl'));
  assert.deepEqual(
    [question.inputs, (question.answer as { answer: string }).answer],
    [JSON.parse(asked.toString()), 'Spain'],
  );
});

test('one that breaks off leaves nothing at its place, and is gone on with', async (t) => {
  const out = join(await temporaryFolder(t), 'data');
  const all = Array.from({ length: 20 }, (_, i): [CaptureDetail, Buffer] => {
    const body = Buffer.concat([JPEG, Buffer.from([i])]);
    return [capture('image-classification', body, [{ label: 'cat', score: 0.9 }]), body];
  });
  const options = optionsOf(out, all);
  let asked = 0;
  const breaking = async (id: string): Promise<Buffer> => {
    if (++asked > 10) throw new AppError('HUB_UNREACHABLE');
    return options.inputOf(id);
  };
  await assert.rejects(writeDataset({ ...options, inputOf: breaking }), { code: 'HUB_UNREACHABLE' });
  await assert.rejects(readdir(out));
  await mkdir(out);
  const made = await writeDataset(options);
  assert.deepEqual([made.examples, (await linesOf(join(out, 'captures.jsonl'))).length], [20, 20]);
  assert.equal((await filesIn(out)).length, 22);
  await assert.rejects(writeDataset(options), { code: 'CONFLICT' });
});

test('refuses a file, nothing, and several tasks; leaves out what is erased meanwhile', async (t) => {
  const folder = await temporaryFolder(t);
  const text = Buffer.from('a');
  const one: [CaptureDetail, Buffer] = [
    capture('text-classification', text, [{ label: 'GOOD', score: 1 }]),
    text,
  ];
  const other: [CaptureDetail, Buffer] = [
    capture('image-classification', JPEG, [{ label: 'cat', score: 1 }]),
    JPEG,
  ];
  await writeFile(join(folder, 'file'), 'x');
  await assert.rejects(writeDataset(optionsOf(join(folder, 'file'), [one])), { code: 'CONFLICT' });
  await assert.rejects(writeDataset(optionsOf(join(folder, 'none'), [])), { code: 'NOT_FOUND' });
  await assert.rejects(writeDataset(optionsOf(join(folder, 'both'), [one, other])), {
    code: 'PARAMETERS_INVALID',
  });
  await assert.rejects(writeDataset({ ...optionsOf(join(folder, 'w'), [one]), format: 'imagefolder' }), {
    code: 'PARAMETERS_INVALID',
  });
  const gone = async (id: string): Promise<Buffer> => {
    if (id === one[0].id) throw new AppError('NOT_FOUND');
    return text;
  };
  const second: [CaptureDetail, Buffer] = [
    capture('text-classification', text, [{ label: 'BAD', score: 1 }]),
    text,
  ];
  const made = await writeDataset({ ...optionsOf(join(folder, 'd'), [one, second]), inputOf: gone });
  assert.deepEqual([made.examples, made.gone], [1, 1]);
});

test('splits: a group is on one side for ever, and the shares are kept', () => {
  const groups = Array.from({ length: 5_000 }, (_, i) => sha256Hex(`${i}`));
  const test = groups.filter((group) => splitOf(group, USUAL_SPLITS) === 'test').length;
  assert.ok(Math.abs(test / 5_000 - 0.2) < 0.03);
  assert.deepEqual(
    parseSplits('train=0.7,dev=0.1,test=0.2').map(({ name }) => name),
    ['train', 'dev', 'test'],
  );
  for (const wrong of [
    '',
    'train',
    'train=2',
    'train=0.5',
    'a=0.5,a=0.5',
    'a/b=1',
    'train=0.8,test=0.3',
    'a=-1,b=2',
  ])
    assert.throws(() => parseSplits(wrong), { code: 'USAGE' }, wrong);
});
