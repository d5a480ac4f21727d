import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readLabels } from '../../../cli/import/labels-file.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';

test('labels are read as editors and frameworks leave them', async (t) => {
  const path = join(await temporaryFolder(t), 'labels.txt');
  for (const bytes of [
    Buffer.from('chat\nélan\n'),
    Buffer.from('\uFEFFchat\r\n\r\nélan', 'utf16le'),
    Buffer.from('\uFEFF["chat", "élan"]', 'utf16le').swap16(),
    Buffer.from('{"chat": 0, "élan": 1}'),
  ]) {
    await writeFile(path, bytes);
    assert.deepEqual(await readLabels(path), ['chat', 'élan']);
  }
});

test('numbers before labels are those of the outputs where each is there once, and words of theirs elsewhere', async (t) => {
  const path = join(await temporaryFolder(t), 'labels.csv');
  for (const [text, labels] of [
    ['0,ant\n1,bee\n', ['ant', 'bee']],
    ['1: bee\r\n0: ant, red\r\n', ['ant, red', 'bee']],
    ['0\tant\n1\tbee', ['ant', 'bee']],
    ['0 ant\n1 bee', ['ant', 'bee']],
    ['0,"ant, ""red"""\n1,bee', ['ant, "red"', 'bee']],
    ['0\n1\n2', ['0', '1', '2']],
    ['1 pint\n2 pints', ['1 pint', '2 pints']],
    ['0,ant\n0,bee', ['0,ant', '0,bee']],
    ['0 to 9\n10 to 19', ['0 to 9', '10 to 19']],
  ] as const) {
    await writeFile(path, text);
    assert.deepEqual(await readLabels(path), labels);
  }
});

test('what is no text gives no labels', async (t) => {
  const path = join(await temporaryFolder(t), 'labels.txt');
  for (const bytes of [Buffer.from([0x63, 0xe9, 0x0a]), Buffer.from('cat\0\ndog\n')]) {
    await writeFile(path, bytes);
    await assert.rejects(
      readLabels(path),
      (error) => isAppError(error, 'FILE_UNREADABLE') && /is no text/.test(error.message),
    );
  }
});
