/** Answers of `image-to-text`: descriptions, compared by their words. Pure. */
import { smallestPicture } from '../judging/smallest.ts';
import { differenceOfTexts, lossOfTexts, routeScoreOfTexts, shownText } from '../judging/texts.ts';
import type { Judge } from '../task.ts';

/** The judge of `image-to-text`. */
export const imageToTextJudge: Judge = {
  lossOf: lossOfTexts,
  routeScoreOf: routeScoreOfTexts,
  differenceOf: differenceOfTexts,
  smallestInput: smallestPicture,
  shown: shownText,
};
