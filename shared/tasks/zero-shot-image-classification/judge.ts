/** Answers of `zero-shot-image-classification`: labels with scores, as every classification has them. Pure. */
import { differenceOfLabels, lossOfLabels, routeScoreOfLabels, shownLabels } from '../judging/labels.ts';
import { smallestPicture, smallestWord } from '../judging/smallest.ts';
import type { Judge } from '../task.ts';

/** The judge of `zero-shot-image-classification`. */
export const zeroShotImageClassificationJudge: Judge = {
  lossOf: lossOfLabels,
  routeScoreOf: routeScoreOfLabels,
  differenceOf: differenceOfLabels,
  smallestInput: (which) => ({
    body: smallestPicture(which).body,
    parameters: { candidate_labels: [smallestWord(0), smallestWord(1)] },
  }),
  shown: shownLabels,
};
