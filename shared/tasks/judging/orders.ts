/** Orders of the same things, compared. Pure. */

/**
 * Kendall's distance of two orders that scores make, as a share of all pairs: those that stand the other way round count 1, those that
 * are tied in one order alone a half. Fagin, Kumar, Sivakumar, Comparing Top k Lists (SIAM J. Discrete Math. 17, 2003), K^(p) with p = 1/2.
 *
 * @param ours scores by index @param others scores of the same things
 * @returns 0..1; 0 for fewer than two
 */
export function kendallDistance(ours: readonly number[], others: readonly number[]): number {
  let wrong = 0;
  let pairs = 0;
  for (let one = 0; one < ours.length; one++)
    for (let other = one + 1; other < ours.length; other++, pairs++) {
      const mine = Math.sign((ours[one] as number) - (ours[other] as number));
      const theirs = Math.sign((others[one] as number) - (others[other] as number));
      wrong += Math.abs(mine - theirs) / 2;
    }
  return pairs === 0 ? 0 : wrong / pairs;
}

/**
 * How sure an order is, from logits (of probabilities log-odds): mean ln sigmoid of what neighbours lie apart, at most 0. Of one alone
 * there is no order: what its own decision has, ln max(p, 1 - p).
 *
 * @param logits finite, one at least
 */
export function orderCertainty(logits: readonly number[]): number {
  const sorted = logits.toSorted((a, b) => b - a);
  const gaps = sorted.slice(1).map((logit, index) => (sorted[index] as number) - logit);
  const apart = gaps.length === 0 ? [Math.abs(sorted[0] ?? 0)] : gaps;
  return -apart.reduce((sum, gap) => sum + Math.log1p(Math.exp(-gap)), 0) / apart.length;
}
