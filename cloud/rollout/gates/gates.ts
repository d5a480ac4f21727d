/**
 * The gates of a rollout: what the field says of a version, against what was before and what is elsewhere. READ THIS FIRST.
 *
 * agreement, escalation  a mean of each request, device by device before and now, less what changed for all     differences.ts
 * errors                 a share of all inputs, exact                                                           proportions.ts
 * latencyP95             a share of slow answers, device by device, exact                                       latency.ts
 * crashes, memory, link  plain limits over the devices                                                          plain.ts
 *
 * A gate that has to be certain looks as often as it likes: its bounds hold at all times together. What may go wrong by chance
 * (1 - confidence) is shared out among the gates, the two ways of going wrong (a good version stopped, one worse than allowed let
 * through) and the stages. Why it is so, and how well it does: docs/decisions/0045.
 */
import type { GateVerdict, RolloutGateName, RolloutGates } from '../../../shared/contract/rollouts.ts';
import type { VersionTotals } from '../totals.ts';
import { type Arms, byDevice, mostOfOne } from './arms.ts';
import { type Compared, compare, LEAST_REQUESTS, radius, type Sums } from './differences.ts';
import { SLOW_SHARE, slowness } from './latency.ts';
import { plainVerdicts } from './plain.ts';
import { proportionBounds } from './proportions.ts';
import { amount, part, percent, points, signed } from './words.ts';

const STATISTICAL = ['agreement', 'escalation', 'errors', 'latencyP95'] as const;
/** A version that has answered so much and was never judged will not be. */
const ANSWERS_WITHOUT_A_WORD = 200;
/** Bounds so much narrower than what is allowed leave room to decide. */
const SURE = 0.25;

/** Where in its rollout a version stands. */
export interface Standing {
  /** Counted from 0. */
  readonly stage: number;
  /** Of the whole rollout: each is judged anew, and has its part of the error. */
  readonly stages: number;
}

/** What each gate says now; a gate that is null in the plan has no say. */
export function judge(
  gates: RolloutGates,
  arms: Arms,
  standing: Standing = { stage: 0, stages: 1 },
): GateVerdict[] {
  const looking = STATISTICAL.filter((name) => gates[name] !== null).length;
  const alpha = (1 - gates.confidence) / (2 * Math.max(1, looking) * Math.max(1, standing.stages));
  const verdicts: GateVerdict[] = [];
  const means = (gate: 'agreement' | 'escalation', limit: number, sumsOf: (totals: VersionTotals) => Sums) =>
    verdicts.push(meanVerdict(gate, arms, { limit, alpha, sumsOf, isFirst: standing.stage === 0 }));
  if (gates.agreement) means('agreement', gates.agreement.maxDrop, judgedOf);
  if (gates.escalation) means('escalation', gates.escalation.maxRise, routedOf);
  if (gates.errors) verdicts.push(errorsVerdict(arms, gates.errors.maxRise, alpha));
  if (gates.latencyP95) verdicts.push(latencyVerdict(arms, gates.latencyP95.maxRatio, alpha));
  return [...verdicts, ...plainVerdicts(gates, arms)];
}

const judgedOf = ({ judged }: VersionTotals): Sums => ({
  requests: judged.requests,
  sum: judged.loss,
  squares: judged.squares,
  hidden: judged.requests === 0 ? 0 : (judged.weights / judged.requests) ** 2,
});

const routedOf = ({ routed }: VersionTotals): Sums => ({
  requests: routed.requests,
  sum: routed.escalated,
  squares: routed.escalated,
  hidden: 1,
});

/** What the two gates about a mean say in words. */
const MEANS = {
  agreement: {
    nobody: 'no device that has it asks the cloud',
    few: 'requests of it that the cloud could have been asked about',
    what: 'disagrees with the cloud in',
  },
  escalation: {
    nobody: 'no router of a device that has it has seen enough to tell (5,000 requests)',
    few: 'requests by routers that have seen enough',
    what: 'is escalated in',
  },
} as const;

function meanVerdict(
  gate: 'agreement' | 'escalation',
  arms: Arms,
  how: {
    readonly limit: number;
    readonly alpha: number;
    readonly sumsOf: (totals: VersionTotals) => Sums;
    /** Later the version has been compared with the others: when none is left, what changes is not its doing. */
    readonly isFirst: boolean;
  },
): GateVerdict {
  const { limit, alpha, sumsOf, isFirst } = how;
  // The bounds are to be narrow about where a version passes that is no worse.
  const best = (limit / 5) ** 2;
  const useful = varianceFor(limit, alpha, best) / 2;
  const compared = compare(arms, sumsOf, { mayLackRest: isFirst, useful });
  const { evidence } = compared;
  const [found, other] = compared.found;
  const open = { gate, evidence, worse: null, atLeast: null, atMost: null };
  if (!found) return { ...open, ...silence(gate, arms, compared, sumsOf) };
  const { worse } = found;
  const atLeast = worse - radius(found.variance, alpha, best);
  const atMost = worse + radius(found.ownVariance, alpha, best);
  const said = `${sayMeans(gate, compared)}: worse by ${points(worse)} (${signed(atLeast)} to ${signed(atMost)})`;
  const known = { gate, evidence, worse, atLeast, atMost };
  // Worse than before and worse than the others: what the other comparison knows must not speak against it.
  const isDenied = other && other.worse + radius(other.variance, alpha, best) <= limit / 2;
  if (atLeast > limit / 2 && !isDenied) return { ...known, state: 'failed', detail: said };
  if (atMost <= limit) return { ...known, state: 'passed', detail: said };
  // Known well enough to pass, had it been good: more of the same requests will hardly tell whether it is bad, or these few devices are.
  if (worse > limit / 2 && atMost - worse <= limit / 2) {
    const why =
      'too much for what is allowed, and too few devices to be certain that it is the version’s doing';
    return { ...known, state: 'waiting', detail: `${said}; ${why}: nobody new gets it until you decide` };
  }
  // As if it were as much worse as it seems, up to half of the limit: one that is about too bad is never shown to be good.
  const room = varianceFor(limit - Math.min(limit / 2, Math.max(0, worse)), alpha, best);
  const isHopeless = found.lastingForEver >= room;
  // Then as long as only the version's own requests still tell anything: the first few look good by chance too often.
  const own = found.ownVariance - found.lasting;
  const aim = isHopeless ? useful : room - found.lasting;
  if (isHopeless && own <= aim && worse <= limit / 2) {
    const why = 'these devices told too little before, or differ too much from the others, to be certain';
    return { ...known, state: 'unmeasured', detail: `${said}; ${why}` };
  }
  if (aim <= 0 || own <= aim)
    return { ...known, state: 'waiting', detail: `${said}; more has to be known of the others` };
  const needed = amount((evidence.version * own) / aim);
  return { ...known, state: 'waiting', detail: `${said}; about ${needed} requests are needed` };
}

/** Why there is nothing to compare. */
function silence(
  gate: 'agreement' | 'escalation',
  arms: Arms,
  { evidence, means }: Compared,
  sumsOf: (totals: VersionTotals) => Sums,
): Pick<GateVerdict, 'state' | 'detail'> {
  const words = MEANS[gate];
  if (means.version !== null)
    return {
      state: 'unmeasured',
      detail: 'nobody is there to compare it with: no device without it, or nothing counted before',
    };
  // A router takes long to see enough: a stage does not wait for that.
  if (gate === 'escalation')
    return {
      state: 'unmeasured',
      detail:
        evidence.version === 0 ? words.nobody : `${amount(evidence.version)} ${words.few}: too few to tell`,
    };
  const ids = new Set(arms.version.map(({ id }) => id));
  const before = arms.before.filter(({ id }) => ids.has(id));
  const askedBefore = before.some(({ totals }) => sumsOf(totals).requests > 0);
  const answered = [...arms.version, ...before].some(
    ({ totals }) => totals.answers >= ANSWERS_WITHOUT_A_WORD,
  );
  if (evidence.version === 0 && !askedBefore && answered)
    return { state: 'unmeasured', detail: words.nobody };
  return {
    state: 'waiting',
    detail: `${amount(evidence.version)} of at least ${LEAST_REQUESTS} ${words.few}`,
  };
}

function sayMeans(gate: 'agreement' | 'escalation', { evidence, means, found: [found] }: Compared): string {
  const others = [
    means.before !== null &&
      found?.against !== 'rest' &&
      `the same devices before in ${percent(means.before)}`,
    means.rest !== null && found?.against !== 'before' && `the others now in ${percent(means.rest)}`,
  ].filter((one) => one !== false);
  return `${MEANS[gate].what} ${percent(means.version ?? 0)} of ${amount(evidence.version)} requests, ${others.join(', ')}`;
}

/** Variance at which the bounds are so far from the estimate. */
function varianceFor(distance: number, alpha: number, best: number): number {
  let [low, high] = [0, distance ** 2];
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    if (middle > 0 && radius(middle, alpha, best) > distance) high = middle;
    else low = middle;
  }
  return low;
}

function errorsVerdict(arms: Arms, limit: number, alpha: number): GateVerdict {
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

function latencyVerdict(arms: Arms, limit: number, alpha: number): GateVerdict {
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
