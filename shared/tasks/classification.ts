/** Logits to labels, scores and the score that the router orders by; shared by the classification tasks. Pure. */

import type { Classification } from './forms/labels.ts';
import { logOddsMargin, sigmoid, softmax, tame } from './probability.ts';

/**
 * The lowest route score, for "as unsure as can be" (NaN logits, a text that was cut): finite, because JSON has no -Infinity.
 * No model's margin comes near it.
 */
export const ROUTE_SCORE_FLOOR = -1e9;

/** A route score as JSON and the router take it: finite; NaN is as unsure as can be. */
export const boundedScore = (score: number): number =>
  Number.isNaN(score) ? ROUTE_SCORE_FLOOR : Math.min(-ROUTE_SCORE_FLOOR, Math.max(ROUTE_SCORE_FLOOR, score));

/** How logits become scores, in transformers' names. */
export type ScoreFunction = 'softmax' | 'sigmoid' | 'none';

/** How one model's logits become an answer. */
export interface ScoreOptions {
  /** In the order of the logits. */
  readonly labels: readonly string[];
  readonly apply: ScoreFunction;
  /** Calibration: logits are divided by it before `softmax` or `sigmoid`; never for `routeScore`. */
  readonly temperature: number;
  readonly topK: number;
}

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
    case 'softmax':
      return Array.from(softmax(logits.map((logit) => logit / temperature)));
    case 'sigmoid':
      return logits.map((logit) => sigmoid(logit / temperature));
    case 'none':
      return logits;
  }
}

/**
 * How sure the model is, unbounded, from raw logits; never NaN, never infinite.
 * One label of many: the log-odds margin z_top - logsumexp(rest). Independent labels (sigmoid, or a single class): the
 * log-probability that no label's keep-or-drop decision flips, sum over ln max(p, 1 - p), at most 0 (docs/design/router.md 3).
 *
 * @param logits f32[C]
 */
export function routeScoreOf(logits: Float32Array, areIndependent: boolean): number {
  if (logits.length === 0 || logits.some(Number.isNaN)) return ROUTE_SCORE_FLOOR;
  const finite = Array.from(logits, tame);
  const score =
    areIndependent || finite.length === 1 ? decisionLogProbability(finite) : logOddsMargin(finite);
  return boundedScore(score);
}

/** ln max(p, 1 - p) = -ln(1 + exp(-|z|)) for p = sigmoid(z). */
function decisionLogProbability(logits: number[]): number {
  return -logits.reduce((total, logit) => total + Math.log1p(Math.exp(-Math.abs(logit))), 0);
}
