/** From logits to probabilities and to how sure a model is; safe for broken numbers and for vocabularies of any size. Pure. */

/** Keeps arithmetic on broken logits finite: NaN counts as the lowest. */
const LOGIT_LIMIT = 1e30;
/** A logit as arithmetic can take it: finite. */
export const tame = (logit: number): number =>
  Number.isNaN(logit) ? -LOGIT_LIMIT : Math.min(LOGIT_LIMIT, Math.max(-LOGIT_LIMIT, logit));

/** Probability 0..1 of a logit. */
export const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));

/** @returns probabilities 0..1 that add up to 1 */
export function softmax(logits: ArrayLike<number>): Float64Array {
  const top = tame(logits[argMax(logits)] ?? 0);
  const powers = Float64Array.from(logits, (logit) => Math.exp(tame(logit) - top));
  const sum = powers.reduce((all, power) => all + power, 0);
  return powers.map((power) => power / sum);
}

/** Index of the largest, the first of equals; NaN counts as the lowest. */
export function argMax(values: ArrayLike<number>): number {
  let best = 0;
  for (let index = 1; index < values.length; index++)
    if (tame(values[index] ?? 0) > tame(values[best] ?? 0)) best = index;
  return best;
}

/**
 * z_top - logsumexp(rest): the log-odds of the best.
 *
 * @param logits two at least
 */
export function logOddsMargin(logits: ArrayLike<number>): number {
  const best = argMax(logits);
  const rest = Float64Array.from(logits, tame);
  rest[best] = Number.NEGATIVE_INFINITY;
  const second = rest[argMax(rest)] ?? 0;
  const sum = rest.reduce((total, logit) => total + Math.exp(logit - second), 0);
  return tame(logits[best] ?? 0) - second - Math.log(sum);
}

/**
 * ln p / (1 - p).
 *
 * @param p probability 0..1
 * @param rest probability of everything else: where p was rounded to 1, it tells how near
 */
export function logOdds(p: number, rest: number): number {
  return Math.log(Math.max(Number.MIN_VALUE, p)) - Math.log(Math.max(Number.MIN_VALUE, rest));
}
