/** Random numbers as simulations need them: exact where counts are small, by the normal distribution where they are large. */

/** Uniform in [0, 1). */
export type Random = () => number;

/** Above it counts are drawn from the normal distribution. */
const LARGE = 30;

/** Standard normal (Box and Muller). */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** How many of n, each with probability p. */
export function binomial(random: Random, n: number, p: number): number {
  if (n <= 0 || p <= 0) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - binomial(random, n, 1 - p);
  const mean = n * p;
  if (mean > LARGE) {
    const drawn = Math.round(mean + Math.sqrt(mean * (1 - p)) * normal(random));
    return Math.min(n, Math.max(0, drawn));
  }
  // From one success to the next (Devroye 1986, 10.4.3): as many steps as successes.
  const perTrial = Math.log1p(-p);
  let [found, at] = [0, 0];
  for (;;) {
    at += Math.floor(Math.log(1 - random()) / perTrial) + 1;
    if (at > n) return found;
    found++;
  }
}

/** A count with this mean. */
export function poisson(random: Random, mean: number): number {
  if (mean <= 0) return 0;
  if (mean > LARGE) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const limit = Math.exp(-mean);
  let [count, product] = [0, random()];
  while (product > limit) {
    count++;
    product *= random();
  }
  return count;
}
