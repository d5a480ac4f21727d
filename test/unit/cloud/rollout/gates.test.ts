import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Arms, TriedTotals } from '../../../../cloud/rollout/gates/arms.ts';
import { judge, type Standing } from '../../../../cloud/rollout/gates/gates.ts';
import { proportionBounds } from '../../../../cloud/rollout/gates/proportions.ts';
import { binomial } from '../../../../cloud/rollout/simulation/draws.ts';
import { NO_TOTALS, toTotals, type VersionTotals } from '../../../../cloud/rollout/totals.ts';
import {
  gateVerdict,
  type RolloutGateName,
  type RolloutGates,
  rolloutGates,
} from '../../../../shared/contract/rollouts.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { counts, timesOf } from '../../../support/version-counts.ts';

const MB = 1024 ** 2;
const ALL = rolloutGates.parse({});

/** A device whose every request the cloud was asked about. */
interface Did {
  requests?: number;
  /** Share of them that the cloud answered otherwise. */
  wrong?: number;
  failures?: number;
  crashes?: number;
  ms?: number;
  memoryMb?: number;
  /** Requests by a router that has seen enough, and share of them that was escalated. */
  routed?: number;
  escalated?: number;
  isJudged?: boolean;
}
function did(one: Did = {}): VersionTotals {
  const { requests = 10_000, wrong = 0.1, failures = 0, crashes = 0, ms = 10, memoryMb = 100 } = one;
  const { routed = 0, escalated = 0.2, isJudged = true } = one;
  const loss = Math.round(requests * wrong);
  return toTotals(
    counts({
      ...{ answers: requests, failures, crashes, memoryBytes: memoryMb * MB, times: timesOf(requests, ms) },
      ...(isJudged && { judged: { requests, asked: requests, loss, squares: loss, weights: requests } }),
      routed: { requests: routed, escalated: Math.round(routed * escalated) },
    }),
  );
}
const arm = (devices: number, one: Did = {}, from = 0): TriedTotals[] =>
  Array.from({ length: devices }, (_, index) => ({ id: `d${from + index}`, totals: did(one) }));
/** Ten devices that have it, and fifty that don't; all did the same before. */
const usual = (version: Did, others: Did = {}, before: Did = {}): Arms => ({
  version: arm(10, version),
  before: arm(60, before),
  rest: arm(50, others, 10),
});
const verdictOf = (gate: RolloutGateName, arms: Arms, gates: RolloutGates = ALL, standing?: Standing) => {
  const verdicts = judge(gates, arms, standing);
  for (const one of verdicts) assert.deepEqual(gateVerdict.parse(one), one);
  return verdicts.find((one) => one.gate === gate);
};
const states = (arms: Arms) => Object.fromEntries(judge(ALL, arms).map(({ gate, state }) => [gate, state]));

describe('bounds of a proportion', () => {
  it('hold the share, are exact at the ends, and close in', () => {
    assert.deepEqual(proportionBounds(0, 0, 0.01), { least: 0, most: 1 });
    const { least, most } = proportionBounds(50, 1_000, 0.01);
    assert.ok(least > 0.025 && least < 0.05 && most > 0.05 && most < 0.09, `${least} ${most}`);
    assert.equal(proportionBounds(0, 1_000, 0.01).least, 0);
    assert.equal(proportionBounds(1_000, 1_000, 0.01).most, 1);
    assert.ok(proportionBounds(5_000, 100_000, 0.01).most < most);
  });

  it('are left at any of a thousand looks by at most the error', () => {
    let left = 0;
    for (let seed = 1; seed <= 400; seed++) {
      const { next } = seededRandom(seed);
      let [x, n] = [0, 0];
      for (let look = 1; look <= 100; look++) {
        x += binomial(next, look, 0.05);
        n += look;
        if (proportionBounds(x, n, 0.05).least > 0.05) {
          left++;
          break;
        }
      }
    }
    assert.ok(left <= 20, `${left} of 400`);
  });
});

describe('gates', () => {
  it('a version that does as the one before passes them all', () => {
    assert.deepEqual(states(usual({ routed: 10_000 }, { routed: 10_000 }, { routed: 10_000 })), {
      agreement: 'passed',
      escalation: 'passed',
      errors: 'passed',
      latencyP95: 'passed',
      crashes: 'passed',
      memory: 'passed',
    });
  });

  const bad: readonly [RolloutGateName, Did][] = [
    ['agreement', { wrong: 0.14 }],
    ['escalation', { routed: 10_000, escalated: 0.4 }],
    ['errors', { failures: 500 }],
    ['latencyP95', { ms: 20 }],
    ['crashes', { crashes: 1 }],
    ['memory', { memoryMb: 200 }],
  ];
  for (const [gate, version] of bad)
    it(`${gate} fails by itself, and says by how much`, () => {
      const arms = usual(version, { routed: 10_000 }, { routed: 10_000 });
      const failed = judge(ALL, arms).filter(({ state }) => state === 'failed');
      assert.deepEqual(
        failed.map((one) => one.gate),
        [gate],
      );
      assert.match(failed[0]?.detail ?? '', /\d/);
    });

  it('one that is left out has no say', () => {
    const none = { agreement: null, escalation: null, errors: null, latencyP95: null, crashes: null };
    const verdicts = judge(rolloutGates.parse({ ...none, memory: null }), usual({ wrong: 1, crashes: 9 }));
    assert.deepEqual(verdicts, []);
    assert.deepEqual(
      judge(rolloutGates.parse(none), usual({})).map(({ gate }) => gate),
      ['memory'],
    );
  });

  it('says so where more requests of the same few devices would tell nothing', () => {
    const canary: Arms = {
      version: arm(1, { requests: 100_000, wrong: 0.15 }),
      before: arm(3, { requests: 100_000 }),
      rest: arm(2, { requests: 100_000 }, 1),
    };
    const verdict = verdictOf('agreement', canary, rolloutGates.parse({ agreement: { maxDrop: 0.06 } }));
    assert.equal(verdict?.state, 'waiting', verdict?.detail);
    assert.match(verdict?.detail ?? '', /too few devices to be certain.*until you decide/);
  });

  it('says how much more it has to see while it is not certain', () => {
    const arms = { ...usual({}), version: arm(1, { requests: 500 }) };
    const verdict = verdictOf('agreement', arms);
    assert.equal(verdict?.state, 'waiting');
    assert.match(verdict?.detail ?? '', /about [\d,]+ requests are needed/);
    const few = verdictOf('agreement', { ...usual({}), version: arm(1, { requests: 20 }) });
    assert.deepEqual(
      [few?.state, few?.detail],
      ['waiting', '20 of at least 100 requests of it that the cloud could have been asked about'],
    );
  });

  it('nothing waits for a cloud that nobody asks, nor where there is nothing to compare with', () => {
    const silent = { isJudged: false };
    assert.equal(verdictOf('agreement', usual(silent, silent, silent))?.state, 'unmeasured');
    assert.equal(verdictOf('agreement', usual(silent))?.state, 'waiting', 'the cloud is away');
    const alone = { version: arm(3), before: [], rest: [] };
    assert.deepEqual(states(alone), {
      agreement: 'unmeasured',
      escalation: 'unmeasured',
      errors: 'unmeasured',
      latencyP95: 'unmeasured',
      crashes: 'passed',
      memory: 'unmeasured',
    });
    assert.deepEqual(Object.values(states({ version: [], before: arm(3), rest: [] })), [
      'waiting',
      'unmeasured',
      'waiting',
      'waiting',
      'waiting',
      'waiting',
    ]);
  });

  it('devices that have it harder are compared with themselves', () => {
    const hard = { wrong: 0.2 };
    const arms = {
      version: arm(10, hard),
      before: [...arm(10, hard), ...arm(50, {}, 10)],
      rest: arm(50, {}, 10),
    };
    assert.equal(verdictOf('agreement', arms)?.state, 'passed');
  });

  it('inputs that become harder for all are no fault of the version, and hide none', () => {
    const harder = { wrong: 0.14 };
    assert.equal(verdictOf('agreement', usual(harder, harder))?.state, 'passed');
    const easier = usual({}, { wrong: 0.06 });
    assert.equal(verdictOf('agreement', easier)?.state, 'failed');
  });

  it('when no device is left without it, what changes is not held against it but in the first stage', () => {
    const arms = { version: arm(10, { wrong: 0.14 }), before: arm(10), rest: [] };
    assert.equal(verdictOf('agreement', arms, ALL, { stage: 0, stages: 4 })?.state, 'failed');
    assert.equal(verdictOf('agreement', arms, ALL, { stage: 3, stages: 4 })?.state, 'unmeasured');
  });

  it('where nothing was seen to be wrong by few audits, it may have been missed', () => {
    const rare = toTotals(
      counts({
        answers: 20_000,
        judged: { requests: 20_000, asked: 400, loss: 0, squares: 0, weights: 1e6 },
      }),
    );
    const arms = {
      version: arm(1, { requests: 20_000, wrong: 0.02 }),
      before: [{ id: 'd0', totals: rare }],
      rest: [],
    };
    assert.notEqual(verdictOf('agreement', arms)?.state, 'failed');
  });

  it('a device that says more than all others together does not outweigh them', () => {
    const liar = { id: 'liar', totals: did({ requests: 1e9, wrong: 0 }) };
    const arms = usual({ wrong: 0.2 });
    const withLiar = {
      version: [...arms.version, liar],
      before: [...arms.before, liar],
      rest: arms.rest,
    };
    assert.equal(verdictOf('agreement', withLiar)?.state, 'failed');
    const errors = usual({ failures: 1_000 });
    assert.equal(verdictOf('errors', { ...errors, version: [...errors.version, liar] })?.state, 'failed');
  });

  it('a canary of one that crashes or is taken back fails, one that always crashed does not', () => {
    const canary = (totals: VersionTotals, wasTakenBack = false): Arms => ({
      version: [{ id: 'd0', totals, wasTakenBack }],
      before: arm(60),
      rest: [],
    });
    assert.equal(verdictOf('crashes', canary(did({ requests: 10, crashes: 1 })))?.state, 'failed');
    const takenBack = verdictOf('crashes', canary(NO_TOTALS, true));
    assert.deepEqual(
      [takenBack?.state, takenBack?.detail],
      ['failed', 'on 1 of 1 devices it crashed or was taken back (d0)'],
    );
    const flaky = { ...canary(did({ crashes: 2 })), before: arm(1, { crashes: 3 }) };
    assert.equal(verdictOf('crashes', flaky)?.state, 'passed');
  });

  it('one device of fifty may crash, three may not', () => {
    const fifty = (crashed: number): Arms => ({
      version: [...arm(crashed, { crashes: 1 }), ...arm(50 - crashed, {}, crashed)],
      before: arm(50),
      rest: [],
    });
    assert.equal(verdictOf('crashes', fifty(1))?.state, 'passed');
    assert.equal(verdictOf('crashes', fifty(3))?.state, 'failed');
  });

  it('slow devices are compared with themselves, busy times with the others, and 2 ms are nothing', () => {
    const slow = { ms: 100 };
    const mixed = {
      version: arm(10, slow),
      before: [...arm(10, slow), ...arm(50, {}, 10)],
      rest: arm(50, {}, 10),
    };
    assert.equal(verdictOf('latencyP95', mixed)?.state, 'passed');
    assert.notEqual(verdictOf('latencyP95', usual({ ms: 25 }, { ms: 25 }))?.state, 'failed');
    assert.equal(verdictOf('latencyP95', usual({ ms: 2 }, { ms: 0.5 }, { ms: 0.5 }))?.state, 'passed');
    const waiting = verdictOf('latencyP95', usual({ requests: 5 }));
    assert.match(waiting?.detail ?? '', /at least 100 with a time/);
  });

  it('memory that little models take on top is not looked at', () => {
    assert.equal(
      verdictOf('memory', usual({ memoryMb: 60 }, { memoryMb: 20 }, { memoryMb: 20 }))?.state,
      'passed',
    );
    assert.equal(verdictOf('memory', usual({ memoryMb: 190 }, {}, { memoryMb: 20 }))?.state, 'failed');
    const unmeasured = arm(3).map(({ id, totals }) => ({ id, totals: { ...totals, memoryBytes: null } }));
    assert.equal(verdictOf('memory', { version: unmeasured, before: arm(3), rest: [] })?.state, 'waiting');
  });

  it('failures without a past are compared with the others now', () => {
    const arms = { version: arm(5, { failures: 900 }), before: [], rest: arm(50, {}, 5) };
    assert.equal(verdictOf('errors', arms)?.state, 'failed');
    assert.equal(verdictOf('errors', { ...arms, rest: arm(50, { failures: 900 }, 5) })?.state, 'passed');
  });
});
