import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Learner } from '../../../../agent/router/learner.ts';
import type { Captures } from '../../../../cli/simulate/captures.ts';
import { Pool } from '../../../../cli/simulate/pool.ts';
import { type ReplayOptions, replayDrawn, replayInOrder } from '../../../../cli/simulate/replay.ts';
import { reportOf, textOf } from '../../../../cli/simulate/report.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';

const nobody = () => undefined;
const promised = { agreement: 0.95, confidence: 0.95, scope: 'all' } as const;

/** Scores in [0, 1); the loss's probability follows from score and place. */
function world(count: number, wrong: (score: number, index: number) => number): Captures {
  const random = seededRandom(11);
  const scores = Float64Array.from({ length: count }, random.next);
  return {
    scores,
    losses: scores.map((score, index) => (random.next() < wrong(score, index) ? 1 : 0)),
    weights: scores.map(() => 1),
    probabilities: null,
    unreadable: 0,
    spread: 0,
  };
}

function replayOf(captures: Captures, agreement = 0.95): ReplayOptions<ReturnType<Learner['decide']>> {
  const target = { alpha: 1 - agreement, delta: 0.05, scope: 'all' } as const;
  return {
    pool: new Pool(captures, 'all'),
    promised: { ...promised, agreement },
    newLearner: (random) => new Learner({ target, certified: null, random }),
    seed: 5,
  };
}

/** A quarter of the requests is hard, and mostly wrong. */
const HARD = world(2_000, (score) => (score < 0.25 ? 0.8 : 0.005));

test('drawn requests: the learned threshold comes near to the oracle, and keeps the promise', async () => {
  const replay = replayOf(HARD);
  const done: number[] = [];
  const { learned, instead, falseAlarms } = await replayDrawn(replay, { runs: 10, requests: 4_000 }, (n) =>
    done.push(n),
  );
  assert.deepEqual(done, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(
    learned.map(({ requests }) => requests),
    [1_000, 4_000],
  );
  const [early, late] = learned;
  const oracle = replay.pool.oracle(0.95);
  assert.ok(late!.escalated >= oracle.escalated && late!.escalated < oracle.escalated + 0.05);
  assert.ok(early!.escalated >= late!.escalated && early!.calls > late!.calls);
  assert.ok(late!.calls > late!.escalated, 'audits are calls too');
  assert.ok(late!.agreement >= 0.95);
  assert.ok(late!.broken <= 0.2 && early!.broken <= late!.broken);
  assert.equal(instead, null);
  assert.equal(falseAlarms, 0);
});

test('the same seed gives the same numbers, another one others', async () => {
  const length = { runs: 2, requests: 1_500 };
  const [one, same] = [
    await replayDrawn(replayOf(HARD), length, nobody),
    await replayDrawn(replayOf(HARD), length, nobody),
  ];
  assert.deepEqual(one, same);
  const other = await replayDrawn({ ...replayOf(HARD), seed: 6 }, length, nobody);
  assert.notDeepEqual(one.learned, other.learned);
});

test('a promise that breaks is counted, even where it is kept at the end', async () => {
  const pool = new Pool(HARD, 'all');
  let settled = 0;
  const careless = {
    get threshold() {
      return settled % 1_000 === 500 ? 0 : 2;
    },
    reachable: null,
    decide: () => ({ isKept: false, isAsked: true }),
    settle: () => {
      settled++;
      return undefined;
    },
  };
  const { learned } = await replayDrawn(
    { pool, promised, newLearner: () => careless, seed: 1 },
    { runs: 3, requests: 1_000 },
    nobody,
  );
  assert.deepEqual(learned, [{ requests: 1_000, escalated: 1, calls: 1, agreement: 1, broken: 1 }]);
});

test('where the promise is not reached, it says which one is, and at what cost', async () => {
  const useless = world(2_000, () => 0.12);
  const replay = replayOf(useless, 0.999);
  const drawn = await replayDrawn(replay, { runs: 3, requests: 2_000 }, nobody);
  assert.equal(drawn.instead?.unreached, 1);
  assert.ok((drawn.instead.reachable?.agreement ?? 1) < 0.999);
  const report = reportOf(useless, replay.pool, replay.promised, {
    drawn: { ...drawn, runs: 3 },
    inOrder: null,
  });
  assert.match(textOf(report, ''), /99\.9 % is not reached at the end of 100 % of the runs/);
  assert.match(textOf(report, ''), /is reached, and escalates .* %: --agreement 0\.\d+\./);
});

test('in order: what changes over time shows, and when it was noticed', () => {
  const drifting = world(6_000, (score, index) => (index >= 3_000 ? 0.5 : score < 0.25 ? 0.8 : 0.002));
  const replay = replayOf(drifting);
  const inOrder = replayInOrder(replay);
  assert.equal(inOrder.stretches.length, 10);
  assert.equal(inOrder.stretches.at(-1)?.requests, 6_000);
  assert.equal(inOrder.total.requests, 6_000);
  const [first] = inOrder.drifts;
  assert.ok(first && first.request > 3_000 && first.request < 3_600, JSON.stringify(first));
  assert.ok((inOrder.stretches[4]?.escalated ?? 1) < 0.4 && (inOrder.stretches[9]?.escalated ?? 0) > 0.8);
  const text = textOf(
    reportOf(drifting, replay.pool, replay.promised, { drawn: null, inOrder }),
    'No figure.',
  );
  assert.match(text, /requests up to/);
  assert.match(text, /Request 3,\d+: drift \(disagreement\)/);
});
