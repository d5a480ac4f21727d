/** Answers of `text-classification`: labels with scores, as every classification has them. Pure. */
import { differenceOfLabels, lossOfLabels, routeScoreOfLabels, shownLabels } from '../judging/labels.ts';
import { smallestText } from '../judging/smallest.ts';
import type { Judge } from '../task.ts';

/** The judge of `text-classification`. */
export const textClassificationJudge: Judge = {
  lossOf: lossOfLabels,
  routeScoreOf: routeScoreOfLabels,
  differenceOf: differenceOfLabels,
  smallestInput: smallestText,
  shown: shownLabels,
};
