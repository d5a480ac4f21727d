/** Figures of a model from its answers; shares are 0..1. Pure. */

export interface Judged {
  readonly isRight: boolean;
  /** Of the label that was answered, 0..1. */
  readonly score: number;
}

/** Guo et al. 2017 (arXiv:1706.04599) use 15. */
const BINS = 15;

/** Expected calibration error: how far the scores are from the share of right answers, over bins of equal width. */
export function calibrationError(judged: readonly Judged[]): number {
  const gaps = new Array<number>(BINS).fill(0);
  for (const { isRight, score } of judged) {
    const bin = Math.min(BINS - 1, Math.floor(score * BINS));
    gaps[bin] = (gaps[bin] ?? 0) + score - Number(isRight);
  }
  return gaps.reduce((sum, gap) => sum + Math.abs(gap), 0) / judged.length;
}

/** Share of true values. */
export const share = (values: readonly boolean[]): number => values.filter(Boolean).length / values.length;

/** The `q`-quantile, q in 0..1, by nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((x, y) => x - y);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

export const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`;
