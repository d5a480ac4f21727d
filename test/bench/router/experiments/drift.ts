/**
 * A world that changes (docs/design/router.md 4.4): when does a rule notice, and how many wrong answers does it let through?
 */

import type { Target } from '../../../../agent/router/credit-ledger.ts';
import { Learner } from '../../../../agent/router/learner.ts';
import type { DriftKind } from '../../../../shared/contract/routing.ts';
import { median, quantile } from '../../harness.ts';
import type { DriftRow } from '../results.ts';
import { type Labelled, tunedByBound } from '../rules/tuned.ts';
import { makePool, type Pool } from '../worlds/pool.ts';
import { below, seeded } from '../worlds/random.ts';
import { Truth } from '../worlds/truth.ts';
import { DRIFTING } from '../worlds/worlds.ts';
import { auditLots, standsLocally } from './replay.ts';

const TARGET: Target = { alpha: 0.02, delta: 0.05, scope: 'all' };
const REQUESTS = 40_000;
const TUNED_ON = 2_000;
const FIRST_SEED = 31_000;

interface Scenario {
  readonly after: keyof typeof DRIFTING;
  /** The first request of the shift, and how many it takes. */
  readonly startsAt: number;
  readonly takes: number;
}

export const NO_DRIFT = 'no drift';
export const LARGEST_DRIFT = '+15 % confident errors';
const atHalf = (after: Scenario['after']): Scenario => ({ after, startsAt: REQUESTS / 2, takes: 0 });
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  [NO_DRIFT]: { after: 'usual', startsAt: 0, takes: 0 },
  [LARGEST_DRIFT]: atHalf('errors 15 %'),
  '+5 % confident errors': atHalf('errors 5 %'),
  'cloud relabels 4 %': atHalf('relabelled'),
  'gradual to +5 %': { after: 'errors 5 %', startsAt: REQUESTS / 4, takes: REQUESTS / 2 },
  'harder inputs': atHalf('harder'),
  'easier inputs': atHalf('easier'),
};

/** What decides; told every loss that it asked for. */
interface Rule {
  readonly threshold: number | null;
  step(
    score: number,
    loss: number,
  ): { isLocal: boolean; isEscalated: boolean; drift?: DriftKind | undefined };
}

/** The one rule that can raise an alarm. */
export const ROUTER = 'the router';
const RULES: Readonly<Record<string, (seed: number) => Rule>> = {
  [ROUTER]: (seed) => learned(seed),
  'fixed 0.9': () => fixed(0.9),
  'tuned once on 2,000 labels': () => tunedOnce(),
};

function learned(seed: number): Rule {
  const learner = new Learner({ target: TARGET, certified: null, random: auditLots(seed) });
  return {
    get threshold() {
      return learner.threshold;
    },
    step(score, loss) {
      const ticket = learner.decide(score);
      const drift = learner.settle(ticket, loss);
      return { isLocal: standsLocally(ticket), isEscalated: !ticket.isKept, drift };
    },
  };
}

function fixed(threshold: number): Rule {
  return {
    threshold,
    step: (score) => ({ isLocal: score >= threshold, isEscalated: score < threshold }),
  };
}

function tunedOnce(): Rule {
  const labelled: Labelled[] = [];
  let threshold: number | null = null;
  return {
    get threshold() {
      return threshold;
    },
    step(score, loss) {
      const isLocal = threshold !== null && score >= threshold;
      if (labelled.length < TUNED_ON) {
        labelled.push({ score, loss });
        if (labelled.length === TUNED_ON) threshold = tunedByBound(labelled, TARGET.alpha, TARGET.delta);
      }
      return { isLocal, isEscalated: !isLocal };
    },
  };
}

/** A pool with its truth. */
interface Place {
  readonly pool: Pool;
  readonly truth: Truth;
}

const place = (world: keyof typeof DRIFTING): Place => {
  const pool = makePool(DRIFTING[world]);
  return { pool, truth: new Truth(pool) };
};

export function measureDrift(name: string, runs: number): DriftRow[] {
  const scenario = SCENARIOS[name]!;
  const [before, after] = [place('usual'), place(scenario.after)];
  return Object.entries(RULES).map(([rule, make]) => {
    const passes = Array.from({ length: runs }, (_, run) => {
      const seed = FIRST_SEED + run;
      return pass({ scenario, before, after, rule: make(seed), seed });
    });
    const delays = passes.map(({ delay }) => delay).filter((delay) => delay !== null);
    const canDetect = rule === ROUTER && scenario.startsAt > 0;
    const mean = (of: (one: Pass) => number): number =>
      passes.reduce((sum, one) => sum + of(one), 0) / runs / (REQUESTS - scenario.startsAt);
    return {
      kind: 'drift',
      scenario: name,
      rule,
      runs,
      requests: REQUESTS,
      oracle: after.truth.oracle(TARGET.alpha).escalated,
      falseAlarms: passes.reduce((sum, { falseAlarms }) => sum + falseAlarms, 0),
      detected: canDetect ? delays.length / runs : null,
      delayMedian: delays.length > 0 ? median(delays) : null,
      delayP90: delays.length > 0 ? quantile(delays, 0.9) : null,
      wrongPer1000: 1000 * mean(({ wrong }) => wrong),
      inViolation: mean(({ inViolation }) => inViolation),
      escalated: mean(({ escalated }) => escalated),
      escalatedAtEnd: passes.reduce((sum, one) => sum + one.escalatedAtEnd, 0) / runs,
    };
  });
}

/** One run: counts from the shift on, but for the false alarms. */
interface Pass {
  falseAlarms: number;
  delay: number | null;
  wrong: number;
  inViolation: number;
  escalated: number;
  /** Share of the last tenth. */
  escalatedAtEnd: number;
}

interface Run {
  readonly scenario: Scenario;
  readonly before: Place;
  readonly after: Place;
  readonly rule: Rule;
  readonly seed: number;
}

function pass({ scenario, before, after, rule, seed }: Run): Pass {
  const { startsAt, takes } = scenario;
  const random = seeded(seed);
  const seen: Pass = {
    falseAlarms: 0,
    delay: null,
    wrong: 0,
    inViolation: 0,
    escalated: 0,
    escalatedAtEnd: 0,
  };
  const lastTenth = 0.1 * REQUESTS;
  let threshold: number | null = null;
  let [riskBefore, riskAfter] = [0, 0];
  for (let request = 0; request < REQUESTS; request++) {
    const moved = request < startsAt ? 0 : Math.min(1, takes === 0 ? 1 : (request - startsAt) / takes);
    const { pool } = random() < moved ? after : before;
    const index = below(pool.scores.length, random);
    if (rule.threshold !== threshold) {
      threshold = rule.threshold;
      riskBefore = before.truth.risk(threshold);
      riskAfter = after.truth.risk(threshold);
    }
    const { isLocal, isEscalated, drift } = rule.step(pool.scores[index]!, pool.losses[index]!);
    if (drift && (request < startsAt || startsAt === 0)) seen.falseAlarms++;
    if (request < startsAt) continue;
    if (drift && startsAt > 0) seen.delay ??= request - startsAt;
    if (isLocal) seen.wrong += pool.losses[index]!;
    if ((1 - moved) * riskBefore + moved * riskAfter > TARGET.alpha) seen.inViolation++;
    if (!isEscalated) continue;
    seen.escalated++;
    if (request >= REQUESTS - lastTenth) seen.escalatedAtEnd += 1 / lastTenth;
  }
  return seen;
}
