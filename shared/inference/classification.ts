/** Logits to labels, scores and the score that the router orders by; shared by the classification tasks. Pure. */
import type { Classification } from '../contract/task-schemas.ts';

/**
 * The lowest route score, for "as unsure as can be" (NaN logits, a text that was cut): finite, because JSON has no -Infinity.
 * No model's margin comes near it.
 */
export const ROUTE_SCORE_FLOOR = -1e9;

export type ScoreFunction = 'softmax' | 'sigmoid' | 'none';

export interface ScoreOptions {
  /** In the order of the logits. */
  readonly labels: readonly string[];
  readonly apply: ScoreFunction;
  /** Calibration: logits are divided by it before `softmax` or `sigmoid`; never for `routeScore`. */
  readonly temperature: number;
  readonly topK: number;
}

/** Keeps arithmetic on broken logits finite: NaN counts as the lowest. */
const LOGIT_LIMIT = 1e30;
const tame = (logit: number): number =>
  Number.isNaN(logit) ? -LOGIT_LIMIT : Math.min(LOGIT_LIMIT, Math.max(-LOGIT_LIMIT, logit));

/**
 * Labels with their scores, best first; equal scores keep the order of the labels.
 *
 * @param logits f32[C]
 * @returns at most `topK`; scores 0..1, but raw logits for `none`
 */
export function classify(logits: Float32Array, options: ScoreOptions): Classification[] {
  const { labels, apply, temperature, topK } = options;
  const scores = scoresOf(Array.from(logits, tame), apply, temperature);
  return scores
    .map((score, index) => ({ label: labels[index] ?? `LABEL_${index}`, score }))
    .sort((a, b) => b.score - a.score)
    .slice(0, topK);
}

function scoresOf(logits: number[], apply: ScoreFunction, temperature: number): number[] {
  switch (apply) {
    case 'softmax': {
      const top = Math.max(...logits);
      const powers = logits.map((logit) => Math.exp((logit - top) / temperature));
      const sum = powers.reduce((a, b) => a + b, 0);
      return powers.map((power) => power / sum);
    }
    case 'sigmoid':
      return logits.map((logit) => 1 / (1 + Math.exp(-logit / temperature)));
    case 'none':
      return logits;
  }
}

/**
 * How sure the model is, unbounded, from raw logits; never NaN, never infinite.
 * One label of many: the log-odds margin z_top - logsumexp(rest). Independent labels (sigmoid, or a single class): the
 * log-probability that no label's keep-or-drop decision flips, sum over ln max(p, 1 - p), at most 0 (ROUTER.md 3).
 *
 * @param logits f32[C]
 */
export function routeScoreOf(logits: Float32Array, areIndependent: boolean): number {
  if (logits.length === 0 || logits.some(Number.isNaN)) return ROUTE_SCORE_FLOOR;
  const finite = Array.from(logits, tame);
  const score =
    areIndependent || finite.length === 1 ? decisionLogProbability(finite) : logOddsMargin(finite);
  return Math.min(-ROUTE_SCORE_FLOOR, Math.max(ROUTE_SCORE_FLOOR, score));
}

function logOddsMargin(logits: number[]): number {
  const top = Math.max(...logits);
  const rest = logits.toSpliced(logits.indexOf(top), 1);
  const second = Math.max(...rest);
  const sum = rest.reduce((total, logit) => total + Math.exp(logit - second), 0);
  return top - second - Math.log(sum);
}

/** ln max(p, 1 - p) = -ln(1 + exp(-|z|)) for p = sigmoid(z). */
function decisionLogProbability(logits: number[]): number {
  return -logits.reduce((total, logit) => total + Math.log1p(Math.exp(-Math.abs(logit))), 0);
}
