/**
 * Reads a literal as Python's `repr` writes it: what NumPy's files and Ultralytics' metadata hold. Text from outside, read and never run:
 * strings, numbers, `True`, `False`, `None`, lists, tuples and dictionaries. Pure.
 */

/** A value of Python's: tuples are lists, and dictionaries keep their keys' order and kinds. */
export type PythonValue = string | number | boolean | null | PythonValue[] | Map<PythonValue, PythonValue>;

const MAX_DEPTH = 8;
const NUMBER = /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?/;
const WORDS: Readonly<Record<string, PythonValue>> = { True: true, False: false, None: null };
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };

/** @returns undefined for what is no such literal */
export function parsePython(text: string): PythonValue | undefined {
  try {
    const reader = new Reader(text);
    const value = reader.value(0);
    return reader.isAtEnd() ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  isAtEnd(): boolean {
    this.#space();
    return this.#at === this.#text.length;
  }

  value(depth: number): PythonValue {
    this.#space();
    if (depth > MAX_DEPTH) throw new SyntaxError('nested too deep');
    const next = this.#text[this.#at];
    if (next === "'" || next === '"') return this.#string(next);
    if (next === '{') return new Map(this.#items('}', () => this.#entry(depth + 1)));
    if (next === '[') return this.#items(']', () => this.value(depth + 1));
    if (next === '(') return this.#items(')', () => this.value(depth + 1));
    const rest = this.#text.slice(this.#at, this.#at + 40);
    const [number] = NUMBER.exec(rest) ?? [];
    const [word] = /^[A-Za-z]+/.exec(rest) ?? [];
    this.#at += (number ?? word ?? '').length;
    if (number !== undefined) return Number(number);
    const value = WORDS[word ?? ''];
    if (value === undefined) throw new SyntaxError('no literal');
    return value;
  }

  #entry(depth: number): [PythonValue, PythonValue] {
    const key = this.value(depth);
    this.#space();
    if (this.#text[this.#at++] !== ':') throw new SyntaxError('a key without a value');
    return [key, this.value(depth)];
  }

  #items<T>(end: string, read: () => T): T[] {
    const items: T[] = [];
    this.#at++;
    for (;;) {
      this.#space();
      if (this.#text[this.#at] === end) break;
      items.push(read());
      this.#space();
      if (this.#text[this.#at] === ',') this.#at++;
      else if (this.#text[this.#at] !== end) throw new SyntaxError('neither a comma nor the end');
    }
    this.#at++;
    return items;
  }

  #string(quote: string): string {
    let text = '';
    for (this.#at++; this.#text[this.#at] !== quote; this.#at++) {
      let next = this.#text[this.#at];
      if (next === '\\') {
        next = this.#text[++this.#at] ?? '';
        next = ESCAPES[next] ?? next;
      }
      if (next === undefined) throw new SyntaxError('a string without an end');
      text += next;
    }
    this.#at++;
    return text;
  }

  #space(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at++;
  }
}
