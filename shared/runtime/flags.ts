/** Reads a program's own flags and checks values with a schema: all problems at once, each naming its key. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { type ZodType, z } from 'zod';
import { AppError } from './errors.ts';

type Flags = NonNullable<ParseArgsConfig['options']>;

/** @throws USAGE naming what is wrong and where help is */
export const readFlags = <T extends Flags>(argv: readonly string[], options: T, program: string) =>
  parsed({ args: [...argv], options, allowPositionals: false }, program).values;

/** Reads flags and arguments of a program. @throws USAGE naming what is wrong and where help is */
export const readArguments = <T extends Flags>(argv: readonly string[], options: T, program: string) =>
  parsed({ args: [...argv], options, allowPositionals: true }, program);

function parsed<T extends ParseArgsConfig>(config: T, program: string) {
  try {
    return parseArgs(config);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('USAGE', `${why}; see ${program} --help`, { cause: error });
  }
}

/**
 * @param name makes of a key what people know it by
 * @throws USAGE or CONFIG_INVALID
 */
export function checkAll<T>(
  schema: ZodType<T>,
  value: unknown,
  code: 'USAGE' | 'CONFIG_INVALID',
  name: (key: string) => string,
): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `${name(issue.path.join('.') || 'top')}: ${issue.message}`,
  );
  throw new AppError(code, problems.join('; '), { cause: parsed.error });
}

/** A flag that is a whole number in decimal digits. `Number` alone takes '' for 0, and '0x50' for 80. */
export const wholeNumber = (min: number, max: number) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.string().regex(/^\d+$/, error).transform(Number).pipe(z.number().min(min, error).max(max, error));
};

/** Port that a flag names; 0: any that is free. */
export const portNumber = wholeNumber(0, 65_535);
