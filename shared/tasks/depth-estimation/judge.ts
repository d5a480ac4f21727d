/** Answers of `depth-estimation`: compared whatever the scale and the shift of each, which most models leave open. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { decodeGreyPng } from '../forms/grey-png.ts';
import { shownAs, unlike } from '../judging/shown.ts';
import { smallestPicture } from '../judging/smallest.ts';
import type { LossOptions } from '../loss-options.ts';
import type { Judge } from '../task.ts';
import { depthEstimate } from './schema.ts';

/** A recorded answer; Python's pipeline gives no range. */
const depthAnswer = depthEstimate.extend({ min: z.number().nullish(), max: z.number().nullish() });

/** Places that are looked at, in each direction. */
const PLACES = 64;
/** As golden answers are compared. */
const SAME = 0.02;

/** The judge of `depth-estimation`. */
export const depthEstimationJudge: Judge = {
  lossOf: lossOfDepths,
  // Chance: a depth says nothing of how sure its model was.
  routeScoreOf: (answer, random) => (placesOf(answer) ? random() : ROUTE_SCORE_FLOOR),
  differenceOf: (expected, actual) =>
    lossOfDepths(actual, expected, {}) <= SAME ? undefined : unlike(rangeOf(expected), rangeOf(actual)),
  smallestInput: smallestPicture,
  shown: shownAs(depthEstimate, ({ depth, min, max }) => {
    const picture = decodeGreyPng(Buffer.from(depth, 'base64'));
    const size = picture ? `${picture.widthPx} x ${picture.heightPx} px` : 'no picture';
    return `depth of ${size}, from ${min.toFixed(4)} (black) to ${max.toFixed(4)} (white)`;
  }),
};

/**
 * Half the mean distance of two depths after each was shifted by its median and divided by its mean distance from that: the trimmed loss's
 * measure of Ranftl et al. (arXiv:1907.01341 eq. 5 to 7). Where a tolerance is said, mean distance in the model's unit, as a share of it.
 */
function lossOfDepths(local: unknown, cloud: unknown, { tolerance }: Pick<LossOptions, 'tolerance'>): number {
  const [mine, theirs] = [placesOf(local), placesOf(cloud)];
  if (!mine || !theirs) return 1;
  const [ours, others] = tolerance === undefined ? [aligned(mine), aligned(theirs)] : [mine, theirs];
  const mean =
    ours.reduce((sum, one, index) => sum + Math.abs(one - (others[index] as number)), 0) / ours.length;
  return Math.min(1, tolerance === undefined ? mean / 2 : mean / tolerance);
}

/** Depth of each place, in the unit of the answer; of its picture 0..1, where it says no range. */
function placesOf(answer: unknown): number[] | undefined {
  const parsed = depthAnswer.safeParse(answer).data;
  const picture = parsed && decodeGreyPng(Buffer.from(parsed.depth, 'base64'));
  if (!picture) return undefined;
  const { widthPx, heightPx, pixels } = picture;
  const [min, max] = [parsed.min ?? 0, parsed.max ?? 1];
  return Array.from({ length: PLACES * PLACES }, (_, place) => {
    const x = Math.floor((((place % PLACES) + 0.5) * widthPx) / PLACES);
    const y = Math.floor(((Math.floor(place / PLACES) + 0.5) * heightPx) / PLACES);
    return min + ((pixels[y * widthPx + x] as number) / 255) * (max - min);
  });
}

/** Shifted by the median, and divided by the mean distance from it; all the same is zeros. */
function aligned(depths: readonly number[]): number[] {
  const sorted = depths.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const spread = depths.reduce((sum, depth) => sum + Math.abs(depth - median), 0) / depths.length || 1;
  return depths.map((depth) => (depth - median) / spread);
}

const rangeOf = (answer: unknown): unknown => {
  const parsed = depthAnswer.safeParse(answer).data;
  return parsed ? { min: parsed.min, max: parsed.max } : 'no depth';
};
