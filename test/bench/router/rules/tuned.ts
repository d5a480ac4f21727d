/** Thresholds tuned once on labels, and never again: by what was seen, and by Clopper and Pearson's bound. */
import { certifiedThreshold } from '../../../../tools/measure/certificate.ts';

/** One request whose loss is known. */
export interface Labelled {
  readonly score: number;
  readonly loss: number;
}

/** The lowest seen score from which on the share of disagreements was at most alpha; null: none. Bound to be too low half of the time. */
export function tunedBySight(labelled: readonly Labelled[], alpha: number): number | null {
  const surestFirst = labelled.toSorted((one, other) => other.score - one.score);
  let threshold: number | null = null;
  let losses = 0;
  for (const [rank, { score, loss }] of surestFirst.entries()) {
    losses += loss;
    if (score === surestFirst[rank + 1]?.score) continue;
    if (losses / labelled.length <= alpha) threshold = score;
  }
  return threshold;
}

/** As the certificate of a pair is found: holds with probability 1 - delta, while the world stays as it was. */
export const tunedByBound = (labelled: readonly Labelled[], alpha: number, delta: number): number | null =>
  certifiedThreshold(
    labelled.map(({ score, loss }) => ({ routeScore: score, agrees: loss === 0 })),
    1 - alpha,
    1 - delta,
  );
