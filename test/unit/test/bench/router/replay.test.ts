import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Ticket } from '../../../../../agent/router/learner.ts';
import { LateReplies, replay, standsLocally } from '../../../../bench/router/experiments/replay.ts';
import { mostBroken } from '../../../../bench/router/report/verdicts.ts';
import { makePool } from '../../../../bench/router/worlds/pool.ts';
import { seeded } from '../../../../bench/router/worlds/random.ts';
import { Truth } from '../../../../bench/router/worlds/truth.ts';
import { WORLDS } from '../../../../bench/router/worlds/worlds.ts';

const ticket = (given: Partial<Ticket> = {}): Ticket => ({
  epoch: 0,
  score: 0,
  isKept: true,
  isEscalated: false,
  isAsked: false,
  probability: 0.02,
  weight: 50,
  ...given,
});

describe('a replayed run', () => {
  const pool = makePool(WORLDS.calibrated, 5_000);
  const truth = new Truth(pool);
  const run = {
    pool,
    truth,
    target: { alpha: 0.02, delta: 0.05, scope: 'all' },
    certified: null,
    requests: 2_000,
    seed: 1,
    maxDelay: 0,
    checkpoints: [100, 2_000],
  } as const;

  it('is the same each time, and another with another seed', () => {
    assert.deepEqual(replay(run), replay(run));
    assert.notDeepEqual(replay(run), replay({ ...run, seed: 2 }));
  });

  it('asks everything until the evidence suffices', () => {
    const { firstAt, escalatedAt } = replay(run);
    assert.ok(firstAt !== null && firstAt > 100, `first certified at ${firstAt}`);
    assert.equal(escalatedAt[0], 1);
  });

  it('sees a certificate that is too loose break the promise at once, though no evidence did', () => {
    const outcome = replay({ ...run, requests: 20, certified: Number.NEGATIVE_INFINITY });
    assert.equal(outcome.isBroken, true);
    assert.equal(outcome.isBrokenByEvidence, false);
    assert.equal(outcome.inViolation, 1);
    assert.equal(outcome.worstRisk, truth.risk(Number.NEGATIVE_INFINITY));
  });
});

describe('an answer of the device', () => {
  it('stands unless it was escalated, or audited while the user waits for it', () => {
    assert.equal(standsLocally(ticket()), true);
    assert.equal(standsLocally(ticket({ isKept: false, isAsked: true })), false);
    assert.equal(standsLocally(ticket({ isAsked: true, weight: 2 })), false);
    assert.equal(standsLocally(ticket({ isAsked: true, weight: 4 })), true);
  });
});

describe('late replies', () => {
  it('are given out in the order of the requests, none before its time', () => {
    const late = new LateReplies(10, seeded(3));
    const given: number[] = [];
    for (let now = 1; now <= 60; now++) {
      if (now <= 50) late.put(ticket({ score: now, isAsked: true }), 0, now);
      for (let next = late.take(now); next; next = late.take(now)) {
        assert.ok(next.dueAt <= now);
        given.push(next.ticket.score);
      }
    }
    assert.deepEqual(
      given,
      Array.from({ length: 50 }, (_, index) => index + 1),
    );
  });

  it('do not hold up what was not asked', () => {
    const late = new LateReplies(10, seeded(3));
    late.put(ticket(), 0, 1);
    assert.ok(late.take(1));
    assert.equal(late.take(100), undefined);
  });
});

describe('the allowance for chance', () => {
  it('is two standard errors: 6.4 % for 5 % in 1,000 runs', () => {
    assert.ok(Math.abs(mostBroken(1_000) - 0.0638) < 1e-4);
  });
});
