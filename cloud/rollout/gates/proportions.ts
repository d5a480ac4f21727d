/**
 * Confidence sequences for a proportion: bounds that hold at all times together, however often one looks. Exact, for every number of
 * observations (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021, arXiv:1810.08240, the beta-binomial mixture).
 *
 * For a proportion p, the likelihood of x of n under a mixture of all proportions, over that under p, is a martingale that starts at 1: it
 * reaches 1 / alpha with probability alpha at most (Ville). What has not been ruled out by that is between the bounds.
 */

/** Jeffreys' prior: as good for rare failures as for shares about a half. */
const PRIOR = 0.5;
const STEPS = 60;

/** Lower and upper bound of a proportion, each with its own error alpha. @param x of n; need not be whole numbers */
export function proportionBounds(x: number, n: number, alpha: number): { least: number; most: number } {
  if (n <= 0) return { least: 0, most: 1 };
  const share = Math.min(1, Math.max(0, x / n));
  const needed = Math.log(1 / alpha);
  const isOut = (p: number): boolean => logMixtureRatio(share * n, n, p) >= needed;
  return {
    least: share === 0 ? 0 : between(0, share, (p) => !isOut(p)),
    most: share === 1 ? 1 : between(share, 1, isOut),
  };
}

/** Where a condition that does not hold at `from` begins to hold, on the way to `to`. */
function between(from: number, to: number, holds: (p: number) => boolean): number {
  let [low, high] = [from, to];
  for (let step = 0; step < STEPS; step++) {
    const middle = (low + high) / 2;
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}

/** ln of the mixture's likelihood over that of p. */
function logMixtureRatio(x: number, n: number, p: number): number {
  const mixture = logBeta(PRIOR + x, PRIOR + n - x) - logBeta(PRIOR, PRIOR);
  return mixture - times(x, Math.log(p)) - times(n - x, Math.log1p(-p));
}

/** 0 times minus infinity is nothing. */
const times = (count: number, log: number): number => (count === 0 ? 0 : count * log);

const logBeta = (a: number, b: number): number => logGamma(a) + logGamma(b) - logGamma(a + b);

/** Lanczos' approximation, g = 7: to 15 digits. */
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

function logGamma(x: number): number {
  const z = x - 1;
  const sum = LANCZOS.reduce((total, term, index) => (index === 0 ? term : total + term / (z + index)), 0);
  const t = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(sum);
}
