import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Arms } from '../../../../cloud/rollout/gates/arms.ts';
import { binomial, poisson } from '../../../../cloud/rollout/simulation/draws.ts';
import { allOf, simulateRollout } from '../../../../cloud/rollout/simulation/simulate.ts';
import { Simulator } from '../../../../cloud/rollout/simulation/simulator.ts';
import { toTotals } from '../../../../cloud/rollout/totals.ts';
import {
  rolloutPlan,
  rolloutSimulation,
  rolloutSimulationRequest,
} from '../../../../shared/contract/rollouts.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';
import { counts, timesOf } from '../../../support/version-counts.ts';

const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);
const MODELS = {
  list: () => [
    { name: EDGE_MODEL.name, deployed: '1', versions: [{ version: '1', digest: EDGE_MODEL.digest }] },
  ],
};
const DEVICE = toTotals(
  counts({
    ...{ answers: 9_900, failures: 100, memoryBytes: 3e8, times: timesOf(9_900, 200) },
    judged: { requests: 9_900, asked: 9_900, loss: 1_980, squares: 1_980, weights: 9_900 },
    routed: { requests: 5_000, escalated: 2_000 },
  }),
);
const SMALL = { model: EDGE_MODEL.name, devices: 5, answersPerMinute: 60, runs: 2, stages: [{ share: 1 }] };
const asked = (more: object = {}) => rolloutSimulationRequest.parse({ ...SMALL, ...more });

function setUp(devices = 0, clock = systemClock) {
  const ofAll = (digest: string) =>
    digest === EDGE_MODEL.digest
      ? Array.from({ length: devices }, (_, index) => ({ id: `d${index}`, totals: DEVICE }))
      : [];
  return new Simulator({ evidence: { ofAll }, models: MODELS, clock });
}

describe('simulated rollouts', () => {
  it('know in each stage what its devices have counted of the version before until then, as a hub does', () => {
    const version = {
      disagreement: 0.1,
      escalated: 0.2,
      failures: 0,
      p95Ms: 50,
      memoryBytes: 1e8,
      crashes: 0,
    };
    const shape = { devices: 300, answersPerMinute: 10, spread: 0, rates: 1, history: 500, hasCloud: true };
    const stage = { minMinutes: 600, minAnswers: 0 };
    const { stages } = rolloutPlan.parse({
      stages: [
        { devices: 1, ...stage },
        { devices: 250, ...stage },
      ],
    });
    const before: Record<string, number>[] = [];
    const deciding = {
      devicesOf: ({ devices = 0 }) => devices,
      judge: (arms: Arms, index: number) => {
        before[index] = Object.fromEntries(arms.before.map(({ id, totals }) => [id, totals.answers]));
        return [];
      },
    };
    const versions = { before: version, next: version };
    allOf(simulateRollout({ stages }, { ...shape, drift: null }, versions, deciding, seededRandom(1).next));
    const [first = {}, second = {}] = before;
    const [canary = '', ...others] = Object.keys(second);
    assert.equal(second[canary], first[canary], 'the first device has not run it since');
    assert.equal(others.length, 299);
    for (const id of others) {
      const more = (second[id] ?? 0) - 500;
      assert.ok(more > 5_000 && more < 7_000, `${id}: ${more} answers in ten hours`);
    }
  });

  it('start from what devices have told, or from what is assumed', async () => {
    const known = rolloutSimulation.parse(await setUp(3).simulate(asked({ devices: undefined })));
    const { baseline } = known;
    assert.deepEqual([known.devices, known.evidenceOf], [3, 3]);
    assert.deepEqual(
      [baseline.disagreement, baseline.escalated, baseline.failures, baseline.memoryBytes],
      [0.2, 0.4, 0.01, 3e8],
    );
    assert.ok(baseline.p95Ms >= 200 && baseline.p95Ms < 240);
    const assumed = await setUp().simulate(asked({ baseline: { p95Ms: 7 } }));
    assert.deepEqual(
      [assumed.evidenceOf, assumed.baseline.disagreement, assumed.baseline.p95Ms],
      [0, 0.1, 7],
    );
  });

  it('are the same for the same seed, one of each kind, and stop what is bad', async () => {
    const request = asked({ defects: { slower: 3, memory: 4 } });
    const one = await setUp().simulate(request);
    assert.deepEqual(await setUp().simulate(request), one);
    assert.deepEqual(
      one.outcomes.map(({ defect, runs, halted, gates }) => [defect, runs, halted, Object.keys(gates)]),
      [
        [null, 2, 0, []],
        ['slower', 2, 2, ['latencyP95']],
        ['memory', 2, 2, ['memory']],
      ],
    );
    assert.equal(one.isCut, false);
  });

  it('run one at a time, for models that are there, and say when time was up', async () => {
    const simulator = setUp();
    await assert.rejects(simulator.simulate(asked({ model: 'nothing' })), withCode('MODEL_UNKNOWN'));
    const first = simulator.simulate(asked());
    await assert.rejects(simulator.simulate(asked()), withCode('QUEUE_FULL'));
    await first;
    let nowMonoMs = 0;
    const hasty = { ...systemClock, nowMonoMs: () => (nowMonoMs += 10_000), sleep: async () => undefined };
    const cut = await setUp(0, hasty).simulate(asked({ runs: 500 }));
    assert.equal(cut.isCut, true);
    assert.ok((cut.outcomes[0]?.runs ?? 500) < 500);
  });

  it('draw counts with the mean and the variance that they should have', () => {
    const { next } = seededRandom(3);
    const near = (draw: () => number, mean: number, variance: number): void => {
      const drawn = Array.from({ length: 20_000 }, draw);
      const m = drawn.reduce((sum, value) => sum + value, 0) / drawn.length;
      const v = drawn.reduce((sum, value) => sum + (value - m) ** 2, 0) / drawn.length;
      assert.ok(Math.abs(m - mean) < 6 * Math.sqrt(variance / drawn.length), `${m} for ${mean}`);
      assert.ok(Math.abs(v / variance - 1) < 0.1, `${v} for ${variance}`);
    };
    for (const [n, p] of [
      [10, 0.3],
      [1_000, 0.01],
      [1_000, 0.5],
      [500, 0.99],
    ] as const)
      near(() => binomial(next, n, p), n * p, n * p * (1 - p));
    for (const mean of [0.1, 5, 100]) near(() => poisson(next, mean), mean, mean);
  });
});
