/** From candidates to the boxes of an answer: suppression, the way back to the picture, and how sure the model is. Pure. */

import type { SizePx } from '../../release/folder/picture-recipe.ts';
import { boundedScore } from '../../tasks/classification.ts';
import { LEAST_CANDIDATE, NOTHING_FOUND } from '../../tasks/judging/route-score.ts';
import type { Detection } from '../../tasks/object-detection/schema.ts';
import type { Candidate } from './detector-heads.ts';
import type { Placement } from './detector-recipe.ts';

/**
 * Non-maximum suppression within one label: keeps the surest of those that overlap more than the threshold.
 *
 * @param candidates best first
 */
export function suppress(candidates: readonly Candidate[], iouThreshold: number): Candidate[] {
  const kept = new Map<number, Candidate[]>();
  return candidates.filter((candidate) => {
    const rivals = kept.get(candidate.label) ?? [];
    if (rivals.some((rival) => overlapOf(candidate, rival) > iouThreshold)) return false;
    rivals.push(candidate);
    kept.set(candidate.label, rivals);
    return true;
  });
}

/** Intersection over union, 0..1. */
function overlapOf(one: Candidate, other: Candidate): number {
  const width = Math.min(one.xmax, other.xmax) - Math.max(one.xmin, other.xmin);
  const height = Math.min(one.ymax, other.ymax) - Math.max(one.ymin, other.ymin);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (areaOf(one) + areaOf(other) - width * height);
}

const areaOf = ({ xmin, ymin, xmax, ymax }: Candidate): number => (xmax - xmin) * (ymax - ymin);

/** Scale and padding to undo, so that a box of the model's input becomes one of the picture. */
export interface BackOptions {
  readonly labels: readonly string[];
  readonly source: SizePx;
  readonly placement: Placement;
  /** The edges are 0..1 of the picture instead of px of the canvas. */
  readonly areParts: boolean;
}

/** A box in px of the picture as it came, clipped to it. */
export function toDetection(candidate: Candidate, options: BackOptions): Detection {
  const { labels, source, placement, areParts } = options;
  const back = (value: number, before: number, scale: number, most: number): number =>
    Math.min(most, Math.max(0, areParts ? value * most : (value - before) / scale));
  const across = (value: number): number => back(value, placement.leftPx, placement.scaleX, source.widthPx);
  const down = (value: number): number => back(value, placement.topPx, placement.scaleY, source.heightPx);
  const { xmin, ymin, xmax, ymax, score, label } = candidate;
  const [left, right] = [across(Math.min(xmin, xmax)), across(Math.max(xmin, xmax))];
  const [top, bottom] = [down(Math.min(ymin, ymax)), down(Math.max(ymin, ymax))];
  return {
    label: labels[label] ?? `LABEL_${label}`,
    score,
    box: { xmin: left, ymin: top, xmax: right, ymax: bottom },
  };
}

/** Log-probability that no decision to keep or drop a candidate flips (docs/design/router.md 3); at most 0. */
export function detectionScore(candidates: readonly Candidate[]): number {
  const counted = candidates
    .map(({ score }) => Math.min(1, score))
    .filter((score) => score >= LEAST_CANDIDATE);
  if (counted.length === 0) return NOTHING_FOUND;
  return boundedScore(counted.reduce((sum, score) => sum + Math.log(Math.max(score, 1 - score)), 0));
}
