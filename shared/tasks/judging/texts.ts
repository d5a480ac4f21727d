/** Written texts, judged: shared by the tasks whose models generate. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { shownAs, unlike } from './shown.ts';
import { lossOfWords } from './words.ts';

/** The text of a generating task, under the name that its task gives it. */
export const textAnswer = z.union([
  z.object({ translation_text: z.string() }).transform(({ translation_text }) => translation_text),
  z.object({ summary_text: z.string() }).transform(({ summary_text }) => summary_text),
  z.object({ generated_text: z.string() }).transform(({ generated_text }) => generated_text),
  z.object({ text: z.string() }).transform(({ text }) => text),
]);

/** 1 - F1 of the words. */
export const lossOfTexts = (local: unknown, cloud: unknown): number =>
  lossOfWords(textAnswer.safeParse(local).data, textAnswer.safeParse(cloud).data);

/** Chance: a text says nothing of how sure its model was. */
export const routeScoreOfTexts = (answer: unknown, random: () => number): number =>
  textAnswer.safeParse(answer).success ? random() : ROUTE_SCORE_FLOOR;

/** Word for word. */
export const differenceOfTexts = (expected: unknown, actual: unknown): string | undefined =>
  lossOfTexts(actual, expected) === 0 ? undefined : unlike(expected, actual);

/** The text alone. */
export const shownText = shownAs(textAnswer, (text) => text);
