/** Answers of `fill-mask`: the best word decides. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { bestFirst } from '../judging/best-first.ts';
import { logOddsOf } from '../judging/route-score.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestWord } from '../judging/smallest.ts';
import { lossOfWords } from '../judging/words.ts';
import type { Judge } from '../task.ts';
import { filledMask } from './schema.ts';

/** A recorded answer, in any order. */
const filledAnswer = z.array(z.object({ token_str: z.string(), score: z.number() })).min(1);

/** The judge of `fill-mask`. */
export const fillMaskJudge: Judge = {
  lossOf: lossOfBest,
  routeScoreOf: routeScoreOfBest,
  differenceOf: (expected, actual) =>
    lossOfBest(actual, expected) === 0 ? undefined : unlike(expected, actual),
  smallestInput: async (which, { maskToken }) => ({
    body: Buffer.from(`${smallestWord(which)} ${await maskToken()}`),
  }),
  shown: shownAs(z.array(filledMask), (answer) => ({
    head: ['word', 'score', 'text'],
    rows: answer.map(({ token_str, score, sequence }) => [token_str, scoreText(score), sequence]),
  })),
};

function lossOfBest(local: unknown, cloud: unknown): number {
  return lossOfWords(bestWord(local), bestWord(cloud));
}

function bestWord(answer: unknown): string | undefined {
  const [best] = bestFirst(filledAnswer.safeParse(answer).data ?? []);
  return best?.token_str;
}

/** Log-odds of the best word. */
function routeScoreOfBest(answer: unknown): number {
  const filled = filledAnswer.safeParse(answer).data;
  return filled ? logOddsOf(Math.max(...filled.map(({ score }) => score)), 0) : ROUTE_SCORE_FLOOR;
}
