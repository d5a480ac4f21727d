/** Answers of `sentence-similarity`: cosines, compared by the order that they give the sentences. Pure. */
import { z } from 'zod';
import { boundedScore, ROUTE_SCORE_FLOOR } from '../classification.ts';
import { kendallDistance } from '../judging/orders.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestWord } from '../judging/smallest.ts';
import type { LossOptions } from '../loss-options.ts';
import type { Judge, MadeInput } from '../task.ts';
import { similarities } from './schema.ts';

/** A recorded answer. Comparing takes the square of its length. */
const cosinesAnswer = z.array(z.number()).min(1).max(1_000);

/** Cosines may differ by this from golden ones. */
const TOLERANCE = 0.02;

/** The judge of `sentence-similarity`. */
export const sentenceSimilarityJudge: Judge = {
  lossOf: lossOfCosines,
  routeScoreOf(answer) {
    const cosines = cosinesAnswer.safeParse(answer).data;
    return cosines ? certaintyOf(cosines) : ROUTE_SCORE_FLOOR;
  },
  differenceOf: (expected, actual) =>
    largestDifference(expected, actual) <= TOLERANCE ? undefined : unlike(expected, actual),
  smallestInput: smallestComparison,
  shown: shownAs(similarities, (answer) => ({
    head: ['sentence', 'cosine'],
    rows: answer.map((cosine, index) => [String(index + 1), scoreText(cosine)]),
  })),
};

/**
 * How sure the order of sentences is: what the nearest two neighbours lie apart, of one sentence alone the cosine's distance from none.
 *
 * @param cosines one at least
 */
export function certaintyOf(cosines: readonly number[]): number {
  const sorted = cosines.toSorted((a, b) => b - a);
  const gaps = sorted.slice(1).map((cosine, index) => (sorted[index] as number) - cosine);
  return boundedScore(gaps.length === 0 ? Math.abs(sorted[0] ?? 0) : Math.min(...gaps));
}

/** Share of pairs that stand the other way round; of one sentence, or where a tolerance is said, the largest difference as a share of it. */
function lossOfCosines(local: unknown, cloud: unknown, { tolerance }: LossOptions): number {
  const [mine, theirs] = [cosinesAnswer.safeParse(local), cosinesAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success || mine.data.length !== theirs.data.length) return 1;
  if (tolerance === undefined && mine.data.length > 1) return kendallDistance(mine.data, theirs.data);
  return Math.min(1, largestDifference(mine.data, theirs.data) / (tolerance ?? 1));
}

/** Infinite where they are of other counts. */
function largestDifference(one: unknown, other: unknown): number {
  const [ours, others] = [cosinesAnswer.safeParse(one).data, cosinesAnswer.safeParse(other).data];
  if (!ours || ours.length !== others?.length) return Number.POSITIVE_INFINITY;
  return Math.max(...ours.map((cosine, index) => Math.abs(cosine - (others[index] as number))));
}

function smallestComparison(which: 0 | 1): MadeInput {
  const word = smallestWord(which);
  return { body: Buffer.from(JSON.stringify({ source_sentence: word, sentences: [word] })) };
}
