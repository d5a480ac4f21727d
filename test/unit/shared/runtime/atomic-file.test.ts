import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { readJson, writeFileAtomic, writeJsonAtomic } from '../../../../shared/runtime/atomic-file.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const schema = z.object({ n: z.number() });
const isCorrupt = (error: unknown): boolean => isAppError(error, 'DATA_CORRUPT');

test('writes and reads a state file, in a folder that it makes, and leaves nothing beside it', async (t) => {
  const folder = join(await temporaryFolder(t), 'a', 'b');
  const path = join(folder, 'state.json');
  assert.equal(await readJson(path, schema), undefined);
  await writeJsonAtomic(path, { n: 1 });
  await writeJsonAtomic(path, { n: 2 });
  assert.deepEqual(await readJson(path, schema), { n: 2 });
  assert.deepEqual(await readdir(folder), ['state.json']);
});

test('a secret file is readable by its owner only, also where it was not before', async (t) => {
  const path = join(await temporaryFolder(t), 'secret.json');
  await writeFile(path, 'old');
  await chmod(path, 0o644);
  await writeJsonAtomic(path, { n: 1 }, 0o600);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('bytes stay bytes', async (t) => {
  const path = join(await temporaryFolder(t), 'bytes');
  const bytes = Buffer.from([0, 255, 10, 13, 0x80]);
  await writeFileAtomic(path, bytes);
  assert.deepEqual(await readFile(path), bytes);
});

test('writers beside each other leave one of their files, whole', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'state.json');
  await Promise.all(Array.from({ length: 20 }, (_, n) => writeJsonAtomic(path, { n })));
  const found = await readJson(path, schema);
  assert.ok(found && found.n >= 0 && found.n < 20);
  assert.deepEqual(await readdir(folder), ['state.json']);
});

test('a write that fails leaves the old file and nothing else', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'state.json');
  // A folder cannot be replaced by a file.
  await mkdir(join(path, 'inside'), { recursive: true });
  await assert.rejects(writeJsonAtomic(path, { n: 1 }));
  assert.deepEqual(await readdir(folder), ['state.json']);
  assert.deepEqual(await readdir(path), ['inside']);
});

test('what is no JSON, or not of the schema, is told with its path', async (t) => {
  const path = join(await temporaryFolder(t), 'state.json');
  for (const text of ['', '{"n": 1', '{"n": "one"}', 'null']) {
    await writeFile(path, text);
    await assert.rejects(
      readJson(path, schema),
      (error) => isCorrupt(error) && (error as Error).message.includes(path),
      text,
    );
  }
  await assert.rejects(readJson(join(path, '..'), schema), (error) => !isCorrupt(error));
});
