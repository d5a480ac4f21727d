import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AppendFile } from '../../../../shared/runtime/append-file.ts';
import { toAppError } from '../../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const line = (text: string): Buffer => Buffer.from(`${text}\n`);

test('makes file and folder, appends in order, and goes on after what is there', async (t) => {
  const path = join(await temporaryFolder(t), 'below', 'log');
  const file = new AppendFile({ path, maxBytes: 1_000, mode: 0o600 });
  await Promise.all(['a', 'b', 'c'].map((text) => file.append(line(text))));
  assert.equal(file.bytes, 6);
  await file.close();
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const again = new AppendFile({ path, maxBytes: 1_000 });
  await again.open();
  assert.equal(again.bytes, 6);
  await again.append(line('d'));
  await again.close();
  assert.equal(await readFile(path, 'utf8'), 'a\nb\nc\nd\n');
});

test('a torn record is cut off before the next one, however long it is', async (t) => {
  const path = join(await temporaryFolder(t), 'log');
  await writeFile(path, `a\n${'x'.repeat(200_000)}`);
  const file = new AppendFile({ path, maxBytes: 1_000_000 });
  await file.append(line('b'));
  await file.close();
  assert.equal(await readFile(path, 'utf8'), 'a\nb\n');
});

test('a full file is put aside before the record that does not fit; one that is larger than a file has its own', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'log');
  const file = new AppendFile({ path, maxBytes: 4 });
  for (const text of ['a', 'b', 'c']) await file.append(line(text));
  assert.equal(await readFile(`${path}.1`, 'utf8'), 'a\nb\n');
  await file.append(line('longer'));
  await file.append(line('d'));
  await file.close();
  assert.equal(await readFile(`${path}.1`, 'utf8'), 'longer\n');
  assert.equal(await readFile(path, 'utf8'), 'd\n');
  assert.deepEqual((await readdir(folder)).sort(), ['log', 'log.1']);
});

test('where the file goes is the owner’s to say, and where a record ends', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'log');
  await writeFile(path, 'aabbc');
  const file = new AppendFile({
    path,
    maxBytes: 6,
    wholeBytes: async (handle) => Math.floor((await handle.stat()).size / 2) * 2,
    putAside: (from) => rename(from, join(folder, 'older')),
  });
  await file.append(Buffer.from('dd'));
  assert.equal(file.bytes, 6);
  await file.append(Buffer.from('ee'));
  await file.rotate();
  await file.rotate();
  await file.close();
  assert.equal(await readFile(join(folder, 'older'), 'utf8'), 'ee', 'an empty file is not put aside');
  assert.equal(await readFile(path, 'utf8'), '');
});

test('an append that fails leaves nothing of itself, and the next one goes on after the last whole record', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'log');
  const file = new AppendFile({ path, maxBytes: 4, putAside: () => Promise.reject(new Error('not now')) });
  await file.append(line('abc'));
  await assert.rejects(() => file.append(line('d')), /not now/);
  assert.equal(await readFile(path, 'utf8'), 'abc\n');
  await file.close();
  // In the way of a file.
  await rm(path);
  await mkdir(path);
  await assert.rejects(() => file.append(line('e')), { code: 'EISDIR' });
  await rm(path, { recursive: true });
  await file.append(line('e'));
  await appendFile(path, 'torn by another');
  await file.close();
  await file.append(line('f'));
  await file.close();
  assert.equal(await readFile(path, 'utf8'), 'e\nf\n');
});

test('each record goes to the file that has the name: renamed, deleted with its folder, or truncated by others', async (t) => {
  const folder = join(await temporaryFolder(t), 'results');
  const path = join(folder, 'log');
  const file = new AppendFile({ path, maxBytes: 1_000 });
  await file.append(line('a'));
  // logrotate, create
  await rename(path, `${path}.1`);
  await writeFile(path, '');
  await file.append(line('b'));
  assert.deepEqual([await readFile(`${path}.1`, 'utf8'), await readFile(path, 'utf8')], ['a\n', 'b\n']);
  // logrotate, nocreate
  await rename(path, `${path}.1`);
  await file.append(line('c'));
  assert.equal(await readFile(path, 'utf8'), 'c\n');
  // logrotate, copytruncate
  await truncate(path);
  await file.append(line('d'));
  assert.equal(await readFile(path, 'utf8'), 'd\n', 'without NULs');
  assert.equal(file.bytes, 2);
  await rm(folder, { recursive: true });
  await file.append(line('e'));
  await file.close();
  assert.equal(await readFile(path, 'utf8'), 'e\n');
});

test('a pipe is never waited for: it takes records while somebody reads, and refuses them otherwise', async (t) => {
  const path = join(await temporaryFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  const file = new AppendFile({ path, maxBytes: 10 });
  const refused = (error: unknown): boolean => toAppError(error).code === 'CONNECTION_LOST';
  await assert.rejects(file.append(line('nobody')), refused);

  const reader = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const read = async (): Promise<string> => {
    const { bytesRead, buffer } = await reader.read(Buffer.alloc(1_000_000), 0, 1_000_000, null);
    return buffer.subarray(0, bytesRead).toString();
  };
  await file.append(line('one'));
  await file.append(line('longer than a file may be'));
  assert.equal(await read(), 'one\nlonger than a file may be\n');
  // More than a pipe holds: a part of it has gone when it is refused, and what follows is a line of its own.
  await assert.rejects(file.append(line('x'.repeat(200_000))), refused);
  await assert.rejects(file.append(line('full')), refused);
  const torn = await read();
  await file.append(line('two'));
  assert.equal((torn + (await read())).replace(/x+/, 'x'), 'x\ntwo\n');
  await reader.close();
  await assert.rejects(file.append(line('gone')), refused);
  await file.close();
  assert.ok((await stat(path)).isFIFO(), 'it was put aside, or replaced');
});
