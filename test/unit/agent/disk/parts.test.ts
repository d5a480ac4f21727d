/** What parts give back, on a real disk. */
import assert from 'node:assert/strict';
import { link, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { folderBytes } from '../../../../agent/disk/folder-bytes.ts';
import { LogFiles } from '../../../../agent/disk/log-files.ts';
import { roomOf } from '../../../../agent/disk/room.ts';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DiskOutbox } from '../../../../agent/outbox/outbox.ts';
import { FileSink } from '../../../../agent/sink/file-sink.ts';
import { WebhookQueue } from '../../../../agent/sink/webhook/queue.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { outboxRequest, temporaryFolder } from '../../../support/fixed.ts';

test('of results the file before goes first, then what is in the file, and the next one is written', async (t) => {
  const path = join(await temporaryFolder(t), 'results.ndjson');
  const sink = new FileSink({ path, maxBytes: 100_000 });
  t.after(() => sink.close());
  const kept = sink.kept('results');
  assert.deepEqual(await kept.look(), { bytes: 0, oldestAtMs: null });
  assert.equal(await kept.giveBack(1), 0);
  const put = (bytes: number): Promise<void> => sink.put({ a: 'x'.repeat(bytes - 9) });
  await put(70_000);
  await put(50_000);
  const { bytes, oldestAtMs } = await kept.look();
  assert.equal(bytes, 120_000);
  assert.equal(oldestAtMs, (await stat(`${path}.1`)).mtimeMs);
  assert.equal(await kept.giveBack(1), 70_000);
  assert.deepEqual(await kept.look(), { bytes: 50_000, oldestAtMs: null });
  assert.equal(await kept.giveBack(1), 0, 'so little is not worth it');
  await put(20_000);
  assert.equal(await kept.giveBack(1), 70_000);
  await put(1_000);
  assert.deepEqual(await kept.look(), { bytes: 1_000, oldestAtMs: null });
});

test('of a log what was put aside goes, the oldest first; another program’s and the one that is written to stay', async (t) => {
  const folder = await temporaryFolder(t);
  const logs = new LogFiles(folder);
  assert.deepEqual(await logs.look(), { bytes: 0, oldestAtMs: null });
  const names = [
    '20260101-0000-01-agent.log',
    '20260102-0000-01-agent.log',
    '20260102-0000-01-hub.log',
    'agent.log',
    'mine.txt',
  ];
  for (const name of names) await writeFile(join(folder, name), 'x'.repeat(100));
  assert.equal((await logs.look()).bytes, 300);
  assert.equal(await logs.giveBack(50), 100);
  assert.deepEqual((await readdir(folder)).sort(), names.slice(1).sort());
  assert.equal(await logs.giveBack(1_000), 100);
  assert.deepEqual(await logs.look(), { bytes: 100, oldestAtMs: null });
  assert.equal(await logs.giveBack(1_000), 0);
  assert.equal((await readdir(folder)).length, 3);
});

test('a folder is what its files are: names of one file once, links not followed, what is left out not at all', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'a/b'), { recursive: true });
  await mkdir(join(folder, 'out'));
  await writeFile(join(folder, 'a/b/one'), 'x'.repeat(1_000));
  await link(join(folder, 'a/b/one'), join(folder, 'a/two'));
  await symlink(folder, join(folder, 'a/loop'));
  await writeFile(join(folder, 'out/three'), 'x'.repeat(500));
  await writeFile(join(folder, 'four'), 'x'.repeat(7));
  assert.equal(await folderBytes(folder, new Set([join(folder, 'out')])), 1_007);
  assert.equal(await folderBytes(join(folder, 'nowhere'), new Set()), 0);
});

test('a path that is not there yet is on the file system of what is above it', async (t) => {
  const folder = await temporaryFolder(t);
  const [here, there] = [await roomOf(folder), await roomOf(join(folder, 'a/b/c'))];
  assert.equal(there.id, here.id);
  assert.ok(here.totalBytes > 0);
});

test('the oldest that wait for a webhook go, and their room with them', async (t) => {
  const path = join(await temporaryFolder(t), 'queue.ndjson');
  const queue = new WebhookQueue(path, { bytes: 1e9, ageMs: 1e9 });
  await queue.open();
  t.after(() => queue.close());
  assert.deepEqual(await queue.giveBack(1), { count: 0, bytes: 0 });
  for (let id = 0; id < 10; id++) await queue.put({ id: `m${id}`, atMs: id, body: 'x'.repeat(1_000) });
  const before = (await stat(path)).size;
  const { count, bytes } = await queue.giveBack(2_500);
  assert.equal(count, 3);
  assert.equal(bytes, before - (await stat(path)).size);
  assert.equal((await queue.oldest())?.id, 'm3');
  await queue.put({ id: 'm10', atMs: 10, body: 'y' });
  assert.equal(queue.length, 8);
  await queue.giveBack(1e9);
  assert.deepEqual([queue.length, queue.fileBytes, queue.oldestAtMs], [0, 0, null]);
});

test('an outbox asks for room before it takes a request, and gives its dead letters back', async (t) => {
  const asked: (number | string)[] = [];
  let full = false;
  const outbox = new DiskOutbox({
    folder: await temporaryFolder(t),
    time: { nowRunMs: () => 0 },
    clock: systemClock,
    metrics: createAgentMetrics(),
    logger: silentLogger,
    disk: {
      roomFor: (bytes) => {
        asked.push(bytes);
        return full ? Promise.reject(new AppError('DISK_FULL', 'the quota')) : undefined;
      },
      look: async (bytes) => void asked.push(`look ${bytes}`),
    },
  });
  await outbox.start();
  t.after(() => outbox.stop());
  const requests = [outboxRequest(), outboxRequest(), outboxRequest()];
  for (const request of requests) await outbox.put(request);
  assert.equal(asked.length, 3);
  assert.ok(outbox.diskBytes > 0);
  for (const { id } of requests.slice(0, 2)) await outbox.bury(id, { code: 'EXPIRED', message: '' });
  const { bytes, oldestAtMs } = await outbox.kept.look();
  assert.ok(bytes > 0 && Math.abs(Date.now() - (oldestAtMs ?? 0)) < 600_000);
  assert.equal(await outbox.kept.giveBack(1), bytes / 2);
  assert.deepEqual(outbox.deadLetters(), [requests[1]?.id]);
  full = true;
  const refused = outboxRequest();
  await assert.rejects(outbox.put(refused), (error) => isAppError(error, 'DISK_FULL'));
  assert.equal(outbox.has(refused.id), false);
  // What is accepted ends as ever.
  await outbox.close(requests[2]?.id ?? '');
  assert.equal(outbox.depth.entries, 0);
});
