/** JSON from bytes that somebody else wrote. */
import { AppError } from './errors.ts';

/** @returns undefined where the bytes are no JSON; check the value with a schema */
export function tryParseJson(bytes: Uint8Array): unknown {
  const text = textOf(bytes);
  if (tooDeepAt(text) !== undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The value of a JSON text; check it with a schema.
 *
 * @throws BAD_REQUEST, naming the line and the column where it breaks, or is nested deeper than anybody means
 */
export function parseJson(bytes: Uint8Array): unknown {
  const text = textOf(bytes);
  const deepAt = tooDeepAt(text);
  if (deepAt !== undefined)
    throw broken(text, firstFault(text) ?? { at: deepAt, what: `over ${MAX_DEPTH} brackets are open` });
  try {
    return JSON.parse(text);
  } catch (error) {
    // What the engine says differs by version, and may quote the text.
    throw broken(text, firstFault(text) ?? { at: text.length, what: 'it cannot be read' }, error);
  }
}

function broken(text: string, { what, at }: Fault, cause?: unknown): AppError {
  const before = text.slice(0, at).split('\n');
  const column = Array.from(before.at(-1) ?? '').length + 1;
  return new AppError(
    'BAD_REQUEST',
    `the JSON is broken at line ${before.length}, column ${column}: ${what}`,
    cause === undefined ? {} : { cause },
  );
}

/**
 * The value of a JSON file as Python writes and reads it: with `NaN` and `Infinity`, which come as null.
 *
 * @throws BAD_REQUEST as `parseJson`
 */
export function parsePythonJson(bytes: Uint8Array): unknown {
  const plain = tryParseJson(bytes);
  if (plain !== undefined) return plain;
  const text = textOf(bytes).replace(STRING_OR_CONSTANT, (found) => (found.startsWith('"') ? found : 'null'));
  return parseJson(Buffer.from(text));
}

/** Python, json.decoder: the constants that are no JSON, wherever they are no part of a string. */
const STRING_OR_CONSTANT = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/gs;

/** Without the mark that Windows' editors begin a file with. RFC 8259 8.1 */
const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .toString('utf8')
    .replace(/^\ufeff/, '');

/** What anybody means is some levels deep; brackets by the hundred thousand cost ten times the parser's usual time, and a stack later on. */
const MAX_DEPTH = 128;
const [QUOTE, BACKSLASH] = [0x22, 0x5c];

/** @returns where a bracket is open too many, by one look at each character outside of strings */
function tooDeepAt(text: string): number | undefined {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at);
        if (at < 0) return undefined;
        break;
      // [ and {
      case 0x5b:
      case 0x7b:
        depth += 1;
        if (depth > MAX_DEPTH) return at;
        break;
      // ] and }
      case 0x5d:
      case 0x7d:
        depth -= 1;
    }
  }
  return undefined;
}

/** @param from where its first quote is @returns where its last one is; -1: nowhere */
function endOfString(text: string, from: number): number {
  let at = from;
  for (;;) {
    at = text.indexOf('"', at + 1);
    let before = at - 1;
    while (before > from && text.charCodeAt(before) === BACKSLASH) before -= 1;
    // An even count of backslashes is of escaped backslashes.
    if (at < 0 || (at - before) % 2 === 1) return at;
  }
}

interface Fault {
  readonly what: string;
  /** UTF-16 units before it. */
  readonly at: number;
}

// RFC 8259 3, 6
const SCALAR = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)$/;
const SCALAR_CHARACTER = /[-+.0-9A-Za-z]/;
/** A number of more characters is taken for one. */
const LONGEST_SCALAR = 400;
const ESCAPE = /^(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/;

/** Reads a text until it breaks as JSON. Without recursion: it may be nested as deep as it is long. @returns undefined where it is whole */
function firstFault(text: string): Fault | undefined {
  /** Open brackets, outermost first. */
  const open: ('{' | '[')[] = [];
  let at = 0;
  let wants: 'value' | 'value or ]' | 'name' | 'name or }' | ', or end' = 'value';
  for (;;) {
    at = afterBlanks(text, at);
    const next = text[at];
    if (wants === ', or end') {
      const inner = open.at(-1);
      if (inner === undefined)
        return next === undefined ? undefined : { at, what: 'something follows its end' };
      if (next === ',') wants = inner === '{' ? 'name' : 'value';
      else if (next === (inner === '{' ? '}' : ']')) open.pop();
      else
        return {
          at,
          what: next === undefined ? 'it ends too soon' : `, or ${inner === '{' ? '}' : ']'} is expected`,
        };
      at += 1;
    } else if (next === undefined) return { at, what: 'it ends too soon' };
    else if ((wants === 'value or ]' && next === ']') || (wants === 'name or }' && next === '}')) {
      open.pop();
      at += 1;
      wants = ', or end';
    } else if (wants === 'name' || wants === 'name or }') {
      if (next !== '"') return { at, what: 'a name in double quotes is expected' };
      const end = afterString(text, at);
      if (typeof end !== 'number') return end;
      at = afterBlanks(text, end);
      if (text[at] !== ':')
        return { at, what: text[at] === undefined ? 'it ends too soon' : ': is expected' };
      at += 1;
      wants = 'value';
    } else if (next === '{' || next === '[') {
      open.push(next);
      at += 1;
      wants = next === '{' ? 'name or }' : 'value or ]';
    } else if (next === '"') {
      const end = afterString(text, at);
      if (typeof end !== 'number') return end;
      at = end;
      wants = ', or end';
    } else {
      const end = afterScalar(text, at);
      if (end === undefined) return { at, what: 'a value is expected' };
      at = end;
      wants = ', or end';
    }
  }
}

function afterBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1;
  return at;
}

/** @param from where its first quote is @returns where it goes on after the last one */
function afterString(text: string, from: number): number | Fault {
  let at = from + 1;
  for (; at < text.length; at++) {
    const next = text[at] as string;
    if (next === '"') return at + 1;
    if (next < ' ') return { at, what: 'a string has a character that must be escaped' };
    if (next !== '\\') continue;
    const known = ESCAPE.exec(text.slice(at + 1, at + 6))?.[0];
    if (known === undefined) return { at, what: 'a string has an escape that JSON does not know' };
    at += known.length;
  }
  return { at, what: 'a string does not end' };
}

/** @returns where it goes on after a number, true, false or null; undefined where there is none */
function afterScalar(text: string, from: number): number | undefined {
  let at = from;
  while (at < text.length && SCALAR_CHARACTER.test(text[at] as string)) at += 1;
  if (at - from > LONGEST_SCALAR) return at;
  return SCALAR.test(text.slice(from, at)) ? at : undefined;
}
