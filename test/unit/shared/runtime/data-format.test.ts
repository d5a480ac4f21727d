import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkDataFormat, DATA_FORMAT } from '../../../../shared/runtime/data-format.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

test('writes the form of a folder down once, and refuses what a newer version has written', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'format.json');
  await checkDataFormat(folder);
  const { ino } = await stat(path);
  await checkDataFormat(folder);
  assert.equal((await stat(path)).ino, ino);
  const newer = JSON.stringify({ format: DATA_FORMAT + 1, version: '99.0.0' });
  await writeFile(path, newer);
  await assert.rejects(
    checkDataFormat(folder),
    (error) =>
      isAppError(error, 'DATA_NEWER') && /was written by Outrider 99\.0\.0 \(format 2\)/.test(error.message),
  );
  assert.equal(await readFile(path, 'utf8'), newer);
  await writeFile(path, '{');
  await assert.rejects(checkDataFormat(folder), (error) => isAppError(error, 'DATA_CORRUPT'));
});
