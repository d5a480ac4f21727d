/** Answers of `text-ranking`: compared by the order that they give the texts. Pure. */
import { z } from 'zod';
import { boundedScore, ROUTE_SCORE_FLOOR } from '../classification.ts';
import { kendallDistance, orderCertainty } from '../judging/orders.ts';
import { logOddsOf } from '../judging/route-score.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestWord } from '../judging/smallest.ts';
import type { LossOptions } from '../loss-options.ts';
import type { AnswerTable, Judge, MadeInput } from '../task.ts';
import { type RankedText, rankedText } from './schema.ts';

/** A recorded answer. Comparing takes the square of its length. */
const rankingAnswer = z.array(rankedText).min(1).max(1_000);

/** Scores 0..1 may differ by this from golden ones; logits by so much of what they are. */
const SCORE_TOLERANCE = 0.05;

/** The judge of `text-ranking`. */
export const textRankingJudge: Judge = {
  lossOf: lossOfRankings,
  routeScoreOf: routeScoreOfRanking,
  differenceOf: differenceOfRankings,
  smallestInput: smallestRanking,
  shown: shownAs(z.array(rankedText), shownRanking),
};

/**
 * Share of the cloud's pairs of texts that stand the other way round; where a tolerance is said, the largest difference of two scores
 * of a text, as a share of it.
 */
function lossOfRankings(local: unknown, cloud: unknown, { tolerance }: LossOptions): number {
  const [mine, theirs] = [rankingAnswer.safeParse(local), rankingAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return 1;
  const ours = scoresLike(mine.data, theirs.data);
  if (!ours) return 1;
  const others = theirs.data.map(({ score }) => score);
  if (tolerance === undefined && others.length > 1) return kendallDistance(ours, others);
  const differences = others.map((score, index) => Math.abs(score - (ours[index] as number)));
  return Math.min(1, Math.max(...differences) / (tolerance ?? 1));
}

/** Our scores in the order of theirs; undefined where they are of other texts. */
function scoresLike(mine: readonly RankedText[], theirs: readonly RankedText[]): number[] | undefined {
  const scores = new Map(mine.map(({ index, score }) => [index, score]));
  const ours = theirs.flatMap(({ index }) => scores.get(index) ?? []);
  return ours.length === theirs.length && mine.length === theirs.length ? ours : undefined;
}

function routeScoreOfRanking(answer: unknown): number {
  const ranking = rankingAnswer.safeParse(answer).data;
  if (!ranking) return ROUTE_SCORE_FLOOR;
  const areProbabilities = ranking.every(({ score }) => score >= 0 && score <= 1);
  return boundedScore(
    orderCertainty(ranking.map(({ score }) => (areProbabilities ? logOddsOf(score, 0) : score))),
  );
}

function differenceOfRankings(expected: unknown, actual: unknown): string | undefined {
  const [golden, given] = [rankingAnswer.parse(expected), rankingAnswer.safeParse(actual)];
  const scores = given.success ? scoresLike(given.data, golden) : undefined;
  const isNear = scores?.every((score, at) => {
    const wanted = golden[at]?.score ?? 0;
    return Math.abs(score - wanted) <= SCORE_TOLERANCE * Math.max(1, Math.abs(wanted));
  });
  return isNear ? undefined : unlike(expected, actual);
}

function smallestRanking(which: 0 | 1): MadeInput {
  const word = smallestWord(which);
  return { body: Buffer.from(JSON.stringify({ query: word, texts: [word] })) };
}

/** A row a text. */
function shownRanking(answer: readonly RankedText[]): AnswerTable {
  const hasTexts = answer.some(({ text }) => text !== undefined);
  return {
    head: ['index', 'score', ...(hasTexts ? ['text'] : [])],
    rows: answer.map(({ index, score, text = '' }) => [
      ...[String(index), scoreText(score)],
      ...(hasTexts ? [text] : []),
    ]),
  };
}
