import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unmeasurable } from '../../../../cloud/rollout/forecast.ts';
import type { DeviceTotals } from '../../../../cloud/rollout/gates/arms.ts';
import { NO_TOTALS, type VersionTotals } from '../../../../cloud/rollout/totals.ts';
import { rolloutPlan } from '../../../../shared/contract/rollouts.ts';

const KNOWN: VersionTotals = {
  ...NO_TOTALS,
  answers: 9_000,
  times: NO_TOTALS.times.map((_, place) => (place === 30 ? 9_000 : 0)),
  judged: { requests: 9_000, asked: 900, loss: 300, squares: 400, weights: 9_000 },
  routed: { requests: 4_000, escalated: 800 },
};
const fleet = (count: number, totals: VersionTotals = KNOWN): DeviceTotals[] =>
  Array.from({ length: count }, (_, index) => ({ id: `d${index}`, totals }));
const gatesOf = (plan: object, devices: number, before: readonly DeviceTotals[]): string[] =>
  unmeasurable(rolloutPlan.parse(plan), devices, before).map(({ gate }) => gate);
const LONG = { stages: [{ share: 1, minAnswers: 60_000 }] };

test('the usual plan ends its stages before a router has seen enough to tell of escalation, and says what to do', () => {
  const [found, ...more] = unmeasurable(rolloutPlan.parse({}), 50, fleet(50));
  assert.deepEqual([found?.gate, more], ['escalation', []]);
  assert.match(
    found?.why ?? '',
    /5,000 requests .* within 10 minutes, ask for more answers \(--min-answers\)/,
  );
});

test('a plan that asks for enough can measure all', () => {
  assert.deepEqual(gatesOf(LONG, 10, fleet(10)), []);
  assert.deepEqual(gatesOf(LONG, 20, fleet(20)), ['escalation'], '3,000 on each of 20 are too few');
});

test('where nobody asks the cloud, where no router has seen enough before, and where nothing is there to compare with', () => {
  const quiet = { ...KNOWN, judged: NO_TOTALS.judged, routed: NO_TOTALS.routed };
  assert.deepEqual(gatesOf(LONG, 10, fleet(10, quiet)), ['agreement', 'escalation']);
  assert.deepEqual(gatesOf(LONG, 1, []), ['agreement', 'errors', 'latencyP95']);
  assert.deepEqual(gatesOf({}, 3, []), ['escalation'], 'two others are left to compare the first with');
  assert.deepEqual(gatesOf({}, 0, []), [], 'of a fleet without devices nothing is known');
});

test('of gates that are left out nothing is said', () => {
  const gates = { agreement: null, escalation: null, errors: null, latencyP95: null };
  assert.deepEqual(gatesOf({ gates }, 1, []), []);
});
