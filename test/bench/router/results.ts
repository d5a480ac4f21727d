/** The figures of every part of the bench: what a child gives back, and what is written as JSON. Shares are 0..1. */
import { z } from 'zod';

const count = z.int().nonnegative();
const share = z.number().min(0).max(1);

/** Many runs of the learner in one world that stays as it is. */
export const guaranteeRow = z.object({
  kind: z.literal('guarantee'),
  part: z.enum(['synthetic', 'pairs']),
  world: z.string(),
  /** How it differs from the usual: replies at once, all is learned, all requests are promised. */
  how: z.string(),
  alpha: share,
  runs: count,
  requests: count,
  /** Share of runs in which the promise was broken at any moment. */
  broken: share,
  brokenByEvidence: share,
  worstRisk: z.number(),
  /** Mean over the runs. */
  riskAtEnd: z.number(),
  /** Of the certificate that it starts from. */
  certifiedRisk: z.number().nullable(),
  certifiedEscalated: share.nullable(),
  firstMedian: z.number().nullable(),
  /** Requests for which a certificate's threshold was in use. */
  movedMedian: z.number().nullable(),
  oracle: share,
  /** Escalated by the threshold after 1,000, 2,000, 5,000 and all requests. */
  escalatedAt: z.array(share),
  escalated: share,
  audited: share,
  wrongPer1000: z.number(),
  /** Mean share of the requests of a run. */
  inViolation: share,
  /** Share of runs with an alarm, and when it came. */
  alarmed: share,
  alarmMedian: z.number().nullable(),
  alarmP90: z.number().nullable(),
});
export type GuaranteeRow = z.infer<typeof guaranteeRow>;

/** Many runs of one rule through one shift. */
export const driftRow = z.object({
  kind: z.literal('drift'),
  scenario: z.string(),
  rule: z.string(),
  runs: count,
  requests: count,
  /** Escalated by the oracle after the shift. */
  oracle: share,
  /** Alarms before the shift; without a shift, all of them. */
  falseAlarms: count,
  /** null: the rule cannot notice, or there is nothing to notice. */
  detected: share.nullable(),
  delayMedian: z.number().nullable(),
  delayP90: z.number().nullable(),
  wrongPer1000: z.number(),
  inViolation: share,
  escalated: share,
  /** In the last tenth. */
  escalatedAtEnd: share,
});
export type DriftRow = z.infer<typeof driftRow>;

/** One ledger for all labels, or one each. */
export const labelRow = z.object({
  kind: z.literal('labels'),
  ledgers: z.string(),
  runs: count,
  requests: count,
  /** Of all, whatever the label, at the end. */
  risk: z.number(),
  rareRisk: z.number(),
  /** Share of runs in which the rare label's risk was above alpha at any moment. */
  rareBroken: share,
  commonBroken: share,
  escalated: share,
  audited: share,
});
export type LabelRow = z.infer<typeof labelRow>;

/** Many devices at one place of a fleet, each started by what those before it have seen, where that was enough. */
export const fleetRow = z.object({
  kind: z.literal('fleet'),
  world: z.string(),
  device: z.string(),
  runs: count,
  /** Share of devices that were started. */
  started: share,
  /** … and whose own risk at that start is above what is allowed, of all. */
  broken: share,
  /** By the start, on the device itself; null: none was started. */
  escalated: share.nullable(),
  oracle: share,
  /** Requests asked, at the median, until there was a threshold; of the first 1,000; of the first 2,000. */
  askedUntilFirst: count,
  askedOf1000: z.number(),
  askedOf2000: z.number(),
  /** Requests until its own evidence took over, at the median; null: later than 2,000. */
  ownMedian: z.number().nullable(),
});
export type FleetRow = z.infer<typeof fleetRow>;

/** A stream whose requests come in scenes. */
export const streamRow = z.object({
  kind: z.literal('streams'),
  stream: z.string(),
  runs: count,
  requests: count,
  broken: share,
  escalatedAtEnd: share,
  calls: share,
});
export type StreamRow = z.infer<typeof streamRow>;

/** One rule that learns nothing from replies. */
export const baselineRow = z.object({
  kind: z.literal('baseline'),
  world: z.string(),
  rule: z.string(),
  alpha: share,
  oracle: share,
  /** A rule without chance has one outcome. */
  runs: count,
  broken: share,
  risk: z.number(),
  escalated: share,
});
export type BaselineRow = z.infer<typeof baselineRow>;

export const timingRow = z.object({
  kind: z.literal('timing'),
  /** Median of the batches. */
  decisionUs: z.number(),
  slowestBatchUs: z.number(),
  memoryBytes: count,
  jsonBytes: count,
});
export type TimingRow = z.infer<typeof timingRow>;

export const row = z.discriminatedUnion('kind', [
  guaranteeRow,
  driftRow,
  labelRow,
  streamRow,
  fleetRow,
  baselineRow,
  timingRow,
]);
export type Row = z.infer<typeof row>;

export const jobAnswer = z.object({ rows: z.array(row) });
