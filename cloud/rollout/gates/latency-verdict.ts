/** The gate about slow answers: what latency.ts has counted, in a verdict. */
import type { GateVerdict, RolloutGateName } from '../../../shared/contract/rollouts.ts';
import type { Arms } from './arms.ts';
import { SLOW_SHARE, slowness } from './latency.ts';
import { amount, part, percent } from './words.ts';

/** What the gate `latencyP95` says. */
export function latencyVerdict(arms: Arms, limit: number, alpha: number): GateVerdict {
  const gate: RolloutGateName = 'latencyP95';
  const found = slowness(arms, limit, alpha);
  const none = { version: 0, before: 0, rest: 0 };
  const open = { gate, evidence: none, worse: null, atLeast: null, atMost: null };
  if (!found) {
    const answers = arms.version.reduce((all, { totals }) => all + totals.answers, 0);
    const hasOthers = [...arms.before, ...arms.rest].some(({ totals }) =>
      totals.times.some((number) => number > 0),
    );
    if (!hasOthers)
      return {
        ...open,
        state: 'unmeasured',
        detail: 'no times were counted before or elsewhere to compare it with',
      };
    return {
      ...open,
      state: 'waiting',
      detail: `${amount(answers)} answers; at least 100 with a time are needed, after its trial`,
    };
  }
  const { version, before, rest, overHalf, overAll, restOverHalf, ratio } = found;
  const allowed = 1 + (limit - 1) / 2;
  const worse = Number.isFinite(ratio) ? ratio - 1 : null;
  const known = { gate, evidence: { version, before, rest }, worse, atLeast: null, atMost: null };
  const times = (value: number): string => `${Number(value.toFixed(2))} times`;
  const p95 = Number.isFinite(ratio)
    ? `; at the median over the devices its p95 is ${times(ratio)} the usual one`
    : '';
  const said = (over: number, share: number): string =>
    `${percent(share)} of ${amount(version)} answers took over ${times(over)} the usual p95${p95}`;
  const usual = Math.max(SLOW_SHARE, restOverHalf?.most ?? 0);
  if (overHalf.least > usual) return { ...known, state: 'failed', detail: said(allowed, overHalf.share) };
  if (overAll.most <= SLOW_SHARE) return { ...known, state: 'passed', detail: said(limit, overAll.share) };
  const detail = `${said(limit, overAll.share)}; that it is at most ${part(SLOW_SHARE)} is not certain yet (up to ${percent(overAll.most)})`;
  return { ...known, state: 'waiting', detail };
}
