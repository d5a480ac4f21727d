/** Answers of `tensor`: numbers, compared by their largest difference. Pure. */
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';
import { numbersText, shownAs, unlike } from '../judging/shown.ts';
import { type LossOptions, lossOptions } from '../loss-options.ts';
import type { AnswerTable, Judge, MadeInput, ModelFacts } from '../task.ts';
import { DATATYPES, isElementType, NOT_FINITE } from './element-types.ts';
import { type Tensor, tensor } from './schema.ts';

/** A recorded answer with names; nested numbers are an answer, too. */
const tensorsAnswer = z.array(tensor).min(1);

/** As golden answers are compared: what numbers may differ, as a share of the largest of them. */
const TOLERANCE = 0.05;
const MAX_ROWS = 20;
/** Of the smallest input. */
const MAX_ELEMENTS = 16_000_000;

/** The judge of `tensor`. */
export const tensorJudge: Judge = {
  lossOf: lossOfTensors,
  // Chance: numbers say nothing of how sure their model was.
  routeScoreOf: (_answer, random) => random(),
  differenceOf(expected, actual) {
    const options = lossOptions.parse({ tolerance: TOLERANCE * largestOf(expected) });
    return lossOfTensors(actual, expected, options) < 1 ? undefined : unlike(expected, actual);
  },
  smallestInput: constantTensors,
  shown: shownAs(z.array(tensor), shownTensors),
};

/** Named tensors, or numbers in nested arrays as other systems record them. */
function lossOfTensors(local: unknown, cloud: unknown, { tolerance = 1 }: LossOptions): number {
  const [mine, theirs] = [tensorsAnswer.safeParse(local), tensorsAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return Math.min(1, largestDifference(local, cloud) / tolerance);
  if (mine.data.length !== theirs.data.length) return 1;
  const differences = mine.data.map((one, index) => differenceOfTwo(one, theirs.data[index]));
  return Math.min(1, Math.max(...differences) / tolerance);
}

/** Largest difference of two numbers; infinite where anything else differs. */
function differenceOfTwo(one: Tensor, other: Tensor | undefined): number {
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
  // What both say alike is no difference.
  if (NOT_FINITE.has(one) && one === other) return 0;
  if (!Array.isArray(one) || !Array.isArray(other)) return Number.POSITIVE_INFINITY;
  if (one.length !== other.length || dimensionsLeft === 0) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (const [index, inner] of one.entries()) {
    largest = Math.max(largest, largestDifference(inner, other[index], dimensionsLeft - 1));
    if (largest === Number.POSITIVE_INFINITY) return largest;
  }
  return largest;
}

/** At least 1, so that a tensor of zeros may have its noise. */
function largestOf(tensors: unknown): number {
  const numbers = (tensorsAnswer.safeParse(tensors).data ?? []).flatMap(({ data }) => data.map(Number));
  return numbers.reduce((largest, value) => Math.max(largest, Math.abs(value) || 0), 1);
}

/** Every tensor that the graph takes, in the shape known to do or with dynamic axes of length 1, full of zeros or of ones. @throws MODEL_INVALID */
function constantTensors(value: 0 | 1, { name: model, inputs, shapes }: ModelFacts): MadeInput {
  if (!inputs)
    throw new AppError(
      'MODEL_INVALID',
      `${model}: without golden inputs outrider.json must say its signature; import the folder again`,
    );
  const tensors = inputs.map(({ name, type, dims }) => {
    const shape = shapes?.[name] ?? dims.map((dim) => dim ?? 1);
    const size = shape.reduce((product, dim) => product * dim, 1);
    if (!isElementType(type))
      throw new AppError('MODEL_INVALID', `${model}: input ${name} is of type ${type}`);
    const datatype = DATATYPES[type];
    if (size > MAX_ELEMENTS)
      throw new AppError('MODEL_INVALID', `${model}: input ${name} has ${size} elements, too many to try`);
    const element = datatype === 'BOOL' ? value === 1 : datatype === 'BYTES' ? String(value) : value;
    return { name, datatype, shape, data: Array.from({ length: size }, () => element) };
  });
  return { body: Buffer.from(JSON.stringify(tensors)) };
}

/** A row a tensor, with the first of its numbers. */
function shownTensors(answer: readonly Tensor[]): AnswerTable {
  return {
    head: ['name', 'type', 'shape', 'values'],
    rows: answer
      .slice(0, MAX_ROWS)
      .map(({ name, datatype, shape, data }) => [name, datatype, `[${shape.join(', ')}]`, numbersText(data)]),
  };
}
