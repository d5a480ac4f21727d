import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { classify, ROUTE_SCORE_FLOOR, routeScoreOf } from '../../../../shared/tasks/classification.ts';

const options = { labels: ['a', 'b', 'c'], apply: 'softmax', temperature: 1, topK: 5 } as const;
const logits = (...values: number[]) => Float32Array.from(values);

test('softmax scores add up to one, best first', () => {
  const output = classify(logits(0, Math.log(3), 0), options);
  assert.deepEqual(
    output.map(({ label }) => label),
    ['b', 'a', 'c'],
  );
  assert.ok(Math.abs((output[0]?.score ?? 0) - 0.6) < 1e-6);
});

test('temperature softens scores and leaves order and routeScore alone', () => {
  const soft = classify(logits(0, 4, 1), { ...options, temperature: 4 });
  const sharp = classify(logits(0, 4, 1), options);
  assert.ok((soft[0]?.score ?? 1) < (sharp[0]?.score ?? 0));
  assert.deepEqual(
    soft.map(({ label }) => label),
    sharp.map(({ label }) => label),
  );
});

test('sigmoid scores labels independently; none gives raw logits; top_k cuts', () => {
  const sigmoid = classify(logits(0, 50, -50), { ...options, apply: 'sigmoid' });
  assert.equal(sigmoid[1]?.score, 0.5);
  assert.equal(classify(logits(-3, 2, 7), { ...options, apply: 'none' })[0]?.score, 7);
  assert.equal(classify(logits(1, 2, 3), { ...options, topK: 2 }).length, 2);
});

test('routeScore is the log-odds margin of the best label', () => {
  const p = [0.7, 0.2, 0.1];
  const score = routeScoreOf(logits(...p.map(Math.log)), false);
  assert.ok(Math.abs(score - Math.log(0.7 / 0.3)) < 1e-5);
  assert.ok(Math.abs(routeScoreOf(logits(1, 1), false)) < 1e-12);
});

test('routeScore of independent labels is the log-probability that no decision flips', () => {
  const p = [0.9, 0.2];
  const score = routeScoreOf(logits(...p.map((x) => Math.log(x / (1 - x)))), true);
  assert.ok(Math.abs(score - Math.log(0.9 * 0.8)) < 1e-5);
});

test('routeScore has a value for broken logits and a single class', () => {
  assert.equal(routeScoreOf(logits(), false), ROUTE_SCORE_FLOOR);
  assert.equal(routeScoreOf(logits(1, Number.NaN), false), ROUTE_SCORE_FLOOR);
  assert.equal(routeScoreOf(logits(Number.POSITIVE_INFINITY, 0), false), -ROUTE_SCORE_FLOOR);
  assert.ok(Number.isFinite(routeScoreOf(logits(2), false)));
});

test('scores lie in 0..1 and routeScore is finite for any logits', () => {
  const anyLogits = fc.float32Array({ minLength: 1, maxLength: 12, noNaN: false });
  fc.assert(
    fc.property(anyLogits, fc.constantFrom('softmax', 'sigmoid'), (values, apply) => {
      for (const { score } of classify(values, { ...options, apply, topK: 100 }))
        assert.ok(score >= 0 && score <= 1);
      const score = routeScoreOf(values, apply === 'sigmoid');
      assert.ok(score >= ROUTE_SCORE_FLOOR && score <= -ROUTE_SCORE_FLOOR);
    }),
  );
});
