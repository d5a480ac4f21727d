/** Answers in words and numbers for people: parts that several judges share. Pure. */
import type { z } from 'zod';
import type { AnswerTable } from '../task.ts';

/** Numbers of a row or a tensor that are shown. */
const SHOWN_NUMBERS = 8;

/** How answers of a form are shown; those of another are not. */
export const shownAs =
  <T>(form: z.ZodType<T>, show: (answer: T) => string | AnswerTable) =>
  (answer: unknown): string | AnswerTable | undefined => {
    const parsed = form.safeParse(answer);
    return parsed.success ? show(parsed.data) : undefined;
  };

/** `0.9812`. */
export const scoreText = (value: number): string => value.toFixed(4);

/** `0.1, 0.25, 3`; the first of them where there are many. */
export function numbersText(values: readonly (number | boolean | string)[]): string {
  const shown = values
    .slice(0, SHOWN_NUMBERS)
    .map((one) => (typeof one === 'number' ? Number(one.toFixed(4)) : one));
  return `${shown.join(', ')}${values.length > SHOWN_NUMBERS ? ', …' : ''}`;
}

/** Sentence about an answer that is not the golden one. */
export const unlike = (expected: unknown, actual: unknown): string =>
  `expected ${cut(expected)}, it answers ${cut(actual)}`;

const MAX_SHOWN = 120;
function cut(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
