/** What all the tests with a clock of their own rely on: that nothing is under way any more when `settle` returns. */
import assert from 'node:assert/strict';
import { createReadStream, writeFile as writeFileThen } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeFileAtomic } from '../../../../shared/runtime/atomic-file.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

test('settles when files are written, synced, closed and read, with promises, callbacks and streams', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'file');
  const content = Buffer.alloc(4_000_000, 1);
  const done: string[] = [];
  const note = (what: string) => () => void done.push(what);
  void (async () => {
    for (let i = 0; i < 5; i++) await writeFileAtomic(path, content);
  })().then(note('atomic'));
  writeFileThen(join(folder, 'other'), content, note('callback'));
  await settle();
  assert.deepEqual(done.sort(), ['atomic', 'callback']);
  assert.deepEqual((await readdir(folder)).sort(), ['file', 'other']);

  void open(path, 'r+')
    .then(async (file) => {
      await file.sync();
      await file.close();
    })
    .then(note('closed'));
  createReadStream(path).resume().on('close', note('stream'));
  await settle();
  assert.deepEqual(done.sort(), ['atomic', 'callback', 'closed', 'stream']);
});

test('a clock that is turned on lets each alarm finish what it does on the disk before the next goes off', async (t) => {
  const clock = new FakeClock();
  const path = join(await temporaryFolder(t), 'file');
  const seen: number[] = [];
  for (const atMs of [10, 20, 30])
    clock.after(atMs, () => {
      void (async () => {
        const before = await readFile(path, 'utf8').catch(() => '');
        await writeFileAtomic(path, `${before}x`);
        seen.push((await stat(path)).size);
      })();
    });
  await clock.advance(30);
  assert.deepEqual(seen, [1, 2, 3]);
});
