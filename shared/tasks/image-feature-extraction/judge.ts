/** Answers of `image-feature-extraction`: numbers, compared by their cosine similarity. Pure. */
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { cosineDistance } from '../judging/cosine.ts';
import { numbersText, shownAs, unlike } from '../judging/shown.ts';
import { smallestPicture } from '../judging/smallest.ts';
import { type LossOptions, lossOptions } from '../loss-options.ts';
import type { Judge } from '../task.ts';
import { type ImageFeatures, imageFeatures } from './schema.ts';

/** As golden answers are compared: what numbers may lack of cosine similarity 1. */
const COSINE_TOLERANCE = lossOptions.parse({ tolerance: 0.01 });

/** The judge of `image-feature-extraction`. */
export const imageFeatureExtractionJudge: Judge = {
  lossOf: lossOfFeatures,
  // Chance: numbers say nothing of how sure their model was.
  routeScoreOf: (answer, random) => (imageFeatures.safeParse(answer).success ? random() : ROUTE_SCORE_FLOOR),
  differenceOf: (expected, actual) =>
    lossOfFeatures(actual, expected, COSINE_TOLERANCE) < 1 ? undefined : unlike(expected, actual),
  smallestInput: smallestPicture,
  shown: shownAs(imageFeatures, (answer) => `[${shapeOf(answer)}] ${numbersText(flat(answer))}`),
};

/** Of all numbers as one vector. */
function lossOfFeatures(local: unknown, cloud: unknown, { tolerance = 1 }: LossOptions): number {
  const [mine, theirs] = [imageFeatures.safeParse(local), imageFeatures.safeParse(cloud)];
  if (!mine.success || !theirs.success || shapeOf(mine.data) !== shapeOf(theirs.data)) return 1;
  return Math.min(1, cosineDistance(flat(mine.data), flat(theirs.data)) / tolerance);
}

/** `1, 197, 768` */
function shapeOf(features: ImageFeatures): string {
  const shape: number[] = [];
  for (let at: unknown = features; Array.isArray(at); at = at[0]) shape.push(at.length);
  return shape.join(', ');
}

const flat = (features: ImageFeatures): number[] => features.flat(3) as number[];
