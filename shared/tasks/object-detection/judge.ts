/** Answers of `object-detection`: boxes, matched by label and overlap. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { bestFirst } from '../judging/best-first.ts';
import { LEAST_CANDIDATE, NOTHING_FOUND } from '../judging/route-score.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestPicture } from '../judging/smallest.ts';
import { type LossOptions, lossOptions } from '../loss-options.ts';
import type { AnswerTable, Judge } from '../task.ts';
import { type Box, type Detection, detection } from './schema.ts';

/** A recorded answer. None found is an answer too. Detectors give a few hundred; comparing takes the product of two lengths. */
const detectionAnswer = z.array(detection).max(3_000);

/** As golden answers are compared: boxes that overlap so much (intersection over union) are one. */
const SAME_BOX = lossOptions.parse({ iou: 0.8 });
/** Share of golden boxes that may be another: those at the edge of their threshold. */
const OTHERS = 0.1;

/** The judge of `object-detection`. */
export const objectDetectionJudge: Judge = {
  lossOf: lossOfBoxes,
  routeScoreOf: routeScoreOfBoxes,
  differenceOf: (expected, actual) =>
    lossOfBoxes(actual, expected, SAME_BOX) <= OTHERS ? undefined : unlike(expected, actual),
  smallestInput: smallestPicture,
  shown: shownAs(z.array(detection), shownBoxes),
};

/** 1 - F1 of the boxes. */
function lossOfBoxes(local: unknown, cloud: unknown, { iou, minScore, strict }: LossOptions): number {
  const [mine, theirs] = [detectionAnswer.safeParse(local), detectionAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return 1;
  const isSeen = ({ score }: Detection): boolean => score >= minScore;
  const [ours, others] = [mine.data.filter(isSeen), theirs.data.filter(isSeen)];
  const all = ours.length + others.length;
  const unmatched = all - 2 * matches(ours, others, iou);
  if (unmatched === 0) return 0;
  return strict ? 1 : unmatched / all;
}

/** How many boxes of one side have a partner on the other: greedily by score, each with the nearest that is left. */
function matches(ours: readonly Detection[], others: readonly Detection[], iou: number): number {
  const left = bestFirst(others);
  let count = 0;
  for (const { label, box } of bestFirst(ours)) {
    let [nearest, overlap] = [-1, 0];
    for (const [index, other] of left.entries()) {
      const own = other.label === label ? overlapOf(box, other.box) : 0;
      if (own >= iou && own > overlap) [nearest, overlap] = [index, own];
    }
    if (nearest < 0) continue;
    left.splice(nearest, 1);
    count++;
  }
  return count;
}

/** Intersection over union, 0..1; of the same box 1, even of one without an area. */
function overlapOf(one: Box, other: Box): number {
  const width = Math.min(one.xmax, other.xmax) - Math.max(one.xmin, other.xmin);
  const height = Math.min(one.ymax, other.ymax) - Math.max(one.ymin, other.ymin);
  const isSame =
    one.xmin === other.xmin && one.ymin === other.ymin && one.xmax === other.xmax && one.ymax === other.ymax;
  if (isSame) return 1;
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (areaOf(one) + areaOf(other) - width * height);
}

const areaOf = ({ xmin, ymin, xmax, ymax }: Box): number => (xmax - xmin) * (ymax - ymin);

/** Log-probability that no box's decision to keep or drop it flips. */
function routeScoreOfBoxes(answer: unknown): number {
  const boxes = detectionAnswer.safeParse(answer).data;
  if (!boxes) return ROUTE_SCORE_FLOOR;
  const candidates = boxes.map(({ score }) => Math.min(1, score)).filter((score) => score >= LEAST_CANDIDATE);
  if (candidates.length === 0) return NOTHING_FOUND;
  return candidates.reduce((sum, score) => sum + Math.log(Math.max(score, 1 - score)), 0);
}

/** A row a box, its edges in whole px. */
function shownBoxes(answer: readonly Detection[]): string | AnswerTable {
  if (answer.length === 0) return 'nothing found';
  return {
    head: ['label', 'score', 'left', 'top', 'right', 'bottom'],
    rows: answer.map(({ label, score, box: { xmin, ymin, xmax, ymax } }) => [
      ...[label, scoreText(score)],
      ...[xmin, ymin, xmax, ymax].map((px) => px.toFixed(0)),
    ]),
  };
}
