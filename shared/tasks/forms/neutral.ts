/**
 * Parameters that official clients send and that are not done here: at a neutral value they change no answer and are left out, at
 * any other they are refused by name. null is the same as nothing, as Python's clients mean it.
 */
import { AppError } from '../../runtime/errors.ts';

/** Values at which a parameter changes nothing, by its name; below a name of an object: those of its fields. */
export interface NeutralValues {
  readonly [name: string]: readonly unknown[] | NeutralValues;
}

/** Neutral values of what steers generation, in transformers' names. */
export const NEUTRAL_GENERATION: NeutralValues = {
  diversity_penalty: [0],
  encoder_no_repeat_ngram_size: [0],
  encoder_repetition_penalty: [1],
  epsilon_cutoff: [0],
  eta_cutoff: [0],
  num_beam_groups: [1],
  num_return_sequences: [1],
  penalty_alpha: [0],
  // A matter of speed.
  use_cache: [true, false],
};

/**
 * The parameters without what is null or neutral.
 *
 * @param path of the parameters, for messages: `parameters`
 * @throws PARAMETERS_INVALID where a value of what is not done here would change the answer
 */
export function withoutNeutral(
  given: Readonly<Record<string, unknown>>,
  neutral: NeutralValues,
  path: string,
): Record<string, unknown> {
  const kept = Object.entries(given).flatMap(([name, value]): [string, unknown][] => {
    if (value === null || value === undefined) return [];
    const known = Object.hasOwn(neutral, name) ? neutral[name] : undefined;
    if (known === undefined) return [[name, value]];
    if (isNested(known))
      return [[name, isObject(value) ? withoutNeutral(value, known, `${path}.${name}`) : value]];
    if (known.some((one) => JSON.stringify(one) === JSON.stringify(value))) return [];
    throw new AppError(
      'PARAMETERS_INVALID',
      `${path}.${name}: ${allowed(known)}; another value would change the answer, and is not done here`,
      { details: { param: [...path.split('.').slice(1), name].join('.'), isDone: false } },
    );
  });
  return Object.fromEntries(kept);
}

const isNested = (known: readonly unknown[] | NeutralValues): known is NeutralValues => !Array.isArray(known);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const allowed = (values: readonly unknown[]): string =>
  ['null', ...values.map((one) => JSON.stringify(one))].join(' or ');
