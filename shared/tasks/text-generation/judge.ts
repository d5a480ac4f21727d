/** Answers of `text-generation`: texts that go on, compared by their words. Pure. */
import { smallestText } from '../judging/smallest.ts';
import { differenceOfTexts, lossOfTexts, routeScoreOfTexts, shownText } from '../judging/texts.ts';
import type { Judge } from '../task.ts';

/** The judge of `text-generation`. */
export const textGenerationJudge: Judge = {
  lossOf: lossOfTexts,
  routeScoreOf: routeScoreOfTexts,
  differenceOf: differenceOfTexts,
  smallestInput: smallestText,
  shown: shownText,
};
