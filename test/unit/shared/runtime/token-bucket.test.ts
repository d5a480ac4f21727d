import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TokenBucket, TokenBuckets } from '../../../../shared/runtime/token-bucket.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

test('a burst goes, then as many as the rate allows; each key has its own', async () => {
  const clock = new FakeClock();
  const buckets = new TokenBuckets(clock, { perSecond: 8, burst: 5, maxKeys: 10 });
  const take = (key = 'gate-01') => buckets.take(key);
  assert.deepEqual(
    Array.from({ length: 5 }, () => take()),
    [0, 0, 0, 0, 0],
  );
  assert.equal(take(), 125);
  assert.equal(take('gate-02'), 0);
  await clock.advance(62.5);
  assert.equal(take(), 63);
  await clock.advance(62.5);
  assert.deepEqual([take(), take()], [0, 125]);
  await clock.advance(3_600_000);
  assert.deepEqual(
    Array.from({ length: 6 }, () => take()),
    [0, 0, 0, 0, 0, 125],
  );
});

test('of too many keys the one that was used longest ago is forgotten, and no other', () => {
  const buckets = new TokenBuckets(new FakeClock(), { perSecond: 1, burst: 1, maxKeys: 3 });
  for (const key of ['a', 'b', 'c']) assert.equal(buckets.take(key), 0);
  assert.ok(buckets.take('a') > 0, 'its last use, though in vain');
  assert.equal(buckets.take('d'), 0);
  for (const key of ['a', 'c', 'd']) assert.ok(buckets.take(key) > 0, key);
  assert.equal(buckets.take('b'), 0, 'forgotten');
});

test('one bucket says what has come, also what found no room, and goes below zero where more is taken than there is', () => {
  const bucket = new TokenBucket({ perSecond: 2, burst: 10 }, 0);
  assert.equal(bucket.refill(1_000), 2);
  assert.equal(bucket.level, 10);
  bucket.take(14);
  assert.equal(bucket.level, -4);
  assert.equal(bucket.delayMs(1), 2_500);
  assert.equal(bucket.refill(3_000), 4);
  assert.equal(bucket.level, 0);
  bucket.take(-3);
  assert.equal(bucket.delayMs(3), 0);
});
