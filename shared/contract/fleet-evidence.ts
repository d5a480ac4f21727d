/**
 * Evidence of a fleet about a pair of models: what devices tell of it, and what the hub gives a new device to start from. Route scores lie on
 * one scale for all devices and models: its places follow each other by a fortieth of their score, so that no device has to say first
 * where they are.
 */
import { z } from 'zod';
import { digest } from './names.ts';

const count = z.int().nonnegative();

/** Places go from the negative of this to it. */
export const LAST_SCORE_PLACE = 488;
const STEP = 0.025;
/** Scores nearer to 0 than this are told apart evenly, larger ones by their logarithm. */
const SCALE = 0.001;

/** Lowest scores of the places, ascending: from -99.5 to 99.5. */
const EDGES = Float64Array.from(
  { length: 2 * LAST_SCORE_PLACE + 1 },
  (_, index) => SCALE * Math.sinh((index - LAST_SCORE_PLACE) * STEP),
);

/** The lowest score of a place. @param place whole, -LAST_SCORE_PLACE to LAST_SCORE_PLACE; what is beyond is as the nearest */
export const scoreEdge = (place: number): number =>
  EDGES[Math.min(EDGES.length - 1, Math.max(0, place + LAST_SCORE_PLACE))] ?? 0;

/** The place of a score; null: it is below all of them, as unsure as can be. */
export function scorePlace(score: number): number | null {
  let [low, high] = [0, EDGES.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (score >= (EDGES[middle] ?? 0)) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? null : low - 1 - LAST_SCORE_PLACE;
}

/** In which way answers are compared, beside the two models: by a hash of the pipeline's `route.loss` and parameters. */
const comparedBy = z.string().regex(/^[0-9a-f]{16}$/, '16 hex digits');

/** Promises of one device about a pair. */
export const MAX_THRESHOLDS = 10;

/** Pairs that a hub shows. */
export const MAX_KNOWN_PAIRS = 100;

/** Numbers that say how the scores of a device spread. */
export const TWENTIETHS = 19;

/** Pairs that a device tells of, or is told of, at a time. */
export const MAX_PAIRS = 20;

/**
 * What a device has seen of a pair of models since its world last changed: sums over requests that the cloud could have been asked about, by
 * the place of their score. Nothing of the inputs is in it.
 */
export const pairEvidence = z.object({
  edgeDigest: digest,
  cloudDigest: digest,
  comparedBy,
  /** Requests whose fate is known: asked, or not asked. One that was asked and has no answer counts as a whole disagreement. */
  requests: count,
  /** … of which the cloud was asked. */
  asked: count,
  /** Sum of 1 / probability² over the asked ones: how much may hide where nothing was found. */
  weights: z.number().nonnegative(),
  /** Sum of loss / probability over the asked ones. */
  loss: z.number().nonnegative(),
  /** … of it by the place of the route score; places without any are left out, and what is below all places. */
  places: z
    .array(z.tuple([z.int().min(-LAST_SCORE_PLACE).max(LAST_SCORE_PLACE), z.number().nonnegative()]))
    .max(2 * LAST_SCORE_PLACE + 1),
  /**
   * How the route scores spread: the place that a twentieth of the requests is at or above, that two twentieths are, up to nineteen; what is
   * below all places is one below the lowest.
   */
  twentieths: z
    .array(
      z
        .int()
        .min(-LAST_SCORE_PLACE - 1)
        .max(LAST_SCORE_PLACE),
    )
    .length(TWENTIETHS),
});
export type PairEvidence = z.infer<typeof pairEvidence>;

/**
 * How much a start from the fleet's evidence says. `devices`: a bound for one more device, from 20 or more that differ as they do. `few`: from 3
 * to 19, with half of what the promise allows.
 */
const fleetStanding = z.enum(['devices', 'few']);

/** A threshold for one promise, and on whose evidence. */
export const fleetThreshold = z.object({
  /** Promised agreement with the cloud, 0..1, of all requests together. */
  agreement: z.number().gt(0).lt(1),
  /** Of the promise, 0..1. */
  confidence: z.number().gt(0).lt(1),
  /** Lowest route score that may stay local. */
  threshold: z.number(),
  /** Share 0..1 of the requests of those devices that is below it, to a twentieth. */
  escalated: z.number().min(0).max(1),
  standing: fleetStanding,
  /** Devices whose evidence it is. */
  devices: z.int().positive(),
  /** Requests of theirs. */
  requests: count,
});
export type FleetThreshold = z.infer<typeof fleetThreshold>;

/** What a device that knows nothing of a pair yet may start from: thresholds that the evidence of the others carries. */
export const fleetStart = z.object({
  edgeDigest: digest,
  cloudDigest: digest,
  comparedBy,
  /** For each promise that the device makes of the pair. */
  thresholds: z.array(fleetThreshold).max(MAX_THRESHOLDS),
});
export type FleetStart = z.infer<typeof fleetStart>;

/** How much there is of what devices tell. */
const evidenceSight = z.object({
  /** Devices whose word counts. */
  devices: count,
  /** Versions, or pairs of models, that they tell of. */
  subjects: count,
  /** When the one was heard whose word is the oldest; null: none was. */
  oldestAtMs: z.number().nullable(),
});
export type EvidenceSight = z.infer<typeof evidenceSight>;

/** Evidence that a hub keeps of its devices. */
export const evidenceStatus = z.object({
  /** Of versions of models: by it rollouts go on or are stopped. */
  versions: evidenceSight,
  /** Of pairs of models: from it devices start that know nothing of one yet. */
  pairs: evidenceSight,
  /** The pairs of which most devices tell, at most 100. */
  known: z
    .array(
      z.object({
        edgeDigest: digest,
        cloudDigest: digest,
        comparedBy,
        /** Devices that have seen enough of it: from 3 on another one may start. */
        devices: count,
        /** Requests of theirs. */
        requests: count,
      }),
    )
    .max(MAX_KNOWN_PAIRS),
});
export type EvidenceStatus = z.infer<typeof evidenceStatus>;
