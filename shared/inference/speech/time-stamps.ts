/**
 * Whisper's rules for time stamps, as Python's `WhisperTimeStampLogitsProcessor`; the library's own lets them run backwards, and
 * does not bound the first. Pure.
 */

/** Tokens of a vocabulary that the rules speak of. */
export interface StampRules {
  /** The token `<|notimestamps|>`; the stamps follow it. */
  readonly noStamps: number;
  readonly endToken: number;
  /** Tokens before the answer. */
  readonly begin: number;
  /** Largest first stamp, counted from 0.00; undefined: any. */
  readonly maxFirst: number | undefined;
}

/** @returns changes scores f32[R,V] of the next tokens in place */
export function stampRules(
  rules: StampRules,
): (rows: readonly (readonly number[])[], scores: Float32Array) => void {
  return (rows, scores) => {
    const words = scores.length / rows.length;
    for (const [index, row] of rows.entries())
      apply(rules, row.slice(rules.begin), scores.subarray(index * words, (index + 1) * words));
  };
}

/** @param said tokens of the answer so far @param scores f32[V] */
function apply(
  { noStamps, endToken, maxFirst }: StampRules,
  said: readonly number[],
  scores: Float32Array,
): void {
  const first = noStamps + 1;
  const never = (from: number, to = scores.length): void => {
    scores.fill(Number.NEGATIVE_INFINITY, from, to);
  };
  never(noStamps, first);
  const isStamp = (token: number | undefined): boolean => token !== undefined && token >= first;
  const lastIs = isStamp(said.at(-1));
  const beforeIs = said.length < 2 || isStamp(said.at(-2));
  // They come in pairs, except before the end.
  if (lastIs && beforeIs) never(first);
  else if (lastIs) never(0, endToken);
  const latest = said.findLast(isStamp);
  // They don't run backwards; only the second of a pair may repeat the first.
  if (latest !== undefined) never(first, lastIs && !beforeIs ? latest : latest + 1);
  if (said.length === 0) {
    never(0, first);
    if (maxFirst !== undefined) never(first + maxFirst + 1);
  }
  preferStamp(first, scores);
}

/** Where all stamps together are likelier than the likeliest word, it must be a stamp. */
function preferStamp(first: number, scores: Float32Array): void {
  const top = scores.reduce((best, score) => Math.max(best, score), Number.NEGATIVE_INFINITY);
  let stamps = 0;
  for (const score of scores.subarray(first)) stamps += Math.exp(score - top);
  let word = Number.NEGATIVE_INFINITY;
  for (const score of scores.subarray(0, first)) word = Math.max(word, score);
  if (stamps > Math.exp(word - top)) scores.fill(Number.NEGATIVE_INFINITY, 0, first);
}
