import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../shared/runtime/random.ts';

const draws = (seed: number, count = 20): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => random.next());
};

test('the same seed gives the same draws, another one others', () => {
  assert.deepEqual(draws(7), draws(7));
  assert.notDeepEqual(draws(7), draws(8));
});

test('draws fill [0, 1) evenly enough for a schedule', () => {
  const all = draws(1, 10_000);
  assert.ok(all.every((one) => one >= 0 && one < 1));
  for (let tenth = 0; tenth < 10; tenth++) {
    const inside = all.filter((one) => Math.floor(one * 10) === tenth).length;
    assert.ok(inside > 850 && inside < 1_150, `${inside} in tenth ${tenth}`);
  }
});

test('a fork does not depend on how often its parent has drawn', () => {
  const [one, other] = [seededRandom(3), seededRandom(3)];
  one.next();
  assert.equal(one.fork('kills').next(), other.fork('kills').next());
  assert.notEqual(one.fork('kills').next(), one.fork('faults').next());
});

test('picks by weight, and never what weighs nothing', () => {
  const random = seededRandom(5);
  const picks = Array.from({ length: 1_000 }, () => random.pick([1, 0, 3], (weight) => weight));
  assert.ok(!picks.includes(0));
  const heavy = picks.filter((one) => one === 3).length;
  assert.ok(heavy > 650 && heavy < 850, `${heavy} of 1,000`);
  assert.throws(() => random.pick([]), RangeError);
});
