/** JSON from bytes that somebody else wrote. */
import { AppError } from './errors.ts';

/** @returns undefined where the bytes are no JSON; check the value with a schema */
export function tryParseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(bytes));
  } catch {
    return undefined;
  }
}

/** The value of a JSON text; check it with a schema. @throws BAD_REQUEST, naming the line and the column where it breaks */
export function parseJson(bytes: Uint8Array): unknown {
  const text = textOf(bytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    // What the engine says differs by version, and may quote the text.
    const { what, at } = firstFault(text);
    const before = text.slice(0, at).split('\n');
    const column = Array.from(before.at(-1) ?? '').length + 1;
    throw new AppError(
      'BAD_REQUEST',
      `the JSON is broken at line ${before.length}, column ${column}: ${what}`,
      {
        cause: error,
      },
    );
  }
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

/** Reads a text that is no JSON until it breaks. Without recursion: it may be nested as deep as it is long. */
function firstFault(text: string): Fault {
  /** Open brackets, outermost first. */
  const open: ('{' | '[')[] = [];
  let at = 0;
  let wants: 'value' | 'value or ]' | 'name' | 'name or }' | ', or end' = 'value';
  for (;;) {
    at = afterBlanks(text, at);
    const next = text[at];
    if (wants === ', or end') {
      const inner = open.at(-1);
      if (inner === undefined) return { at, what: 'something follows its end' };
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
