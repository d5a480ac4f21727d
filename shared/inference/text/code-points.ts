/** Places in a text as Python counts them: in code points, where JavaScript counts UTF-16 units. Pure. */

/** One half of a character that JavaScript counts twice. */
const SURROGATE = /[\ud800-\udfff]/;

/** @returns from a place in UTF-16 units, 0 to the text's length, to the code points before it */
export function codePointsIn(text: string): (unit: number) => number {
  if (!SURROGATE.test(text)) return (unit) => unit;
  const before = new Uint32Array(text.length + 1);
  let count = 0;
  let at = 0;
  for (const character of text) {
    // Both halves have the place of the whole.
    before.fill(count, at, at + character.length);
    at += character.length;
    count += 1;
  }
  before[at] = count;
  return (unit) => before[unit] ?? count;
}

/** The same parts, with their places in code points. */
export function inCodePoints<T extends { readonly start: number; readonly end: number }>(
  text: string,
  parts: readonly T[],
): T[] {
  const place = codePointsIn(text);
  return parts.map((part) => ({ ...part, start: place(part.start), end: place(part.end) }));
}
