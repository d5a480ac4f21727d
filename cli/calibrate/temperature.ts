/**
 * Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes a model's scores mean what they say, and how
 * far they are from it. Pure.
 */

/** Logits of one labelled input, with its true label. */
export interface LabelledLogits {
  /** f64[C] raw. */
  readonly logits: readonly number[];
  /** Index of the true label. */
  readonly truth: number;
}

/** Upper end of a fit; it ends there when the labels are not those of the model. */
export const HIGHEST_TEMPERATURE = 100;
/** Lower end of a fit; it ends there when every answer is right. */
export const LOWEST_TEMPERATURE = 0.01;
const HALVINGS = 60;

/** The temperature between 0.01 and 100 at which the true labels are most likely: softmax(logits / temperature). */
export function fitTemperature(examples: readonly LabelledLogits[]): number {
  // The log-likelihood is concave in 1 / temperature, so its slope changes its sign once.
  let [low, high] = [Math.log(1 / HIGHEST_TEMPERATURE), Math.log(1 / LOWEST_TEMPERATURE)];
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

/** Answer to a labelled input: how sure it was, and whether rightly. */
export interface Judged {
  readonly isRight: boolean;
  /** Of the label that was answered, 0..1. */
  readonly score: number;
}

/** As Guo et al. use. */
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

/** Expected calibration error 0..1 of the scores that these logits have at a temperature. */
export function calibrationErrorAt(examples: readonly LabelledLogits[], temperature: number): number {
  return calibrationError(
    examples.map(({ logits, truth }) => {
      const scores = scoresAt(logits, temperature);
      const score = Math.max(...scores);
      return { score, isRight: scores.indexOf(score) === truth };
    }),
  );
}

/** Of the log-likelihood by 1 / temperature: true logits less expected ones. */
function slope(examples: readonly LabelledLogits[], inverse: number): number {
  return examples.reduce((total, { logits, truth }) => {
    const scores = scoresAt(logits, 1 / inverse);
    const expected = logits.reduce((sum, logit, index) => sum + logit * (scores[index] ?? 0), 0);
    return total + (logits[truth] ?? 0) - expected;
  }, 0);
}
