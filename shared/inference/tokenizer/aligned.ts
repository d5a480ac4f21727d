/**
 * A text that remembers where each of its characters came from, through every change on the way to tokens. Pure.
 * Follows `NormalizedString` of Hugging Face's tokenizers: what is inserted stands where its neighbour on the left stood, what is
 * removed takes its place along.
 */

/** All positions in UTF-16 units; both halves of a surrogate pair have the place of the whole. */
export interface Aligned {
  readonly text: string;
  /** For each unit of `text`, where the character that it came from begins in the source … */
  readonly starts: readonly number[];
  /** … and ends. */
  readonly ends: readonly number[];
}

/** Collects an aligned text piece by piece. */
class Builder {
  #text = '';
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** Units [from, to) of `source` as they are. */
  keep({ text, starts, ends }: Aligned, from: number, to: number): void {
    this.#text += text.slice(from, to);
    for (let unit = from; unit < to; unit++) {
      this.#starts.push(starts[unit] ?? 0);
      this.#ends.push(ends[unit] ?? 0);
    }
  }

  /** `text` in the place of one character of `source`. */
  add(text: string, source: Aligned, at: number): void {
    this.addAt(text, source.starts[at] ?? 0, source.ends[at] ?? 0);
  }

  addAt(text: string, start: number, end: number): void {
    this.#text += text;
    for (let unit = 0; unit < text.length; unit++) {
      this.#starts.push(start);
      this.#ends.push(end);
    }
  }

  build(): Aligned {
    return { text: this.#text, starts: this.#starts, ends: this.#ends };
  }
}

/** The text as it came. */
export function align(text: string): Aligned {
  const made = new Builder();
  let at = 0;
  for (const char of text) {
    made.addAt(char, at, at + char.length);
    at += char.length;
  }
  return made.build();
}

/** A part of the text with its places; `to` exclusive. */
export function slice({ text, starts, ends }: Aligned, from: number, to: number): Aligned {
  return { text: text.slice(from, to), starts: starts.slice(from, to), ends: ends.slice(from, to) };
}

/** Changes each character by itself; whatever becomes of it stands where it stood. Most texts come out as they were. */
export function mapCharacters(source: Aligned, change: (char: string) => string): Aligned {
  let made: Builder | undefined;
  let at = 0;
  for (const char of source.text) {
    const changed = change(char);
    if (made === undefined && changed !== char) {
      made = new Builder();
      made.keep(source, 0, at);
    }
    made?.add(changed, source, at);
    at += char.length;
  }
  return made?.build() ?? source;
}

/**
 * Changes each cluster by itself.
 *
 * @param clusters matches all of the text, piece by piece
 * @param change what becomes of a cluster; its n-th character stands where the n-th (or the last) of the cluster stood
 */
export function mapClusters(source: Aligned, clusters: RegExp, change: (cluster: string) => string): Aligned {
  const made = new Builder();
  for (const { 0: cluster, index } of source.text.matchAll(clusters)) {
    const places = placesOf(cluster, index);
    let nth = 0;
    for (const char of change(cluster))
      made.add(char, source, places[Math.min(nth++, places.length - 1)] ?? index);
  }
  return made.build();
}

/** Where the characters of a cluster begin. */
function placesOf(cluster: string, from: number): number[] {
  if (cluster.length === 1) return [from];
  const places: number[] = [];
  let at = from;
  for (const char of cluster) {
    places.push(at);
    at += char.length;
  }
  return places;
}

/** Puts `content` in the place of each match; it stands where the last character of the match stood. */
export function replaceAll(source: Aligned, pattern: RegExp, content: string): Aligned {
  let made: Builder | undefined;
  let at = 0;
  for (const { 0: match, index } of source.text.matchAll(pattern)) {
    made ??= new Builder();
    made.keep(source, at, index);
    const end = index + match.length;
    made.add(content, source, Math.max(0, end - 1));
    at = end;
  }
  made?.keep(source, at, source.text.length);
  return made?.build() ?? source;
}

/** Puts `content` before the text; it stands where the first character stands. */
export function prepend(source: Aligned, content: string): Aligned {
  if (source.text === '') return source;
  const made = new Builder();
  made.add(content, source, 0);
  made.keep(source, 0, source.text.length);
  return made.build();
}

/** Each byte of the text's UTF-8 as one character, in the place of the character that it belongs to. */
export function toBytes(source: Aligned, charOf: Readonly<Record<number, string>>): Aligned {
  const made = new Builder();
  let at = 0;
  for (const char of source.text) {
    for (const byte of Buffer.from(char)) made.add(charOf[byte] ?? '', source, at);
    at += char.length;
  }
  return made.build();
}

/** Cuts the text into the places where `pattern` matches. */
export function matchesOf(source: Aligned, pattern: RegExp): Aligned[] {
  return Array.from(source.text.matchAll(pattern), ({ 0: match, index }) =>
    slice(source, index, index + match.length),
  ).filter(({ text }) => text !== '');
}

/**
 * Finds the parts that somebody else has cut the text into.
 *
 * @param parts substrings, in their order
 * @returns undefined when one is not there
 */
export function locate(source: Aligned, parts: readonly string[]): Aligned[] | undefined {
  const found: Aligned[] = [];
  let at = 0;
  for (const part of parts) {
    const from = source.text.indexOf(part, at);
    if (from < 0) return undefined;
    at = from + part.length;
    found.push(slice(source, from, at));
  }
  return found;
}
