/** Sinks on a real disk that gets full (a tmpfs of 1 MB, which needs root). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DiskKeeper } from '../../../agent/disk/keeper.ts';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import { SinkStates } from '../../../agent/sink/sink-states.ts';
import { SnapshotSink } from '../../../agent/sink/snapshots.ts';
import { WebhookQueue } from '../../../agent/sink/webhook/queue.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { answerOf } from '../../support/results.ts';

function smallDisk(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'outrider-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
  t.after(() => {
    execFileSync('umount', [folder]);
    rmdirSync(folder);
  });
  return folder;
}

test('on a full disk the oldest snapshots make room for new ones; with none to give, it is said', async (t) => {
  const disk = smallDisk(t);
  const folder = join(disk, 'snapshots');
  const common = { clock: systemClock, logger: recordingLogger(), metrics: createAgentMetrics() };
  const states = new SinkStates(common);
  const sink = new SnapshotSink('snapshots', {
    ...{ folder, clock: systemClock, keep: { ageMs: 86_400_000, bytes: 1e9 } },
    wish: { longestPx: 1_280, annotate: true, maxBytes: 1e6 },
    pictureOf: async () => new Uint8Array(100_000),
    tell: states.add({ pipeline: 'gate', name: 'snapshots', type: 'snapshots' }, () => 0),
  });
  const answers = Array.from({ length: 30 }, () => answerOf('cat'));
  for (const answer of answers) await sink.put(answer);
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.jpg'));
  assert.ok(names.length >= 5 && names.length < 10, String(names.length));
  assert.ok(names.some((name) => name.includes(answers.at(-1)?.id ?? '-')));
  assert.equal(states.of('gate')[0]?.delivered, answers.length);

  await rm(folder, { recursive: true });
  writeFileSync(join(disk, 'others'), Buffer.alloc(1_000_000));
  await assert.rejects(sink.put(answerOf('cat')), (error) => isAppError(error, 'DISK_FULL'));
  assert.deepEqual(states.of('gate')[0]?.reason?.code, 'DISK_FULL');
});

test('on a full disk a webhook’s queue takes nothing more, keeps what it has, and goes on when there is room', async (t) => {
  const disk = smallDisk(t);
  const path = join(disk, 'queue.ndjson');
  const queue = new WebhookQueue(path, { bytes: 1e9, ageMs: 86_400_000 });
  await queue.open();
  const body = JSON.stringify('x'.repeat(100_000));
  const put = (id: number) => queue.put({ id: `m${id}`, atMs: Date.now(), body });
  let taken = 0;
  await assert.rejects(
    async () => {
      for (; ; taken++) await put(taken);
    },
    (error) => isAppError(error, 'DISK_FULL'),
  );
  assert.ok(taken >= 5);
  assert.equal(queue.length, taken);
  await queue.close();
  const again = new WebhookQueue(path, { bytes: 1e9, ageMs: 86_400_000 });
  await again.open();
  t.after(() => again.close());
  assert.equal(again.length, taken);
  assert.equal((await again.oldest())?.body, body);
});

test('when others fill the disk, snapshots go until what is to stay free is free again', async (t) => {
  const disk = smallDisk(t);
  const common = { clock: systemClock, logger: recordingLogger(), metrics: createAgentMetrics() };
  const states = new SinkStates(common);
  const sink = new SnapshotSink('snapshots', {
    ...{ folder: join(disk, 'snapshots'), clock: systemClock, keep: { ageMs: 86_400_000, bytes: 1e9 } },
    wish: { longestPx: 1_280, annotate: true, maxBytes: 1e6 },
    pictureOf: async () => new Uint8Array(100_000),
    tell: states.add({ pipeline: 'gate', name: 'snapshots', type: 'snapshots' }, () => 0),
  });
  for (let count = 0; count < 6; count++) await sink.put(answerOf('cat'));
  const keeper = new DiskKeeper({
    ...common,
    ...{ folder: disk, maxBytes: undefined, keepFreeBytes: 200_000 },
    requestBytes: () => 0,
    stateBytes: async () => 0,
  });
  keeper.add(sink);
  await keeper.look();
  const { bytes } = await sink.look();
  assert.ok(keeper.status().freeBytes > 200_000);
  writeFileSync(join(disk, 'others'), Buffer.alloc(200_000));
  await keeper.look();
  const { freeBytes, kinds, isFull } = keeper.status();
  assert.ok(freeBytes >= 200_000 && !isFull, String(freeBytes));
  const left = (await sink.look()).bytes;
  assert.ok(left > 0 && left < bytes);
  assert.equal(kinds[0]?.givenBackBytes, bytes - left);
});
