/** Answers of `image-classification`: labels with scores, as every classification has them. Pure. */
import { differenceOfLabels, lossOfLabels, routeScoreOfLabels, shownLabels } from '../judging/labels.ts';
import { smallestPicture } from '../judging/smallest.ts';
import type { Judge } from '../task.ts';

/** The judge of `image-classification`. */
export const imageClassificationJudge: Judge = {
  lossOf: lossOfLabels,
  routeScoreOf: routeScoreOfLabels,
  differenceOf: differenceOfLabels,
  smallestInput: smallestPicture,
  shown: shownLabels,
};
