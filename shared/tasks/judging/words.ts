/** Words in common, as SQuAD's evaluate-v2.0.py counts them; shared by the tasks that answer with texts, words or places. Pure. */

/**
 * 1 - F1 of the words.
 *
 * @param local undefined: it could not be read
 * @returns 0..1
 */
export function lossOfWords(local: string | undefined, cloud: string | undefined): number {
  if (local === undefined || cloud === undefined) return 1;
  return local === cloud ? 0 : 1 - overlap(wordsOf(local), wordsOf(cloud));
}

/** F1 of two lists, 0..1, whatever their order; of two empty ones 1. */
export function overlap(ours: readonly string[], others: readonly string[]): number {
  const all = ours.length + others.length;
  if (all === 0) return 1;
  const left = new Map<string, number>();
  for (const word of others) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of ours) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    common++;
  }
  return (2 * common) / all;
}

/** Python's `string.punctuation`. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
/** JavaScript's `\b` knows ASCII alone. */
const ARTICLE = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

const wordsOf = (text: string): string[] =>
  text
    .toLowerCase()
    .replace(PUNCTUATION, '')
    .replace(ARTICLE, ' ')
    .split(/\s+/)
    .filter((word) => word !== '');
