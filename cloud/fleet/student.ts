/** Student's t distribution, exact for whole degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4). */

const STEPS = 60;

/**
 * The value that is not exceeded with a probability.
 *
 * @param probability 0.5..1, exclusive
 * @param degrees of freedom, whole, at least 1
 */
export function studentQuantile(probability: number, degrees: number): number {
  let [low, high] = [0, 1];
  while (high < 1e12 && below(high, degrees) < probability) high *= 2;
  for (let step = 0; step < STEPS; step++) {
    const middle = (low + high) / 2;
    if (below(middle, degrees) < probability) low = middle;
    else high = middle;
  }
  return high;
}

/** Probability of a value below t. @param t not negative */
function below(t: number, degrees: number): number {
  const angle = Math.atan(t / Math.sqrt(degrees));
  const cosine2 = Math.cos(angle) ** 2;
  const isOdd = degrees % 2 === 1;
  let [term, sum] = [isOdd ? Math.cos(angle) : 1, 0];
  for (let power = isOdd ? 1 : 0; power <= degrees - 2; power += 2) {
    sum += term;
    term *= cosine2 * ((power + 1) / (power + 2));
  }
  const within = isOdd ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum;
  return (1 + within) / 2;
}
