import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../../../../shared/runtime/random.ts';
import { ROUTE_SCORE_FLOOR } from '../../../../../shared/tasks/classification.ts';
import { breakTies } from '../../../../../shared/tasks/judging/ties.ts';

test('ties of many are spread by chance, those of few are not', () => {
  const random = seededRandom(1).next;
  const scores = Float64Array.from({ length: 1_000 }, (_, index) => (index < 300 ? 5 : index / 1_000));
  scores[998] = scores[999] ?? 0;
  const before = scores.slice();
  assert.equal(breakTies(scores, random), 300);
  assert.deepEqual(scores.slice(300), before.slice(300));
  const spread = scores.slice(0, 300);
  assert.equal(new Set(spread).size, 300);
  assert.ok(spread.every((score) => score >= 5 && score < 5 + 1 / 257));
});

test('a score that stands alone is no tie, however few there are', () => {
  const scores = Float64Array.of(1, 2, 3);
  assert.equal(
    breakTies(scores, () => 0.5),
    0,
  );
  assert.deepEqual([...scores], [1, 2, 3]);
});

test('spreading ties turns no order round, and leaves what cannot be read', () => {
  const values = fc.constantFrom(0, 0.001, 0.002, 1, 36, ROUTE_SCORE_FLOOR);
  fc.assert(
    fc.property(fc.array(values, { minLength: 2, maxLength: 60 }), fc.integer(), (from, seed) => {
      const scores = Float64Array.from(from);
      breakTies(scores, seededRandom(seed).next);
      for (const [i, one] of from.entries())
        for (const [j, other] of from.entries())
          if (one < other) assert.ok((scores[i] ?? 0) < (scores[j] ?? 0));
      for (const [i, one] of from.entries())
        if (one === ROUTE_SCORE_FLOOR) assert.equal(scores[i], ROUTE_SCORE_FLOOR);
    }),
  );
});
