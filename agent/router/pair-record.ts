/** What is kept of a pair of models on disk, and what there is to show before anything is known. */
import { z } from 'zod';
import { fleetThreshold } from '../../shared/contract/fleet-evidence.ts';
import {
  type RouteEvidence,
  type RouteScope,
  routeAlarm,
  routeCounts,
  type Standing,
} from '../../shared/contract/routing.ts';
import { meterState } from './agreement-meter.ts';
import { fleetSumsState } from './fleet-sums.ts';
import { learnerState, ticket } from './learner.ts';

/** Promise of a router: agreement with the cloud, confidence, and of which requests. */
export interface Goal {
  /** Promised agreement with the cloud, 0..1. */
  readonly agreement: number;
  /** Confidence of the promise, 0..1. */
  readonly confidence: number;
  readonly scope: RouteScope;
  /** A promise for each label that the local model answers with. */
  readonly perLabel: boolean;
  /** How a loss is taken: evidence of another way is none. */
  readonly loss?: unknown;
}

/** Price of asking the cloud. */
export interface Price {
  readonly request: number;
  readonly megabyte: number;
  readonly currency: string;
}

const count = z.int().nonnegative();
/** Counts of one pair of models, as they are kept on disk. */
const pairCounts = routeCounts.extend({
  /** Bytes of what was asked, as it was sent. */
  askedBytes: z.number().nonnegative(),
});
export type PairCounts = z.infer<typeof pairCounts>;

/** Record of one pair of models on disk: learners, open decisions and counts. */
export const pairState = z.object({
  edgeDigest: z.string(),
  cloudDigest: z.string().nullable(),
  learners: z.array(z.object({ group: z.string(), state: learnerState })),
  /** Decisions whose turn has not come; only asked ones need their id. */
  pending: z.array(
    z.object({ id: z.string(), group: z.string(), ticket, loss: z.number().nullable().optional() }),
  ),
  meter: meterState,
  counts: pairCounts,
  alarms: count,
  lastAlarm: routeAlarm.nullable(),
  /** For the evidence of the fleet. */
  sums: fleetSumsState.optional(),
  /** What the fleet has given it to start from; missing: nothing. */
  started: fleetThreshold.optional(),
});
export type PairState = z.infer<typeof pairState>;

/** Standing of several promises together: that of the worst of them. */
export function together(labels: readonly Standing[]): Standing {
  const worst = (['drift', 'learning', 'evidence'] as const).find((basis) =>
    labels.some((one) => one.basis === basis),
  );
  const sum = labels.reduce((total, { evidence }) => total + evidence, 0);
  return {
    basis: worst ?? 'learning',
    threshold: null,
    evidence: sum,
    auditShare: labels.reduce((share, one) => share + (one.auditShare * one.evidence) / Math.max(1, sum), 0),
    reachable: null,
  };
}

/** Counts of a pair that has seen no request yet. */
export const noCounts = (): PairCounts => ({
  eligible: 0,
  escalated: 0,
  audited: 0,
  ineligible: 0,
  asked: 0,
  answered: 0,
  late: 0,
  failed: 0,
  expired: 0,
  assumed: 0,
  disagreed: 0,
  askedBytes: 0,
});

/** Evidence of a router that has no pair of models to learn about. */
export function noEvidence({ agreement, confidence, scope }: Goal): RouteEvidence {
  const { askedBytes: _unknown, ...shown } = noCounts();
  return {
    agreement,
    confidence,
    scope,
    edgeDigest: null,
    cloudDigest: null,
    basis: 'none',
    threshold: null,
    evidence: 0,
    auditShare: 0,
    reachable: null,
    estimated: null,
    counts: shown,
    saved: { requests: 0, bytes: 0, money: null, currency: null },
    alarms: 0,
    lastAlarm: null,
    labels: [],
  };
}
