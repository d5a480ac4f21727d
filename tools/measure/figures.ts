/** Figures of a model from its answers; shares are 0..1. Pure. */

/** Share of true values. */
export const share = (values: readonly boolean[]): number => values.filter(Boolean).length / values.length;

/** The `q`-quantile, q in 0..1, by nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((x, y) => x - y);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

export const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`;
