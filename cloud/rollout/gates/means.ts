/** The gates about a mean of each request: agreement with the cloud, and the share that is escalated. */
import type { GateVerdict } from '../../../shared/contract/rollouts.ts';
import { MATURE_REQUESTS } from '../../../shared/contract/version-counts.ts';
import type { VersionTotals } from '../totals.ts';
import type { Arms } from './arms.ts';
import { type Compared, compare, radius, type Sums } from './differences.ts';
import { ANSWERS_WITHOUT_A_WORD, LEAST_REQUESTS } from './limits.ts';
import { amount, percent, points, signed } from './words.ts';

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
    sumsOf: judgedOf,
    what: 'disagrees with the cloud in',
  },
  escalation: {
    nobody: `no router of a device that has it has seen enough to tell (${MATURE_REQUESTS.toLocaleString('en')} requests)`,
    few: 'requests by routers that have seen enough',
    sumsOf: routedOf,
    what: 'is escalated in',
  },
} as const;

/** What a gate about a mean of each request says: shown to be within its limit, over half of it, or not yet. */
export function meanVerdict(
  gate: 'agreement' | 'escalation',
  arms: Arms,
  how: {
    readonly limit: number;
    readonly alpha: number;
    /** Later the version has been compared with the others: when none is left, what changes is not its doing. */
    readonly isFirst: boolean;
  },
): GateVerdict {
  const { limit, alpha, isFirst } = how;
  const { sumsOf } = MEANS[gate];
  // The bounds are to be narrow about where a version passes that is no worse.
  const best = (limit / 5) ** 2;
  const useful = varianceFor(limit, alpha, best) / 2;
  const compared = compare(arms, sumsOf, { mayLackRest: isFirst, useful });
  const { evidence } = compared;
  const [found, other] = compared.found;
  const open = { gate, evidence, worse: null, atLeast: null, atMost: null };
  if (!found) return { ...open, ...silence(gate, arms, compared) };
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
  if (isHopeless && own <= aim && Math.max(worse, seeming(compared.found)) <= limit / 2) {
    const why = 'these devices told too little before, or differ too much from the others, to be certain';
    return { ...known, state: 'unmeasured', detail: `${said}; ${why}` };
  }
  if (aim <= 0 || own <= aim)
    return { ...known, state: 'waiting', detail: `${said}; more has to be known of the others` };
  const needed = amount((evidence.version * own) / aim);
  return { ...known, state: 'waiting', detail: `${said}; about ${needed} requests are needed` };
}

/** By how much it seems to be worse, by all that is known: each comparison weighs by how much it knows. */
function seeming(found: Compared['found']): number {
  const all = found.reduce((sum, { variance }) => sum + 1 / variance, 0);
  return found.reduce((sum, { worse, variance }) => sum + worse / variance, 0) / all;
}

/** Why there is nothing to compare. */
function silence(
  gate: 'agreement' | 'escalation',
  arms: Arms,
  { evidence, means }: Compared,
): Pick<GateVerdict, 'state' | 'detail'> {
  const words = MEANS[gate];
  const { sumsOf } = words;
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
