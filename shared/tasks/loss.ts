/**
 * How much the local answer differs from the cloud's, 0..1: what the promise of agreement is about (docs/design/router.md 3).
 */
import { z } from 'zod';
import {
  detectionAnswer,
  embeddingAnswer,
  entitiesAnswer,
  filledAnswer,
  rankedAnswer,
  spanAnswer,
  tensorsAnswer,
  textAnswer,
} from './answers.ts';
import type { Box, Detection, Tensor } from './task-schemas.ts';
import type { TaskName } from './tasks.ts';

/** What counts as the same answer. */
export const lossOptions = z.strictObject({
  /** Labels: the cloud's best must be among so many of the local ones. @example 3 */
  topK: z.int().min(1).max(100).default(1),
  /** Boxes: overlap (intersection over union, 0..1) from which two are the same. @example 0.5 */
  iou: z.number().gt(0).max(1).default(0.5),
  /** Boxes below this score 0..1 are not looked at. @example 0.5 */
  minScore: z.number().min(0).max(1).default(0.5),
  /** Boxes: one without a partner is a whole disagreement, instead of its share of them. @example true */
  strict: z.boolean().default(false),
  /**
   * Tensors: largest difference of two numbers that counts as a whole disagreement, in their unit. Embeddings: so much less than 1 of
   * cosine similarity does.
   *
   * @example 0.1
   */
  tolerance: z.number().positive().default(1),
});
export type LossOptions = z.infer<typeof lossOptions>;

const USUAL: LossOptions = lossOptions.parse({});

/**
 * @param local the edge's output, of whatever form
 * @param cloud the cloud's output
 * @returns 0 when they agree, 1 when they don't, between the two where they partly do; an answer that cannot be read is a
 *   disagreement
 */
export function lossOf(task: TaskName, local: unknown, cloud: unknown, options: LossOptions = USUAL): number {
  switch (task) {
    case 'image-classification':
    case 'text-classification':
    case 'zero-shot-classification':
      return lossOfLabels(local, cloud, options);
    case 'object-detection':
      return lossOfBoxes(local, cloud, options);
    case 'token-classification':
      return lossOfEntities(local, cloud);
    case 'fill-mask':
      return lossOfWords(bestToken(local), bestToken(cloud));
    case 'question-answering':
      return lossOfWords(spanAnswer.safeParse(local).data?.answer, spanAnswer.safeParse(cloud).data?.answer);
    case 'translation':
    case 'summarization':
    case 'text-generation':
    case 'automatic-speech-recognition':
    case 'image-to-text':
      return lossOfWords(textAnswer.safeParse(local).data, textAnswer.safeParse(cloud).data);
    case 'feature-extraction':
      return lossOfEmbeddings(local, cloud, options);
    case 'tensor':
      return lossOfTensors(local, cloud, options);
  }
}

function lossOfLabels(local: unknown, cloud: unknown, { topK }: LossOptions): number {
  const [mine, theirs] = [rankedAnswer.safeParse(local), rankedAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return 1;
  const [best] = bestFirst(theirs.data);
  return bestFirst(mine.data)
    .slice(0, topK)
    .some(({ label }) => label === best?.label)
    ? 0
    : 1;
}

/** Equal scores keep their order. */
const bestFirst = <T extends { readonly score: number }>(answers: readonly T[]): T[] =>
  answers.toSorted((a, b) => b.score - a.score);

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

/** 1 - F1 of the entities: the same where place and kind are. */
function lossOfEntities(local: unknown, cloud: unknown): number {
  const [mine, theirs] = [entitiesAnswer.safeParse(local), entitiesAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return 1;
  const [ours, others] = [mine.data, theirs.data].map((all) =>
    all.map((one) => `${one.start} ${one.end} ${one.entity_group ?? one.entity ?? ''}`),
  ) as [string[], string[]];
  return 1 - overlap(ours, others);
}

function bestToken(answer: unknown): string | undefined {
  const [best] = bestFirst(filledAnswer.safeParse(answer).data ?? []);
  return best?.token_str;
}

/**
 * 1 - F1 of the words, as SQuAD's evaluate-v2.0.py takes it.
 *
 * @param local undefined: it could not be read
 */
function lossOfWords(local: string | undefined, cloud: string | undefined): number {
  if (local === undefined || cloud === undefined) return 1;
  return local === cloud ? 0 : 1 - overlap(wordsOf(local), wordsOf(cloud));
}

/** F1 of two lists, 0..1, whatever their order; of two empty ones 1. */
function overlap(ours: readonly string[], others: readonly string[]): number {
  const all = ours.length + others.length;
  if (all === 0) return 1;
  const left = new Map<string, number>();
  for (const word of others) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of ours) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    common++;
  }
  return (2 * common) / all;
}

/** Python's `string.punctuation`. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
/** JavaScript's `\b` knows ASCII alone. */
const ARTICLE = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

const wordsOf = (text: string): string[] =>
  text
    .toLowerCase()
    .replace(PUNCTUATION, '')
    .replace(ARTICLE, ' ')
    .split(/\s+/)
    .filter((word) => word !== '');

/** Of the least similar row. */
function lossOfEmbeddings(local: unknown, cloud: unknown, { tolerance }: LossOptions): number {
  const [mine, theirs] = [embeddingAnswer.safeParse(local), embeddingAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success || mine.data.length !== theirs.data.length) return 1;
  const distances = mine.data.map((row, index) => cosineDistance(row, theirs.data[index] ?? []));
  return Math.min(1, Math.max(...distances) / tolerance);
}

/** 1 - cosine similarity, 0..2, taken from the difference of the unit vectors, so that the same is 0 to the last digit. */
function cosineDistance(one: readonly number[], other: readonly number[]): number {
  if (one.length !== other.length) return 2;
  const [a, b] = [unit(one), unit(other)];
  return a.reduce((sum, value, index) => sum + (value - (b[index] ?? 0)) ** 2, 0) / 2;
}

/** Of length 1; all zeros stay as they are. */
function unit(values: readonly number[]): number[] {
  // Squares of very large or small numbers would not fit.
  const largest = values.reduce((top, value) => Math.max(top, Math.abs(value)), 0) || 1;
  const scaled = values.map((value) => value / largest);
  const length = Math.hypot(...scaled) || 1;
  return scaled.map((value) => value / length);
}

/** Named tensors, or numbers in nested arrays as other systems record them. */
function lossOfTensors(local: unknown, cloud: unknown, { tolerance }: LossOptions): number {
  const [mine, theirs] = [tensorsAnswer.safeParse(local), tensorsAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return Math.min(1, largestDifference(local, cloud) / tolerance);
  if (mine.data.length !== theirs.data.length) return 1;
  const differences = mine.data.map((one, index) => differenceOf(one, theirs.data[index]));
  return Math.min(1, Math.max(...differences) / tolerance);
}

/** Largest difference of two numbers; infinite where anything else differs. */
function differenceOf(one: Tensor, other: Tensor | undefined): number {
  if (other?.name !== one.name || String(other.shape) !== String(one.shape)) return Number.POSITIVE_INFINITY;
  if (one.datatype !== 'BYTES' && one.datatype !== 'BOOL') return largestDifference(one.data, other.data);
  const isSame = one.data.length === other.data.length && one.data.every((item, i) => item === other.data[i]);
  return isSame ? 0 : Number.POSITIVE_INFINITY;
}

/** Nobody nests deeper; what does is no tensor. */
const MAX_DIMENSIONS = 16;

/** Largest absolute difference of two numbers in the same place; infinite where shapes differ or something is no number. */
function largestDifference(one: unknown, other: unknown, dimensionsLeft = MAX_DIMENSIONS): number {
  if (typeof one === 'number' && typeof other === 'number') {
    const difference = Math.abs(one - other);
    return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  if (!Array.isArray(one) || !Array.isArray(other)) return Number.POSITIVE_INFINITY;
  if (one.length !== other.length || dimensionsLeft === 0) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (const [index, inner] of one.entries()) {
    largest = Math.max(largest, largestDifference(inner, other[index], dimensionsLeft - 1));
    if (largest === Number.POSITIVE_INFINITY) return largest;
  }
  return largest;
}
