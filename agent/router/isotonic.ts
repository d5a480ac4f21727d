/** Disagreement by score, from what was seen: it falls with the score, whatever noise says (pool adjacent violators). */

/**
 * @param losses sum of the losses by bin, surest bin first
 * @param counts how many they are of
 * @returns expected loss 0..1 by bin, never falling from one to the next; 0 before the first bin that was seen
 */
export function isotonic(losses: Float64Array, counts: Uint32Array): Float64Array {
  const pools: { mean: number; weight: number; bins: number }[] = [];
  for (const [bin, sum] of losses.entries()) {
    const count = counts[bin] ?? 0;
    // A bin that nobody saw says nothing, and takes its neighbour's value.
    let pool = { mean: count === 0 ? 0 : sum / count, weight: count === 0 ? 1e-9 : count, bins: 1 };
    for (let last = pools.at(-1); last !== undefined && last.mean >= pool.mean; last = pools.at(-1)) {
      pools.pop();
      const weight = last.weight + pool.weight;
      const mean = (last.mean * last.weight + pool.mean * pool.weight) / weight;
      pool = { mean, weight, bins: last.bins + pool.bins };
    }
    pools.push(pool);
  }
  const fitted = new Float64Array(losses.length);
  let bin = 0;
  for (const { mean, bins } of pools) {
    fitted.fill(mean, bin, bin + bins);
    bin += bins;
  }
  return fitted;
}
