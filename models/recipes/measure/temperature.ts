/** Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes a model's scores mean what they say. Pure. */

/** What a model made of one labelled input. */
export interface LabelledLogits {
  /** f64[C] raw. */
  readonly logits: readonly number[];
  /** Index of the true label. */
  readonly truth: number;
}

const HIGHEST = 100;
const LOWEST = 0.01;
const HALVINGS = 60;

/** The temperature between 0.01 and 100 at which the true labels are most likely: softmax(logits / temperature). */
export function fitTemperature(examples: readonly LabelledLogits[]): number {
  // The log-likelihood is concave in 1 / temperature, so its slope changes its sign once.
  let [low, high] = [Math.log(1 / HIGHEST), Math.log(1 / LOWEST)];
  for (let halving = 0; halving < HALVINGS; halving++) {
    const middle = (low + high) / 2;
    if (slope(examples, Math.exp(middle)) >= 0) low = middle;
    else high = middle;
  }
  return Math.exp(-(low + high) / 2);
}

/** Softmax of the logits at a temperature. */
export function scoresAt(logits: readonly number[], temperature: number): number[] {
  const top = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp((logit - top) / temperature));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Of the log-likelihood by 1 / temperature: true logits less expected ones. */
function slope(examples: readonly LabelledLogits[], inverse: number): number {
  return examples.reduce((total, { logits, truth }) => {
    const scores = scoresAt(logits, 1 / inverse);
    const expected = logits.reduce((sum, logit, index) => sum + logit * (scores[index] ?? 0), 0);
    return total + (logits[truth] ?? 0) - expected;
  }, 0);
}
