/**
 * What is said of a value that fits none of the forms that a schema takes: of the one that it was meant to be, what is wrong with it.
 * Zod says “Invalid input” alone. Loaded for its effect, by each program, before anything is parsed.
 */
import { z } from 'zod';
import { orNearest } from './near.ts';

type Issue = z.core.$ZodRawIssue;
type Wrong = z.core.$ZodIssue;

z.config({ customError: (issue) => (issue.code === 'invalid_union' ? sayUnion(issue) : sayFraction(issue)) });

/** Zod says of 1.5 that it is no int but a number. */
const sayFraction = ({ code, expected, input }: Issue): string | undefined =>
  code === 'invalid_type' && expected === 'int' && typeof input === 'number'
    ? `Invalid input: expected a whole number, received ${input}`
    : undefined;

/** @returns undefined where the schema’s own words have to do */
function sayUnion(issue: Extract<Issue, { code: 'invalid_union' }>): string | undefined {
  if (issue.discriminator !== undefined) return sayKind(issue.discriminator, issue);
  const { errors } = issue;
  const forms = (errors ?? []).filter((form) => form.length > 0);
  const meant = forms
    .filter((form) => !form.some(isOfAnotherType))
    .sort((one, other) => one.length - other.length)[0]?.[0];
  if (meant) return `${meant.path.length > 0 ? `${meant.path.join('.')}: ` : ''}${meant.message}`;
  const expected = [...new Set(forms.flatMap((form) => form.flatMap(expectedBy)))];
  return expected.length > 0 ? `Invalid input: expected ${expected.join(' or ')}` : undefined;
}

/** Of forms of which one field says which it is: what stands in it, and what could. */
function sayKind(field: string, { options, input }: Record<string, unknown>): string {
  const known = Array.isArray(options) ? options : [];
  const expected = `expected ${known.map((one) => JSON.stringify(one)).join(' or ')}`;
  const given: unknown = Object(input)[field];
  if (given === undefined) return `Missing: ${expected}`;
  return `Invalid input: ${expected}${typeof given === 'string' ? orNearest(given, known.map(String)) : ''}`;
}

/** It is not even of this form’s kind. */
const isOfAnotherType = ({ code, path }: Wrong): boolean =>
  path.length === 0 && (code === 'invalid_type' || code === 'invalid_value');

function expectedBy(issue: Wrong): string[] {
  if (issue.path.length > 0) return [];
  if (issue.code === 'invalid_type') return [issue.expected];
  return issue.code === 'invalid_value' ? issue.values.map((value) => JSON.stringify(value)) : [];
}
