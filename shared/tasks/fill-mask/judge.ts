/** Answers of `fill-mask`: the best word of each mask decides. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { bestFirst } from '../judging/best-first.ts';
import { logOddsOf } from '../judging/route-score.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestWord } from '../judging/smallest.ts';
import { lossOfWords } from '../judging/words.ts';
import type { Judge } from '../task.ts';
import { type FilledMask, filledMasks } from './schema.ts';

/** A recorded answer, its words in any order: of one mask, or of each. */
const ofOne = z.array(z.object({ token_str: z.string(), score: z.number() })).min(1);
const filledAnswer = z.union([ofOne.transform((words) => [words]), z.array(ofOne).min(1)]);

/** The judge of `fill-mask`. */
export const fillMaskJudge: Judge = {
  lossOf: lossOfBest,
  routeScoreOf: routeScoreOfBest,
  differenceOf: (expected, actual) =>
    lossOfBest(actual, expected) === 0 ? undefined : unlike(expected, actual),
  smallestInput: async (which, { maskToken }) => ({
    body: Buffer.from(`${smallestWord(which)} ${await maskToken()}`),
  }),
  shown: shownAs(filledMasks, (answer) => ({
    head: ['word', 'score', 'text'],
    rows: (answer.flat() as FilledMask[]).map(({ token_str, score, sequence }) => [
      token_str,
      scoreText(score),
      sequence,
    ]),
  })),
};

/** The mean over all masks; those of another count are of another text. */
function lossOfBest(local: unknown, cloud: unknown): number {
  const [ours, theirs] = [bestWords(local), bestWords(cloud)];
  if (ours.length !== theirs.length || ours.length === 0) return 1;
  return theirs.reduce((sum, word, mask) => sum + lossOfWords(ours[mask], word), 0) / theirs.length;
}

/** The best word of each mask. */
function bestWords(answer: unknown): string[] {
  const masks = filledAnswer.safeParse(answer).data ?? [];
  return masks.flatMap((words) => bestFirst(words)[0]?.token_str ?? []);
}

/** Log-odds of the best word, of the least sure mask. */
function routeScoreOfBest(answer: unknown): number {
  const masks = filledAnswer.safeParse(answer).data;
  if (masks === undefined) return ROUTE_SCORE_FLOOR;
  return Math.min(...masks.map((words) => logOddsOf(Math.max(...words.map(({ score }) => score)), 0)));
}
