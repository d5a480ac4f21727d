/** What a router has to show for its promise: on the device's page, in its telemetry, on the hub's page. */
import { z } from 'zod';
import { digest } from './names.ts';

const ratio = z.number().min(0).max(1);
const count = z.int().nonnegative();

/** What of all requests the promise is about: all that could be asked about, or the locally answered ones among them. */
export const routeScope = z.enum(['all', 'local']);
export type RouteScope = z.infer<typeof routeScope>;

/**
 * By what the threshold stands: a certificate (the version's own, or the fleet's), live evidence, or not yet (`learning`; `drift`: again, after an alarm), so
 * that everything is asked. `none`: this pipeline never asks by score.
 */
const routeBasis = z.enum(['certificate', 'evidence', 'learning', 'drift', 'none']);
export type RouteBasis = z.infer<typeof routeBasis>;

/** Why an epoch ended: the promise looked broken, or the inputs were others. */
const driftKind = z.enum(['disagreement', 'inputs']);
export type DriftKind = z.infer<typeof driftKind>;

/** Drift alarm: what ended an epoch, and what the epoch had seen. */
export const routeAlarm = z.object({
  kind: driftKind,
  /** The label whose requests it is about, where each has a promise of its own. */
  label: z.string().max(200).nullable(),
  atMs: z.number(),
  /** Requests that the epoch had seen, and how many of them had no answer and were taken as wrong. */
  requests: count,
  unanswered: count,
});
export type RouteAlarm = z.infer<typeof routeAlarm>;

/** The promise that would hold where the one made cannot be certified, and the share that it would escalate. */
const reachable = z.object({ agreement: ratio, escalated: ratio });

const standing = z.object({
  basis: routeBasis,
  /** Lowest route score that stays local; null: everything is asked. */
  threshold: z.number().nullable(),
  /** While `certificate`: whose it is: it came with the version, or is from what other devices have seen; missing: of an older agent. */
  source: z.enum(['version', 'fleet']).optional(),
  /** While `source` is `fleet`: devices whose evidence it is. */
  devices: count.optional(),
  /** Requests that the threshold rests on; while `certificate`: those of the certificate, or of the fleet. */
  evidence: count,
  /** Share of what the threshold keeps that is asked nevertheless, by lot. */
  auditShare: ratio,
  /** Only while the promise made is not certified. */
  reachable: reachable.nullable(),
});

/** Requests since this pair of models answers. */
export const routeCounts = z.object({
  /** Could be asked: online, within size and budget, not forced. */
  eligible: count,
  /** … and were, by score. */
  escalated: count,
  /** … and were, by lot. */
  audited: count,
  /** Could not be asked. */
  ineligible: count,
  /** Accepted for the cloud, for whatever reason. */
  asked: count,
  /** What became of those asked: answered by the deadline, after it, refused or failed in the cloud, given up. */
  answered: count,
  late: count,
  failed: count,
  expired: count,
  /** Counted as disagreements because no answer had come. */
  assumed: count,
  /** Answers that differed from the local one, by how much. */
  disagreed: z.number().nonnegative(),
});

/** Evidence of one pair of models: what is promised, the threshold in use, and what has come of it. */
export const routeEvidence = z.object({
  /** What is promised. */
  agreement: ratio,
  confidence: ratio,
  scope: routeScope,
  /** Which two models it is about; null: not known yet. */
  edgeDigest: digest.nullable(),
  cloudDigest: digest.nullable(),
  ...standing.shape,
  /** What the audits say the local answers have had so far, and what it was at least, with the confidence of the promise. */
  estimated: z.object({ agreement: ratio, atLeast: ratio }).nullable(),
  counts: routeCounts,
  /** Against asking the cloud about every eligible request. */
  saved: z.object({
    requests: count,
    bytes: z.number().nonnegative(),
    /** By the pipeline's own prices; null: none are set. */
    money: z.number().nonnegative().nullable(),
    currency: z.string().max(8).nullable(),
  }),
  alarms: count,
  /** The newest alarm; null: none yet. */
  lastAlarm: routeAlarm.nullable(),
  /** One promise for each label; empty: one for all. */
  labels: z.array(standing.extend({ label: z.string().max(200) })).max(32),
});
export type RouteEvidence = z.infer<typeof routeEvidence>;
/** Epoch and threshold of one learner, with what they rest on. */
export type Standing = z.infer<typeof standing>;
