import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Transfers } from '../../../../cloud/intake/transfers.ts';
import type { RequestHeader } from '../../../../shared/contract/messages.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const LIMITS = { maxPerDevice: 2, maxBytesPerDevice: 1_000, maxBytes: 1_500, idleMs: 60_000 };

function large(bytes: number, count = 4) {
  const body = randomBytes(bytes);
  const id = newId();
  const sha256 = createHash('sha256').update(body).digest('hex');
  const header: RequestHeader = {
    ...{ id, pipeline: 'vision', model: 'cloud-model', task: 'image-classification' },
    ...{ contentType: 'image/png', deadlineMs: 2_000, expiresMs: 60_000 },
    chunk: { count, bytes, sha256 },
  };
  const size = Math.ceil(bytes / count);
  return { id, body, header, part: (index: number) => body.subarray(index * size, (index + 1) * size) };
}

const setUp = () => {
  const clock = new FakeClock();
  return { clock, transfers: new Transfers(clock, LIMITS) };
};

test('puts chunks together in their order, and counts from the arrival of the first', async () => {
  const { clock, transfers } = setUp();
  const { id, body, header, part } = large(399);
  assert.equal(transfers.begin('gate-01', header, part(0)), undefined);
  const arrivedMonoMs = clock.nowMonoMs();
  await clock.advance(5_000);
  assert.deepEqual(transfers.take('gate-01', { id, index: 1 }, part(1)), { next: 2 });
  assert.deepEqual(transfers.take('gate-01', { id, index: 1 }, part(1)), { next: 2 }, 'a second time');
  assert.deepEqual(transfers.take('gate-01', { id, index: 3 }, part(3)), { next: 2 }, 'one too early');
  assert.deepEqual(transfers.take('gate-01', { id, resume: true }, Buffer.alloc(0)), { next: 2 });
  transfers.take('gate-01', { id, index: 2 }, part(2));
  const { next, arrived } = transfers.take('gate-01', { id, index: 3 }, part(3));
  assert.deepEqual([next, arrived?.arrivedMonoMs], [4, arrivedMonoMs]);
  assert.deepEqual(Buffer.from(arrived?.body ?? []), body);
  assert.deepEqual([transfers.count, transfers.bytes], [0, 0]);
});

test('what another device says of it, or of what nobody began, is not known', () => {
  const { transfers } = setUp();
  const { id, header, part } = large(400);
  transfers.begin('gate-01', header, part(0));
  assert.deepEqual(transfers.take('gate-02', { id, index: 1 }, part(1)), { next: 0 });
  assert.deepEqual(transfers.take('gate-01', { id: newId(), resume: true }, part(1)), { next: 0 });
  assert.equal(transfers.count, 1);
});

test('a digest that does not fit, too many bytes and too few begin again', () => {
  const { transfers } = setUp();
  const wrong = large(400);
  transfers.begin('gate-01', wrong.header, wrong.part(0));
  for (const index of [1, 2]) transfers.take('gate-01', { id: wrong.id, index }, wrong.part(index));
  assert.deepEqual(transfers.take('gate-01', { id: wrong.id, index: 3 }, wrong.part(0)), { next: 0 });

  const long = large(400);
  transfers.begin('gate-01', long.header, long.part(0));
  assert.deepEqual(transfers.take('gate-01', { id: long.id, index: 1 }, randomBytes(500)), { next: 0 });

  const short = large(400);
  transfers.begin('gate-01', short.header, short.part(0));
  for (const index of [1, 2]) transfers.take('gate-01', { id: short.id, index }, short.part(index));
  assert.deepEqual(transfers.take('gate-01', { id: short.id, index: 3 }, randomBytes(1)), { next: 0 });
  assert.equal(transfers.count, 0);

  const liar = large(400);
  transfers.begin('gate-01', liar.header, randomBytes(900));
  assert.deepEqual(transfers.take('gate-01', { id: liar.id, index: 1 }, randomBytes(900)), { next: 0 });
  assert.equal(transfers.count, 0);
});

test('number and bytes are bounded for each device and in all, as announced, and say when to come back', () => {
  const { transfers } = setUp();
  const begin = (device: string, bytes: number): string | undefined => {
    const { header, part } = large(bytes);
    const refused = transfers.begin(device, header, part(0));
    assert.equal(refused === undefined, refused?.retryAfterMs === undefined);
    return refused?.code;
  };
  assert.equal(begin('gate-01', 1_001), 'QUEUE_FULL', 'over the bytes of a device');
  assert.deepEqual([begin('gate-01', 400), begin('gate-01', 400)], [undefined, undefined]);
  assert.equal(begin('gate-01', 10), 'QUEUE_FULL', 'over the number of a device');
  assert.equal(begin('gate-02', 700), undefined);
  assert.equal(begin('gate-03', 10), 'QUEUE_FULL', 'over the bytes of all');
});

test('begun again it counts once', () => {
  const { transfers } = setUp();
  const { id, header, part } = large(900);
  for (let times = 0; times < 5; times++)
    assert.equal(transfers.begin('gate-01', header, part(0)), undefined);
  assert.deepEqual([transfers.count, transfers.bytes], [1, 900]);
  assert.deepEqual(transfers.take('gate-01', { id, resume: true }, part(0)), { next: 1 });
});

test('what falls silent is given up, and a word about it keeps it', async () => {
  const { clock, transfers } = setUp();
  const { id, header, part } = large(400);
  transfers.begin('gate-01', header, part(0));
  await clock.advance(59_000);
  transfers.take('gate-01', { id, resume: true }, part(0));
  await clock.advance(59_000);
  assert.equal(transfers.count, 1);
  await clock.advance(1_000);
  assert.deepEqual([transfers.count, transfers.bytes], [0, 0]);
  assert.deepEqual(transfers.take('gate-01', { id, index: 1 }, part(1)), { next: 0 });
});
