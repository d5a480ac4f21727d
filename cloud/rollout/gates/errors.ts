/** The gate about inputs that a version can’t answer: a share of all, exact. */
import type { GateVerdict } from '../../../shared/contract/rollouts.ts';
import type { VersionTotals } from '../totals.ts';
import { type Arms, byDevice, mostOfOne } from './arms.ts';
import { LEAST_REQUESTS } from './limits.ts';
import { proportionBounds } from './proportions.ts';
import { amount, percent, points, signed } from './words.ts';

/** Bounds so much narrower than what is allowed leave room to decide. */
const SURE = 0.25;

/** What the gate `errors` says. */
export function errorsVerdict(arms: Arms, limit: number, alpha: number): GateVerdict {
  const before = byDevice(arms.before);
  const same = arms.version.flatMap(({ id }) => before.get(id) ?? []);
  const sides = {
    version: failuresOf(arms.version.map(({ totals }) => totals)),
    before: failuresOf(same),
    rest: failuresOf(arms.rest.map(({ totals }) => totals)),
  };
  const evidence = {
    version: Math.round(sides.version.inputs),
    before: Math.round(sides.before.inputs),
    rest: Math.round(sides.rest.inputs),
  };
  const open = { gate: 'errors' as const, evidence, worse: null, atLeast: null, atMost: null };
  const others = [sides.before, sides.rest].filter(({ inputs }) => inputs >= LEAST_REQUESTS);
  // Of an agent nobody need ask anything; where inputs came before, they have to come now, too.
  const isSilent = arms.link !== undefined && others.length === 0;
  if (sides.version.inputs < 1 && !isSilent)
    return { ...open, state: 'waiting', detail: 'it has answered nothing yet' };
  if (others.length === 0)
    return {
      ...open,
      state: 'unmeasured',
      detail: 'nothing was counted before or elsewhere to compare it with',
    };
  // Two bounds meet in each comparison, each with its half of the error.
  const bounds = ({ failures, inputs }: typeof sides.version) =>
    proportionBounds(failures, inputs, alpha / 2);
  const its = bounds(sides.version);
  const share = sides.version.failures / sides.version.inputs;
  const all = others.map((side) => ({ ...bounds(side), share: side.failures / side.inputs }));
  const sure = all.filter(({ least, most }) => most - least <= limit * SURE);
  // Worse than before and worse than the others, where both are well known.
  const theirs = sure.length > 0 ? sure : all;
  const worse = Math.min(...theirs.map((one) => share - one.share));
  const atLeast = Math.min(...theirs.map(({ most }) => its.least - most));
  const atMost = Math.min(...theirs.map(({ least }) => its.most - least));
  const compared = [
    sides.before.inputs >= LEAST_REQUESTS &&
      `the same devices before ${percent(sides.before.failures / sides.before.inputs)}`,
    sides.rest.inputs >= LEAST_REQUESTS &&
      `the others now ${percent(sides.rest.failures / sides.rest.inputs)}`,
  ].filter((one) => one !== false);
  const said = `${amount(sides.version.failures)} of ${amount(sides.version.inputs)} inputs failed (${percent(share)}; ${compared.join(', ')}): worse by ${points(worse)} (${signed(atLeast)} to ${signed(atMost)})`;
  const known = { gate: 'errors' as const, evidence, worse, atLeast, atMost };
  if (atLeast > limit / 2) return { ...known, state: 'failed', detail: said };
  if (atMost <= limit) return { ...known, state: 'passed', detail: said };
  if (sure.length === 0 && sides.rest.inputs === 0 && its.most - its.least <= limit * SURE)
    return { ...known, state: 'unmeasured', detail: `${said}; too little was counted before to be certain` };
  return { ...known, state: 'waiting', detail: said };
}

function failuresOf(devices: readonly VersionTotals[]): { failures: number; inputs: number } {
  const most = mostOfOne(devices.map(({ answers, failures }) => answers + failures));
  let [failed, inputs] = [0, 0];
  for (const { answers, failures } of devices) {
    const all = answers + failures;
    const weight = all === 0 ? 0 : Math.min(1, most / all);
    failed += weight * failures;
    inputs += weight * all;
  }
  return { failures: failed, inputs };
}
