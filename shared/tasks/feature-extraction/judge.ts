/** Answers of `feature-extraction`: embeddings, compared by their cosine similarity. Pure. */
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { cosineDistance } from '../judging/cosine.ts';
import { numbersText, shownAs, unlike } from '../judging/shown.ts';
import { smallestText } from '../judging/smallest.ts';
import { type LossOptions, lossOptions } from '../loss-options.ts';
import type { Judge } from '../task.ts';
import { embedding } from './schema.ts';

/** A recorded answer: f32[N,D], one row at least. */
const embeddingAnswer = embedding.min(1);

/** As golden answers are compared: what an embedding may lack of cosine similarity 1. */
const COSINE_TOLERANCE = lossOptions.parse({ tolerance: 0.01 });

/** The judge of `feature-extraction`. */
export const featureExtractionJudge: Judge = {
  lossOf: lossOfEmbeddings,
  // Chance: a vector says nothing of how sure its model was.
  routeScoreOf: (answer, random) =>
    embeddingAnswer.safeParse(answer).success ? random() : ROUTE_SCORE_FLOOR,
  differenceOf: (expected, actual) =>
    lossOfEmbeddings(actual, expected, COSINE_TOLERANCE) < 1 ? undefined : unlike(expected, actual),
  smallestInput: smallestText,
  shown: shownAs(embedding, (rows) => rows.map((row) => `[${row.length}] ${numbersText(row)}`).join('\n')),
};

/** Of the least similar row. */
function lossOfEmbeddings(local: unknown, cloud: unknown, { tolerance = 1 }: LossOptions): number {
  const [mine, theirs] = [embeddingAnswer.safeParse(local), embeddingAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success || mine.data.length !== theirs.data.length) return 1;
  const distances = mine.data.map((row, index) => cosineDistance(row, theirs.data[index] ?? []));
  return Math.min(1, Math.max(...distances) / tolerance);
}
