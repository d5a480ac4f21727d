/** Scores of how sure an answer is, from probabilities alone: what several judges share (docs/design/router.md 3). Pure. */
import { logOdds } from '../probability.ts';

/** Boxes below it are no candidates: detectors list hundreds that nobody would keep. */
export const LEAST_CANDIDATE = 0.05;
/**
 * "Nothing found" can be wrong as any answer can: as unsure as one box at even odds. Taken as sure, what the small model
 * overlooks would never be escalated.
 */
export const NOTHING_FOUND = -Math.LN2;
/** Half a step of 32-bit floats below 1: what rounds to 1 lacks less. */
const MOST_LACKING = 2 ** -25;

/**
 * ln p / (1 - p), never infinite.
 *
 * @param rest probability of the other labels that are listed: where p was rounded to 1, it tells how near
 */
export function logOddsOf(p: number, rest: number): number {
  const probability = Math.min(1, Math.max(0, p));
  return logOdds(probability, 1 - probability || Math.min(MOST_LACKING, rest));
}
