/** Answers of `summarization`: shorter texts, compared by their words. Pure. */
import { smallestText } from '../judging/smallest.ts';
import { differenceOfTexts, lossOfTexts, routeScoreOfTexts, shownText } from '../judging/texts.ts';
import type { Judge } from '../task.ts';

/** The judge of `summarization`. */
export const summarizationJudge: Judge = {
  lossOf: lossOfTexts,
  routeScoreOf: routeScoreOfTexts,
  differenceOf: differenceOfTexts,
  smallestInput: smallestText,
  shown: shownText,
};
