/** Many seeded runs of the learner in a world that stays as it is: how often is the promise broken, and at what price? */
import type { Target } from '../../../../agent/router/credit-ledger.ts';
import type { RouteScope } from '../../../../shared/contract/routing.ts';
import { median, quantile } from '../../harness.ts';
import type { GuaranteeRow } from '../results.ts';
import type { Pool } from '../worlds/pool.ts';
import { Truth } from '../worlds/truth.ts';
import { type Outcome, replay } from './replay.ts';

export const DELTA = 0.05;
/** Replies come at once, nothing is certified, and the promise is about all requests. */
export const AS_USUAL = 'as usual';
const REQUESTS = 20_000;
const CHECKPOINTS = [1_000, 2_000, 5_000, REQUESTS];
const FIRST_SEED = 1_000;

export interface Setting {
  readonly part: GuaranteeRow['part'];
  readonly world: string;
  readonly how: string;
  readonly alpha: number;
  readonly scope?: RouteScope;
  /** The threshold to start from, given what is true; without it everything is learned. */
  readonly certified?: (truth: Truth) => number | null;
  readonly maxDelay?: number;
}

export function measureGuarantee(setting: Setting, pool: Pool, runs: number): GuaranteeRow {
  const { part, world, how, alpha, scope = 'all', maxDelay = 0 } = setting;
  const truth = new Truth(pool);
  const target: Target = { alpha, delta: DELTA, scope };
  const certified = setting.certified?.(truth) ?? null;
  const common = { pool, truth, target, certified, requests: REQUESTS, maxDelay, checkpoints: CHECKPOINTS };
  const outcomes = Array.from({ length: runs }, (_, run) => replay({ ...common, seed: FIRST_SEED + run }));
  const alarms = times(outcomes, ({ firstAlarmAt }) => firstAlarmAt);
  const moves = times(outcomes, ({ movedAt }) => movedAt);
  const firsts = times(outcomes, ({ firstAt }) => firstAt);
  const mean = (of: (outcome: Outcome) => number): number =>
    outcomes.reduce((sum, outcome) => sum + of(outcome), 0) / runs;
  return {
    kind: 'guarantee',
    part,
    world,
    how,
    alpha,
    runs,
    requests: REQUESTS,
    broken: mean(({ isBroken }) => Number(isBroken)),
    brokenByEvidence: mean(({ isBrokenByEvidence }) => Number(isBrokenByEvidence)),
    worstRisk: Math.max(...outcomes.map(({ worstRisk }) => worstRisk)),
    riskAtEnd: mean(({ riskAtEnd }) => riskAtEnd),
    certifiedRisk: certified === null ? null : truth.risk(certified, scope),
    certifiedEscalated: certified === null ? null : truth.escalated(certified),
    // Where most runs never certify anything, the median says so.
    firstMedian: firsts.length > runs / 2 ? median(firsts) : null,
    movedMedian: moves.length > runs / 2 ? median(moves) : null,
    oracle: truth.oracle(alpha, scope).escalated,
    escalatedAt: CHECKPOINTS.map((_, index) => mean(({ escalatedAt }) => escalatedAt[index]!)),
    escalated: mean(({ escalated }) => escalated),
    audited: mean(({ audited }) => audited),
    wrongPer1000: 1000 * mean(({ wrong }) => wrong),
    inViolation: mean(({ inViolation }) => inViolation),
    alarmed: alarms.length / runs,
    alarmMedian: alarms.length > 0 ? median(alarms) : null,
    alarmP90: alarms.length > 0 ? quantile(alarms, 0.9) : null,
  };
}

const times = (outcomes: readonly Outcome[], of: (outcome: Outcome) => number | null): number[] =>
  outcomes.map(of).filter((time) => time !== null);
