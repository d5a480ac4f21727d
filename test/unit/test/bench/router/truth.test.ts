import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Truth } from '../../../../bench/router/worlds/truth.ts';

const truthOf = (pairs: readonly (readonly [score: number, loss: number])[]): Truth =>
  new Truth({
    scores: Float64Array.from(pairs, ([score]) => score),
    losses: Float64Array.from(pairs, ([, loss]) => loss),
  });

// Surest last: wrong at 1 and 3.
const truth = truthOf([
  [2, 0],
  [4, 0],
  [1, 1],
  [3, 1],
]);

describe('the truth of a pool', () => {
  it('counts a score at the threshold as kept', () => {
    assert.equal(truth.kept(3), 0.5);
    assert.equal(truth.escalated(3), 0.5);
    assert.equal(truth.kept(3.1), 0.25);
    assert.equal(truth.kept(-10), 1);
  });

  it('keeps nothing without a threshold', () => {
    assert.equal(truth.kept(null), 0);
    assert.equal(truth.risk(null), 0);
    assert.equal(truth.risk(null, 'local'), 0);
  });

  it('takes the risk over all requests, or over those kept', () => {
    assert.equal(truth.risk(3), 0.25);
    assert.equal(truth.risk(3, 'local'), 0.5);
    assert.equal(truth.risk(1), 0.5);
  });

  it('adds up graded losses', () => {
    const graded = truthOf([
      [2, 0.5],
      [1, 0.25],
    ]);
    assert.equal(graded.risk(2), 0.25);
    assert.equal(graded.risk(1), 0.375);
  });
});

describe('the oracle', () => {
  it('escalates no more than it must', () => {
    assert.deepEqual(truth.oracle(0.25), { threshold: 2, escalated: 0.25 });
    assert.deepEqual(truth.oracle(0.2), { threshold: 4, escalated: 0.75 });
    assert.deepEqual(truth.oracle(0.5), { threshold: 1, escalated: 0 });
  });

  it('takes the risk of what is kept where that is promised', () => {
    assert.deepEqual(truth.oracle(0.34, 'local'), { threshold: 2, escalated: 0.25 });
    assert.deepEqual(truth.oracle(0.3, 'local'), { threshold: 4, escalated: 0.75 });
  });

  it('escalates everything where equal scores hide the wrong one', () => {
    const tied = truthOf([
      [1, 0],
      [1, 0],
      [1, 1],
    ]);
    assert.deepEqual(tied.oracle(0.3), { threshold: null, escalated: 1 });
    assert.deepEqual(tied.oracle(0.34), { threshold: 1, escalated: 0 });
  });
});
