/**
 * Takes what names people out of texts before they leave a pipeline: the requests to the cloud, shared Results, sinks. The local model
 * reads the text as it came. Numbers of phones by libphonenumber, expressions of people’s own by RE2, whose time is in proportion to the
 * text (a pattern of a backtracking engine can hold a device up for hours).
 */
import { type CountryCode, findPhoneNumbersInText, isSupportedCountry } from 'libphonenumber-js';
import { RE2JS } from 're2js';
import type { Result } from '../../shared/contract/result.ts';
import { isFailure } from '../../shared/contract/result.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { TASKS, type TaskInput, type TaskName } from '../../shared/tasks/tasks.ts';
import type { Redactor } from '../ports.ts';

/** What is to be taken out: by name, phone numbers as a country (ISO 3166-1) writes them too, or an expression of RE2. */
export type Redactable =
  | 'email'
  | 'phone'
  | 'card'
  | { readonly phone: string }
  | { readonly pattern: string; readonly as: string };

/** A part of a text, in UTF-16 units, and what it is. */
interface Part {
  readonly from: number;
  readonly to: number;
  readonly name: string;
}
type Find = (text: string) => Part[];

/** Their answers are places in the text, which must stay where they are. */
const HAS_PLACES: ReadonlySet<TaskName> = new Set(['token-classification', 'question-answering']);

/** RFC 5321 4.5.3.1 bounds both sides. */
const EMAIL = /[\p{L}\p{N}._%+-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,63}/gu;
/** ISO/IEC 7812: 12 to 19 digits, in groups as they are printed. */
const CARD = /(?<!\d)\d(?:[ -]?\d){11,18}(?!\d)/g;

/** @throws CONFIG_INVALID naming the entry whose expression or country is none */
export function openRedaction(
  config: readonly Redactable[],
  { task, at }: { readonly task: TaskName; readonly at: string },
): Redactor {
  const finders = config.map((one, index) => finderOf(one, `${at}.${index}`));
  return new Redaction(task, finders);
}

class Redaction implements Redactor {
  readonly #task: TaskName;
  readonly #finders: readonly Find[];

  constructor(task: TaskName, finders: readonly Find[]) {
    this.#task = task;
    this.#finders = finders;
  }

  text(text: string): string {
    const parts = this.#finders
      .flatMap((find) => find(text))
      .sort((one, other) => one.from - other.from || other.to - one.to);
    let [result, done] = ['', 0];
    for (const { from, to, name } of parts) {
      if (from >= done) result += text.slice(done, from) + this.#inPlaceOf(text.slice(from, to), name);
      else if (to > done) result += this.#inPlaceOf(text.slice(done, to), name);
      done = Math.max(done, to);
    }
    return result + text.slice(done);
  }

  input(input: TaskInput): TaskInput {
    const { inputKind } = TASKS[this.#task];
    if (inputKind !== 'text' && inputKind !== 'json') return input;
    const json = inputKind === 'json' ? tryParseJson(input.body) : undefined;
    if (inputKind === 'json' && json === undefined) return input;
    const redacted =
      json === undefined
        ? this.text(Buffer.from(input.body).toString('utf8'))
        : JSON.stringify(this.#within(json));
    return { ...input, body: Buffer.from(redacted, 'utf8') };
  }

  result(result: Result): Result {
    return isFailure(result) ? result : { ...result, output: this.#within(result.output) };
  }

  /** Places are counted in code points. */
  #inPlaceOf(part: string, name: string): string {
    return HAS_PLACES.has(this.#task) ? '*'.repeat(Array.from(part).length) : `[${name}]`;
  }

  #within(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((one) => this.#within(one));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, this.#within(one)]));
  }
}

function finderOf(one: Redactable, at: string): Find {
  if (one === 'email') return (text) => matches(text, EMAIL, one);
  if (one === 'card')
    return (text) => matches(text, CARD, one).filter(({ from, to }) => isCard(text.slice(from, to)));
  if (one === 'phone') return phones(undefined);
  if ('phone' in one) {
    if (!isSupportedCountry(one.phone))
      throw new AppError('CONFIG_INVALID', `${at}.phone: no country has the code ${one.phone}`);
    return phones(one.phone);
  }
  return expression(one, at);
}

/** @param country numbers are read as they are dialled there, too; undefined: international ones alone */
function phones(country: CountryCode | undefined): Find {
  return (text) =>
    findPhoneNumbersInText(text, country).map(({ startsAt, endsAt }) => ({
      ...{ from: startsAt, to: endsAt, name: 'phone' },
    }));
}

/** @throws CONFIG_INVALID */
function expression({ pattern, as }: Extract<Redactable, { pattern: string }>, at: string): Find {
  let compiled: ReturnType<typeof RE2JS.compile>;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('CONFIG_INVALID', `${at}.pattern: ${why}`, { cause: error });
  }
  return (text) => {
    const found: Part[] = [];
    const matcher = compiled.matcher(text);
    while (matcher.find())
      if (matcher.end() > matcher.start()) found.push({ from: matcher.start(), to: matcher.end(), name: as });
    return found;
  };
}

const matches = (text: string, pattern: RegExp, name: string): Part[] =>
  [...text.matchAll(pattern)].map((match) => ({
    from: match.index,
    to: match.index + match[0].length,
    name,
  }));

/** Luhn's check digit (ISO/IEC 7812-1, annex B). */
function isCard(text: string): boolean {
  const digits = Array.from(text.replace(/\D/g, ''), Number).reverse();
  const sum = digits.reduce((total, digit, index) => {
    const doubled = index % 2 === 1 ? digit * 2 : digit;
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}
