/** Reads the body of a `json` input: the task's `inputs`, in UTF-8. Pure. */
import type { ZodType } from 'zod';
import { AppError } from '../../runtime/errors.ts';
import { decodeUtf8 } from './utf8.ts';

/** Of the problems of one body; a hostile one could have a million. */
const MAX_PROBLEMS = 3;

/** @throws TEXT_INVALID (not UTF-8), INPUT_INVALID naming the field */
export function readJsonInput<T>(body: Uint8Array, schema: ZodType<T>): T {
  return readAs(parseJson(body), schema);
}

/** @throws INPUT_INVALID naming the field */
export function readAs<T>(json: unknown, schema: ZodType<T>): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues
    .slice(0, MAX_PROBLEMS)
    .map(({ path, message }) => `${path.join('.') || 'the input'}: ${message}`);
  throw new AppError('INPUT_INVALID', problems.join('; '));
}

/** @throws TEXT_INVALID, INPUT_INVALID */
export function parseJson(body: Uint8Array): unknown {
  const text = decodeUtf8(body);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError('INPUT_INVALID', 'the input is not JSON', { cause: error });
  }
}
