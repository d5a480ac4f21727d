/**
 * How sure a model is, from its answer alone: for recorded answers of other systems, which keep no logits
 * (docs/design/router.md 3). Where there are logits, `routeScoreOf` says more. Higher is surer; any answer has a score, and it
 * is finite. Pure.
 */
import {
  detectionAnswer,
  embeddingAnswer,
  entitiesAnswer,
  filledAnswer,
  rankedAnswer,
  spanAnswer,
  textAnswer,
} from './answers.ts';
import { ROUTE_SCORE_FLOOR, routeScoreOf } from './classification.ts';
import { logOdds } from './probability.ts';
import type { Classification } from './task-schemas.ts';
import { RANKED_TASKS, type TaskName } from './tasks.ts';

/** Boxes below it are no candidates: detectors list hundreds that nobody would keep. */
export const LEAST_CANDIDATE = 0.05;
/**
 * "Nothing found" can be wrong as any answer can: as unsure as one box at even odds. Taken as sure, what the small model
 * overlooks would never be escalated.
 */
export const NOTHING_FOUND = -Math.LN2;
/** Half a step of 32-bit floats below 1: what rounds to 1 lacks less. */
const MOST_LACKING = 2 ** -25;

/**
 * @param random uniform in [0, 1): the score where the answer says nothing of how sure it is (tensors, texts). By it a certified share
 *   stays local at random.
 * @returns `ROUTE_SCORE_FLOOR` for an answer that cannot be read
 */
export function routeScoreOfAnswer(task: TaskName, answer: unknown, random: () => number): number {
  switch (task) {
    case 'image-classification':
    case 'text-classification':
    case 'zero-shot-classification':
      return ofRanked(answer);
    case 'object-detection':
      return ofDetections(answer);
    case 'token-classification':
      return ofEntities(answer);
    case 'question-answering': {
      const score = spanAnswer.safeParse(answer).data?.score;
      return score === undefined ? ROUTE_SCORE_FLOOR : logOddsOf(score, 0);
    }
    case 'fill-mask': {
      const filled = filledAnswer.safeParse(answer).data;
      return filled ? logOddsOf(Math.max(...filled.map(({ score }) => score)), 0) : ROUTE_SCORE_FLOOR;
    }
    case 'feature-extraction':
      return embeddingAnswer.safeParse(answer).success ? random() : ROUTE_SCORE_FLOOR;
    case 'translation':
    case 'summarization':
    case 'text-generation':
    case 'automatic-speech-recognition':
    case 'image-to-text':
      return textAnswer.safeParse(answer).success ? random() : ROUTE_SCORE_FLOOR;
    case 'tensor':
      return random();
  }
}

/** Probability 0..1 of the best label; null where the answer has none (logits, other tasks, what cannot be read). */
export function topProbabilityOf(task: TaskName, answer: unknown): number | null {
  if (!RANKED_TASKS.has(task)) return null;
  const ranked = rankedAnswer.safeParse(answer).data;
  return ranked && areProbabilities(ranked) ? topOf(ranked) : null;
}

/** Log-odds of the best label; of logits their margin. */
function ofRanked(answer: unknown): number {
  const ranked = rankedAnswer.safeParse(answer).data;
  if (!ranked) return ROUTE_SCORE_FLOOR;
  if (!areProbabilities(ranked))
    return routeScoreOf(
      Float32Array.from(ranked, ({ score }) => score),
      false,
    );
  const top = topOf(ranked);
  return logOddsOf(top, ranked.reduce((sum, { score }) => sum + score, 0) - top);
}

const topOf = (ranked: readonly Classification[]): number =>
  ranked.reduce((top, { score }) => Math.max(top, score), 0);

const areProbabilities = (ranked: readonly Classification[]): boolean =>
  ranked.every(({ score }) => score >= 0 && score <= 1);

/** Log-probability that all that it names are right; it may have overlooked one where it names none. */
function ofEntities(answer: unknown): number {
  const entities = entitiesAnswer.safeParse(answer).data;
  if (!entities || entities.some(({ score }) => score === undefined)) return ROUTE_SCORE_FLOOR;
  if (entities.length === 0) return NOTHING_FOUND;
  const sum = entities.reduce((all, { score = 0 }) => all + Math.log(Math.max(LEAST_CANDIDATE, score)), 0);
  return Math.min(0, sum);
}

/** Log-probability that no box's decision to keep or drop it flips. */
function ofDetections(answer: unknown): number {
  const boxes = detectionAnswer.safeParse(answer).data;
  if (!boxes) return ROUTE_SCORE_FLOOR;
  const candidates = boxes.map(({ score }) => Math.min(1, score)).filter((score) => score >= LEAST_CANDIDATE);
  if (candidates.length === 0) return NOTHING_FOUND;
  return candidates.reduce((sum, score) => sum + Math.log(Math.max(score, 1 - score)), 0);
}

/**
 * ln p / (1 - p), never infinite.
 *
 * @param rest probability of the other labels that are listed: where p was rounded to 1, it tells how near
 */
function logOddsOf(p: number, rest: number): number {
  const probability = Math.min(1, Math.max(0, p));
  return logOdds(probability, 1 - probability || Math.min(MOST_LACKING, rest));
}

/** Share of all scores that one value may have before its ties are broken. */
const MANY = 0.01;
/** A step of an 8-bit softmax (docs/design/router.md 2.8). */
const TIE_STEP = 1 / 257;

/**
 * Spreads scores that very many answers share: an 8-bit softmax gives everything above 255/256 one value, and a threshold could
 * only keep all of them or none (at 98 % agreement 54 % escalated instead of 100 %: docs/design/router.md 2.8). Only where over
 * a hundredth share a value; upwards by chance, by less than one 8-bit step, and never past the next score: an order that was
 * there stays.
 *
 * @param scores changed in place
 * @returns how many were spread
 */
export function breakTies(scores: Float64Array, random: () => number): number {
  const sorted = scores.slice().sort();
  const steps = new Map<number, number>();
  for (let start = 0, end = 0; start < sorted.length; start = end) {
    const value = sorted[start] ?? 0;
    while (end < sorted.length && sorted[end] === value) end++;
    // What cannot be read stays below every threshold.
    if (end - start <= Math.max(1, MANY * sorted.length) || value === ROUTE_SCORE_FLOOR) continue;
    steps.set(value, Math.min(TIE_STEP, (sorted[end] ?? Number.POSITIVE_INFINITY) - value));
  }
  let spread = 0;
  for (const [index, score] of scores.entries()) {
    const step = steps.get(score);
    if (step === undefined) continue;
    scores[index] = score + step * random();
    spread++;
  }
  return spread;
}
