/** What needs no full disk to be shown: Linux has a device that is always full. The rest stands in test/e2e/. */
import assert from 'node:assert/strict';
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DEFAULT_LIMITS, DiskOutbox } from '../../../../agent/outbox/outbox.ts';
import { FileSink } from '../../../../agent/sink/file-sink.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { outboxRequest, temporaryFolder } from '../../../support/fixed.ts';

const FULL = '/dev/full';
const skip = existsSync(FULL) ? false : `there is no ${FULL} here`;
const isDiskFull = (error: unknown): boolean => isAppError(error, 'DISK_FULL');

test('a request that the disk has no room for is refused, and nothing of it stays', { skip }, async (t) => {
  const folder = await temporaryFolder(t);
  // Each record gets a segment of its own.
  const limits = { ...DEFAULT_LIMITS, segmentBytes: 1 };
  const outbox = new DiskOutbox({
    clock: systemClock,
    metrics: createAgentMetrics(),
    folder,
    time: { nowRunMs: () => 0 },
    logger: silentLogger,
    limits,
  });
  await outbox.start();
  const [first, second] = [outboxRequest(), outboxRequest()];
  await outbox.put(first);
  symlinkSync(FULL, join(folder, 'log', '0000000002.log'));
  await assert.rejects(() => outbox.put(second), isDiskFull);
  assert.deepEqual([outbox.has(first.id), outbox.has(second.id)], [true, false]);
  assert.equal(outbox.depth.entries, 1);
  assert.equal((await outbox.read(first.id))?.request.id, first.id);
  await outbox.stop();
});

test('a file sink without room says so, and can be asked again', { skip }, async () => {
  const sink = new FileSink({ path: FULL });
  for (let attempt = 0; attempt < 2; attempt++) await assert.rejects(() => sink.put({ a: 1 }), isDiskFull);
  await sink.close();
});
