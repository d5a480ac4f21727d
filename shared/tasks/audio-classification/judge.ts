/** Answers of `audio-classification`: labels with scores, as every classification has them. Pure. */
import { differenceOfLabels, lossOfLabels, routeScoreOfLabels, shownLabels } from '../judging/labels.ts';
import { smallestSound } from '../judging/smallest.ts';
import type { Judge } from '../task.ts';

/** The judge of `audio-classification`. */
export const audioClassificationJudge: Judge = {
  lossOf: lossOfLabels,
  routeScoreOf: routeScoreOfLabels,
  differenceOf: differenceOfLabels,
  smallestInput: smallestSound,
  shown: shownLabels,
};
