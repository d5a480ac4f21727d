/** What a labelled set may look like, and how each thing that is wrong with one is told: by its file or line. */
import assert from 'node:assert/strict';
import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type LabelledSet, MAX_LINE_BYTES, readLabelled } from '../../../../cli/calibrate/examples.ts';
import type { ErrorCode } from '../../../../shared/runtime/errors.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { MAX_IMAGE_BYTES, MAX_TEXT_BYTES } from '../../../../shared/tasks/limits.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const PICTURES = { task: 'image-classification', labels: ['cat', 'dog'] } as const;
const TEXTS = { task: 'text-classification', labels: ['GOOD', 'BAD'] } as const;

/** Writes files, by their paths in a folder that goes with the test. */
async function files(t: TestContext, contents: Record<string, string | Uint8Array>): Promise<string> {
  const root = await temporaryFolder(t);
  for (const [path, content] of Object.entries(contents)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  return root;
}

const shown = async ({ examples }: LabelledSet): Promise<string[]> =>
  Promise.all(
    examples.map(async ({ name, label, read }) => `${name} ${label} ${Buffer.from(await read()).toString()}`),
  );

const refusal = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert.ok(isAppError(error, code), String(error));
  assert.match(error.message, message);
  return true;
};

test('a folder has one sub-folder a label; other files are left out and counted', async (t) => {
  const root = await files(t, {
    'dog/b.PNG': 'B',
    'cat/a.jpg': 'A',
    'cat/notes.md': 'x',
    'cat/.hidden.jpg': 'x',
    '.cache/a.jpg': 'x',
    'README.md': 'x',
  });
  const set = await readLabelled(root, PICTURES);
  assert.deepEqual(await shown(set), ['cat/a.jpg cat A', 'dog/b.PNG dog B']);
  assert.equal(set.leftOut, 4);
});

test('a label’s folder may be a link; texts are .txt files', async (t) => {
  const root = await files(t, { 'set/GOOD/1.txt': 'fine', 'set/GOOD/1.jpg': 'x', 'elsewhere/2.txt': 'poor' });
  await symlink(join(root, 'elsewhere'), join(root, 'set/BAD'));
  const set = await readLabelled(join(root, 'set'), TEXTS);
  assert.deepEqual(await shown(set), ['BAD/2.txt BAD poor', 'GOOD/1.txt GOOD fine']);
});

test('a line has a text, or a file beside the lines; blank lines and further fields don’t matter', async (t) => {
  const root = await files(t, {
    'set.jsonl':
      '\uFEFF{"text": "fine", "label": "GOOD", "id": 7}\r\n\r\n{"file": "more/2.txt", "label": "BAD"}',
    'more/2.txt': 'poor',
  });
  const set = await readLabelled(join(root, 'set.jsonl'), TEXTS);
  assert.deepEqual(await shown(set), ['set.jsonl:1 GOOD fine', 'set.jsonl:3 BAD poor']);
});

test('a bad line is named with what is wrong with it', async (t) => {
  const good = '{"text": "fine", "label": "GOOD"}\n';
  const cases: [string | Uint8Array, ErrorCode, RegExp][] = [
    [`${good}{"text"`, 'BAD_REQUEST', /^set\.jsonl:2 is not JSON$/],
    [`${good}[]`, 'BAD_REQUEST', /^set\.jsonl:2: .*expected object/],
    [`${good}{"text": "a", "label": 1}`, 'BAD_REQUEST', /^set\.jsonl:2: label: .*expected string/],
    [`${good}{"text": "", "label": "GOOD"}`, 'BAD_REQUEST', /^set\.jsonl:2: text: /],
    [`${good}{"text": "a", "label": "UGLY"}`, 'BAD_REQUEST', /^set\.jsonl:2: .*“UGLY”; it has GOOD, BAD$/],
    [`${good}{"label": "GOOD"}`, 'BAD_REQUEST', /^set\.jsonl:2 needs either/],
    [`${good}{"label": "GOOD", "text": "a", "file": "b"}`, 'BAD_REQUEST', /^set\.jsonl:2 needs either/],
    [`${good}{"label": "GOOD", "file": "gone.txt"}`, 'FILE_UNREADABLE', /^there is no set\.jsonl:2/],
    [Buffer.concat([Buffer.from(good), Buffer.from([0xff])]), 'BAD_REQUEST', /^set\.jsonl:2 is not UTF-8$/],
    [`${good}${' '.repeat(MAX_LINE_BYTES + 1)}`, 'INPUT_TOO_LARGE', /^set\.jsonl:2 has 2097153 bytes/],
    [
      `${good}${JSON.stringify({ label: 'GOOD', text: 'a'.repeat(MAX_TEXT_BYTES + 1) })}`,
      'INPUT_TOO_LARGE',
      /^set\.jsonl:2 has a text of 1048577 bytes/,
    ],
  ];
  for (const [content, code, message] of cases) {
    const root = await files(t, { 'set.jsonl': content });
    await assert.rejects(readLabelled(join(root, 'set.jsonl'), TEXTS), refusal(code, message));
  }
});

test('pictures have no text; an unknown label is told by its folder; a huge file by its name', async (t) => {
  const root = await files(t, {
    'texts.jsonl': '{"text": "a", "label": "cat"}',
    'set/bird/1.jpg': 'x',
    'large/cat/1.jpg': '',
    'set.csv': 'a,b',
    'long.jsonl': '',
    'odd/cat/a.jpg/b': '',
  });
  await truncate(join(root, 'large/cat/1.jpg'), MAX_IMAGE_BYTES + 1);
  await truncate(join(root, 'long.jsonl'), 256 * 1024 * 1024 + 1);
  const refused = (path: string, code: ErrorCode, message: RegExp) =>
    assert.rejects(readLabelled(join(root, path), PICTURES), refusal(code, message));
  await refused('texts.jsonl', 'BAD_REQUEST', /^texts\.jsonl:1 has a text, .*takes pictures$/);
  await refused('set', 'BAD_REQUEST', /bird: the model has no label “bird”; it has cat, dog$/);
  await refused('large', 'INPUT_TOO_LARGE', /^cat\/1\.jpg has \d+ bytes/);
  await refused('set.csv', 'BAD_REQUEST', /set\.csv is neither a folder/);
  await refused('long.jsonl', 'INPUT_TOO_LARGE', /long\.jsonl has \d+ bytes/);
  await refused('odd', 'FILE_UNREADABLE', /^cat\/a\.jpg is no file$/);
  await refused('nothing', 'FILE_UNREADABLE', /there is no .*nothing$/);
});
