import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Captures } from '../../../../cli/simulate/captures.ts';
import { type Point, Pool } from '../../../../cli/simulate/pool.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';

type Row = readonly [score: number, loss: number, weight?: number, probability?: number];
const captures = (...rows: Row[]): Captures => ({
  scores: Float64Array.from(rows, ([score]) => score),
  losses: Float64Array.from(rows, ([, loss]) => loss),
  weights: Float64Array.from(rows, ([, , weight = 1]) => weight),
  probabilities: rows.every((row) => row[3] !== undefined)
    ? Float64Array.from(rows, (row) => row[3] ?? 0)
    : null,
  unreadable: 0,
  spread: 0,
});
/** Four requests; the two least sure are wrong, one of them by half. */
const FOUR: Row[] = [
  [2, 0.5],
  [4, 0],
  [1, 1],
  [3, 0],
];
const near = (point: Point, escalated: number, agreement: number) => {
  assert.ok(Math.abs(point.escalated - escalated) < 1e-9, `${point.escalated} escalated, not ${escalated}`);
  assert.ok(Math.abs(point.agreement - agreement) < 1e-9, `agreement ${point.agreement}, not ${agreement}`);
};

test('a threshold keeps what reaches it', () => {
  const pool = new Pool(captures(...FOUR), 'all');
  near(pool.by(null), 1, 1);
  near(pool.by(5), 1, 1);
  near(pool.by(4), 0.75, 1);
  near(pool.by(2), 0.25, 1 - 0.5 / 4);
  near(pool.by(1.5), 0.25, 1 - 0.5 / 4);
  near(pool.by(-9), 0, 1 - 1.5 / 4);
});

test('among local answers a disagreement weighs more, the fewer they are', () => {
  const pool = new Pool(captures(...FOUR), 'local');
  near(pool.by(2), 0.25, 1 - 0.5 / 3);
  near(pool.by(null), 1, 1);
});

test('a capture counts by its weight', () => {
  const pool = new Pool(captures([2, 0], [1, 1, 3]), 'all');
  near(pool.by(2), 0.75, 1);
  near(pool.by(1), 0, 0.25);
  // 4² / (1 + 9)
  assert.ok(Math.abs(pool.effectiveSize - 1.6) < 1e-9);
});

test('draws are by weight', () => {
  const pool = new Pool(captures([1, 0], [2, 0, 3], [3, 0, 1e-9]), 'all');
  const random = seededRandom(3);
  const draws = Array.from({ length: 4_000 }, () => pool.draw(random.next()).score);
  const ones = draws.filter((score) => score === 1).length;
  assert.ok(ones > 900 && ones < 1_100, `${ones} of 4,000`);
  assert.ok(!draws.includes(3));
  assert.equal(pool.draw(0).score, 1);
});

test('the curve goes from edge only to cloud only, and takes of equal scores some', () => {
  const pool = new Pool(captures([1, 1], [1, 0], [2, 0], [3, 0]), 'all');
  const curve = pool.curve(4);
  near(curve[0]!, 0, 0.75);
  near(curve[1]!, 0.25, 1 - 0.5 / 4);
  near(curve[2]!, 0.5, 1);
  near(curve[4]!, 1, 1);
});

test('the oracle escalates least among the thresholds that keep the promise', () => {
  const pool = new Pool(captures(...FOUR), 'all');
  near(pool.oracle(0.9), 0.5, 1);
  assert.equal(pool.oracle(0.9).threshold, 3);
  near(pool.oracle(0.875), 0.25, 0.875);
  near(pool.oracle(0.1), 0, 0.625);
  assert.equal(new Pool(captures([2, 1], [1, 0]), 'all').oracle(0.9).threshold, null);
});

test('by probability, where every capture has one', () => {
  const pool = new Pool(captures([7, 0, 1, 0.9], [1, 1, 1, 0.6]), 'all');
  near(pool.byProbability(0.8)!, 0.5, 1);
  near(pool.byProbability(0.6)!, 0, 0.5);
  assert.equal(new Pool(captures(...FOUR), 'all').byProbability(0.5), null);
});
