/** Labels with scores, judged: shared by the classification tasks. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR, routeScoreOf } from '../classification.ts';
import { type Classification, classification, rankedAnswer } from '../forms/labels.ts';
import type { LossOptions } from '../loss-options.ts';
import { bestFirst } from './best-first.ts';
import { logOddsOf } from './route-score.ts';
import { scoreText, shownAs } from './shown.ts';

/** Scores 0..1 may differ by this. */
const SCORE_TOLERANCE = 0.05;

/**
 * 0 where the cloud's best is among the local `topK`, else 1. Numbers, which a regression gives under one label, are compared as such: by
 * their difference, as a share of the tolerance.
 */
export function lossOfLabels(local: unknown, cloud: unknown, { topK, tolerance }: LossOptions): number {
  const [mine, theirs] = [rankedAnswer.safeParse(local), rankedAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return 1;
  if (tolerance !== undefined || (isNumber(mine.data, theirs.data) && topK === 1))
    return Math.min(1, largestDifference(mine.data, theirs.data) / (tolerance ?? 1));
  const [best] = bestFirst(theirs.data);
  return bestFirst(mine.data)
    .slice(0, topK)
    .some(({ label }) => label === best?.label)
    ? 0
    : 1;
}

/** One label each, with what is no probability. */
const isNumber = (mine: readonly Classification[], theirs: readonly Classification[]): boolean =>
  mine.length === 1 && theirs.length === 1 && !(areProbabilities(mine) && areProbabilities(theirs));

/** Of the scores of each label that the cloud names; infinite where the device does not. */
const largestDifference = (mine: readonly Classification[], theirs: readonly Classification[]): number =>
  theirs.reduce((most, { label, score }) => {
    // The nearest, where an answer names a label twice.
    const same = mine.filter((one) => one.label === label);
    return Math.max(most, Math.min(...same.map((one) => Math.abs(one.score - score))));
  }, 0);

/** Log-odds of the best label; of logits their margin. */
export function routeScoreOfLabels(answer: unknown): number {
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

/** Probability 0..1 of the best label; null for logits and for what cannot be read. */
export function topProbabilityOfLabels(answer: unknown): number | null {
  const ranked = rankedAnswer.safeParse(answer).data;
  return ranked && areProbabilities(ranked) ? topOf(ranked) : null;
}

const topOf = (ranked: readonly Classification[]): number =>
  ranked.reduce((top, { score }) => Math.max(top, score), 0);

const areProbabilities = (ranked: readonly Classification[]): boolean =>
  ranked.every(({ score }) => score >= 0 && score <= 1);

/** Difference from the golden labels: another best label, or a score that is not nearly the same. @returns undefined: none */
export function differenceOfLabels(golden: unknown, answer: unknown): string | undefined {
  const expected = rankedAnswer.parse(golden);
  const actual = answer as Classification[];
  const [wanted, got] = [best(expected), best(actual)];
  if (!got) return `expected ${show(wanted)}, it answers nothing`;
  if (got.label !== wanted?.label) return `expected ${show(wanted)}, it answers ${show(got)}`;
  const lowest = Math.min(...actual.map(({ score }) => score));
  for (const { label, score } of expected) {
    const found = actual.find((one) => one.label === label);
    // A label that is not among the best has at most the score of the last of them.
    const difference = found ? Math.abs(found.score - score) : Math.max(0, score - lowest);
    if (!(difference <= SCORE_TOLERANCE))
      return `expected ${show({ label, score })}, it answers ${show(found ?? { label, score: lowest })}`;
  }
  return undefined;
}

const best = (all: readonly Classification[]): Classification | undefined =>
  all.reduce<Classification | undefined>((a, b) => (a && a.score >= b.score ? a : b), undefined);

const show = (one: Classification | undefined): string =>
  one ? `“${one.label}” with ${one.score.toFixed(3)}` : 'nothing';

/** A row a label. */
export const shownLabels = shownAs(z.array(classification), (answer) => ({
  head: ['label', 'score'],
  rows: answer.map(({ label, score }) => [label, scoreText(score)]),
}));
