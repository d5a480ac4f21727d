/** The one in the middle, or the mean of the two that are. @param values not empty */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = Math.floor(sorted.length / 2);
  const [low = 0, high = 0] = [sorted[at - 1], sorted[at]];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}
