/** Answers of `time-series-classification`: labels with scores, as every classification has them. Pure. */
import { differenceOfLabels, lossOfLabels, routeScoreOfLabels, shownLabels } from '../judging/labels.ts';
import type { Judge, MadeInput, ModelFacts } from '../task.ts';

/** Where nothing says how long a window is. */
const USUAL_LENGTH = 64;

/** The judge of `time-series-classification`. */
export const timeSeriesClassificationJudge: Judge = {
  lossOf: lossOfLabels,
  routeScoreOf: routeScoreOfLabels,
  differenceOf: differenceOfLabels,
  smallestInput: constantSeries,
  shown: shownLabels,
};

/** A window in which nothing happens, of zeros or of ones. @throws MODEL_INVALID */
async function constantSeries(value: 0 | 1, { windowShape }: ModelFacts): Promise<MadeInput> {
  const { length, channels } = await windowShape();
  const row = Array.from({ length: channels }, () => value);
  const values = Array.from({ length: length ?? USUAL_LENGTH }, () => row);
  return { body: Buffer.from(JSON.stringify({ values })) };
}
