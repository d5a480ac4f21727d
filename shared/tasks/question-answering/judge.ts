/** Answers of `question-answering`: spans of the context, compared by their words. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { logOddsOf } from '../judging/route-score.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestWord } from '../judging/smallest.ts';
import { lossOfWords } from '../judging/words.ts';
import type { Judge, MadeInput } from '../task.ts';
import { span } from './schema.ts';

const looseSpan = z.object({ answer: z.string().max(100_000), score: z.number().optional() });
/**
 * A recorded answer: alone, as transformers' pipeline writes it, or first of several. `score`: probability 0..1 of the answer; an
 * empty answer says that the text has none.
 */
export const spanAnswer = z.union([
  looseSpan,
  z
    .array(looseSpan)
    .min(1)
    .transform(([first]) => first as z.infer<typeof looseSpan>),
]);

/** The judge of `question-answering`. */
export const questionAnsweringJudge: Judge = {
  lossOf: (local, cloud) =>
    lossOfWords(spanAnswer.safeParse(local).data?.answer, spanAnswer.safeParse(cloud).data?.answer),
  routeScoreOf: routeScoreOfSpan,
  differenceOf: (expected, actual) =>
    spanAnswer.parse(expected).answer === spanAnswer.safeParse(actual).data?.answer
      ? undefined
      : unlike(expected, actual),
  smallestInput: smallestQuestion,
  shown: shownAs(z.array(span), (answer) => ({
    head: ['answer', 'score', 'from', 'to'],
    rows: answer.map(({ answer: text, score, start, end }) => [
      ...[text || '(none)', scoreText(score)],
      ...[String(start), String(end)],
    ]),
  })),
};

/** Log-odds of the answer. */
function routeScoreOfSpan(answer: unknown): number {
  const score = spanAnswer.safeParse(answer).data?.score;
  return score === undefined ? ROUTE_SCORE_FLOOR : logOddsOf(score, 0);
}

function smallestQuestion(which: 0 | 1): MadeInput {
  const word = smallestWord(which);
  return { body: Buffer.from(JSON.stringify({ question: word, context: word })) };
}
