/** Answers of `zero-shot-classification`: labels with scores, as every classification has them. Pure. */
import { differenceOfLabels, lossOfLabels, routeScoreOfLabels, shownLabels } from '../judging/labels.ts';
import { smallestText, smallestWord } from '../judging/smallest.ts';
import type { Judge } from '../task.ts';

/** The judge of `zero-shot-classification`. */
export const zeroShotClassificationJudge: Judge = {
  lossOf: lossOfLabels,
  routeScoreOf: routeScoreOfLabels,
  differenceOf: differenceOfLabels,
  smallestInput: (which) => ({
    body: smallestText(which).body,
    parameters: { candidate_labels: [smallestWord(which)] },
  }),
  shown: shownLabels,
};
