/** Ties of recorded route scores, spread so that a threshold can part them. Pure. */
import { ROUTE_SCORE_FLOOR } from '../classification.ts';

/** Share of all scores that one value may have before its ties are broken. */
const MANY = 0.01;
/** A step of an 8-bit softmax (docs/design/router.md 2.8). */
const TIE_STEP = 1 / 257;

/**
 * Spreads scores that very many answers share: an 8-bit softmax gives everything above 255/256 one value, and a threshold could
 * only keep all of them or none (at 98 % agreement 54 % escalated instead of 100 %: docs/design/router.md 2.8). Only where over a hundredth
 * share a value; upwards by chance, by less than one 8-bit step, and never past the next score: an order that was there stays.
 *
 * @param scores changed in place
 * @returns how many were spread
 */
export function breakTies(scores: Float64Array, random: () => number): number {
  const sorted = scores.slice().sort();
  const steps = new Map<number, number>();
  for (let start = 0, end = 0; start < sorted.length; start = end) {
    const value = sorted[start] ?? 0;
    while (end < sorted.length && sorted[end] === value) end++;
    // What cannot be read stays below every threshold.
    if (end - start <= Math.max(1, MANY * sorted.length) || value === ROUTE_SCORE_FLOOR) continue;
    steps.set(value, Math.min(TIE_STEP, (sorted[end] ?? Number.POSITIVE_INFINITY) - value));
  }
  let spread = 0;
  for (const [index, score] of scores.entries()) {
    const step = steps.get(score);
    if (step === undefined) continue;
    scores[index] = score + step * random();
    spread++;
  }
  return spread;
}
