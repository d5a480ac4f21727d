import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rate } from '../../../../cloud/intake/rate.ts';
import { Strikes } from '../../../../cloud/intake/strikes.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

test('a burst goes, then as many as the rate allows; each device has its own', async () => {
  const clock = new FakeClock();
  const rate = new Rate(clock, { perSecond: 8, burst: 5 });
  const take = (device = 'gate-01') => rate.take(device);
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

test('the third strike is the last, of that request only', () => {
  const strikes = new Strikes();
  assert.deepEqual(
    [1, 2, 3].map(() => strikes.isOut('gate-01', 'a')),
    [false, false, true],
  );
  assert.deepEqual(
    [1, 2].map(() => strikes.isOut('gate-02', 'a')),
    [false, false],
  );
  assert.equal(strikes.isOut('gate-01', 'a'), false, 'it begins afresh');
});
