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
