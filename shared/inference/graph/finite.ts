/**
 * Numbers that a graph gives, before anything is made of them: NaN and infinity would become a plausible answer (softmax of NaN is
 * even, a vector of NaN zeros), so they are an error of their own. What a `tensor` model gives is its answer, and passes as it is
 * (docs/decisions/0024). Pure.
 */
import { AppError, isAppError } from '../../runtime/errors.ts';
import type { Answer } from '../runner/task-model.ts';

/** @param what for people: `the logits` @throws OUTPUT_NOT_FINITE */
export function requireFinite(values: ArrayLike<number>, what: string): void {
  for (let at = 0; at < values.length; at++)
    if (!Number.isFinite(values[at])) throw notFinite(what, values[at] as number);
}

/**
 * For scores of a whole vocabulary, where minus infinity says "never", as transformers has it.
 *
 * @throws OUTPUT_NOT_FINITE for NaN, infinity, and a vocabulary of which nothing may be said
 */
export function requireScores(values: ArrayLike<number>, what: string): void {
  let isAny = false;
  for (let at = 0; at < values.length; at++) {
    const value = values[at] as number;
    if (Number.isFinite(value)) isAny = true;
    else if (value !== Number.NEGATIVE_INFINITY) throw notFinite(what, value);
  }
  if (!isAny) throw notFinite(what, Number.NEGATIVE_INFINITY);
}

const notFinite = (what: string, value: number): AppError =>
  new AppError('OUTPUT_NOT_FINITE', `${what} of the model hold ${value}, which says nothing`);

/** The answer of each row: where one is not finite, its neighbours have theirs. @throws what else is wrong, of all of them */
export const answerEach = <Row>(
  rows: readonly Row[],
  answer: (row: Row, index: number) => Answer,
): (Answer | AppError)[] =>
  rows.map((row, index) => {
    try {
      return answer(row, index);
    } catch (error) {
      if (isAppError(error, 'OUTPUT_NOT_FINITE') || isAppError(error, 'OUTPUT_NOT_TEXT')) return error;
      throw error;
    }
  });
