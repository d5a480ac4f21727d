/** Answers of `translation`: texts in another language, compared by their words. Pure. */
import { smallestText } from '../judging/smallest.ts';
import { differenceOfTexts, lossOfTexts, routeScoreOfTexts, shownText } from '../judging/texts.ts';
import type { Judge } from '../task.ts';

/** The judge of `translation`. */
export const translationJudge: Judge = {
  lossOf: lossOfTexts,
  routeScoreOf: routeScoreOfTexts,
  differenceOf: differenceOfTexts,
  smallestInput: smallestText,
  shown: shownText,
};
