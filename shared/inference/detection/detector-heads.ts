/** Reads the heads of detectors: from numbers to boxes with a label and a score. Pure. */
import type { DetectorFamily } from '../../release/folder/model-spec.ts';
import type { SizePx } from '../../release/folder/picture-recipe.ts';
import { sigmoid, softmax } from '../../tasks/probability.ts';
import { requireFinite } from '../graph/finite.ts';
import type { Floats } from '../tensor/floats.ts';

/** A box with edges in px of the canvas, or 0..1 of the picture where the head speaks of parts. */
export interface Candidate {
  readonly xmin: number;
  readonly ymin: number;
  readonly xmax: number;
  readonly ymax: number;
  /** Probability 0..1. */
  readonly score: number;
  /** Index among the labels. */
  readonly label: number;
}

/** One picture's outputs. */
export interface HeadOutput {
  /** DETR: f32[Q,C] logits; YOLO: the family's own rows. */
  readonly rows: Floats;
  /** DETR: f32[Q,4] cxcywh 0..1. */
  readonly boxes: Floats | undefined;
}

/** How a head's numbers are read: they differ by family. */
export interface HeadOptions {
  readonly family: DetectorFamily;
  readonly canvas: SizePx;
  /** YOLOX: cx, cy, w, h are still of the grid. */
  readonly isRaw: boolean;
  /** Candidates below it are not listed. */
  readonly leastScore: number;
}

/** A batch of one picture's candidates before suppression, which takes the square of their number. */
const MAX_CANDIDATES = 3_000;
/** YOLOX's levels, px of a cell's side; the last only in models for large pictures. */
const STRIDES = [8, 16, 32, 64];

/** @returns at most 3,000, best first @throws OUTPUT_NOT_FINITE */
export function candidatesOf(output: HeadOutput, options: HeadOptions): Candidate[] {
  requireFinite(output.rows.data, 'the outputs');
  if (output.boxes) requireFinite(output.boxes.data, 'the boxes');
  const found = read(output, options).filter(({ score }) => score >= options.leastScore);
  // The size of a cell's box is a power: what is finite may end in infinity.
  for (const { xmin, ymin, xmax, ymax } of found) requireFinite([xmin, ymin, xmax, ymax], 'the boxes');
  return found.sort((a, b) => b.score - a.score).slice(0, MAX_CANDIDATES);
}

function read(output: HeadOutput, options: HeadOptions): Candidate[] {
  switch (options.family) {
    case 'detr':
      return detr(output);
    case 'rt-detr':
      return rtDetr(output);
    case 'yolox':
      return options.isRaw ? gridRows(output.rows, options) : anchorRows(output.rows, 5, options);
    case 'yolov5':
      return anchorRows(output.rows, 5, options);
    case 'yolov8':
      return anchorRows(transposed(output.rows), 4, options);
    case 'yolov10':
    case 'torchvision':
    case 'tensorflow':
      return finishedRows(output.rows);
    case 'rt-detr-ultralytics':
      return anchorRows(output.rows, 4, options);
  }
}

/** transformers, DetrImageProcessor.post_process_object_detection: "no object" is the last class. */
function detr({ rows, boxes }: HeadOutput): Candidate[] {
  return eachRow(rows).map((logits, query) => {
    const chances = softmax(logits).subarray(0, -1);
    const label = indexOfTop(chances);
    return { ...cornersOf(rowAt(boxes, query)), score: chances[label] ?? 0, label };
  });
}

/** transformers, RTDetrImageProcessor: each class by itself, as many in all as there are queries. */
function rtDetr({ rows, boxes }: HeadOutput): Candidate[] {
  const all = eachRow(rows).flatMap((logits, query) =>
    Array.from(logits, (logit, label) => ({ query, label, score: sigmoid(logit) })),
  );
  const [queries = 0] = rows.dims;
  return all
    .sort((a, b) => b.score - a.score)
    .slice(0, queries)
    .map(({ query, label, score }) => ({ ...cornersOf(rowAt(boxes, query)), score, label }));
}

/** f32[A,5+C] or f32[A,4+C], px; an objectness counts as a factor. */
function anchorRows({ data, dims }: Floats, classesAt: 4 | 5, { leastScore }: HeadOptions): Candidate[] {
  const [count = 0, width = 0] = dims;
  const found: Candidate[] = [];
  for (let row = 0; row < count; row++) {
    const values = data.subarray(row * width, (row + 1) * width);
    const objectness = classesAt === 5 ? (values[4] ?? 0) : 1;
    if (objectness < leastScore) continue;
    const label = indexOfTop(values.subarray(classesAt));
    const score = objectness * (values[classesAt + label] ?? 0);
    if (score >= leastScore) found.push({ ...cornersOf(values), score, label });
  }
  return found;
}

/** YOLOX before decoding (demo_utils.py, `demo_postprocess`): offsets in cells, logarithms of sizes in cells. */
function gridRows(rows: Floats, options: HeadOptions): Candidate[] {
  const [, width = 0] = rows.dims;
  const data = rows.data.slice();
  let at = 0;
  for (const { column, row, stride } of cellsOf(options.canvas, rows.dims[0] ?? 0)) {
    data[at] = ((data[at] ?? 0) + column) * stride;
    data[at + 1] = ((data[at + 1] ?? 0) + row) * stride;
    data[at + 2] = Math.exp(data[at + 2] ?? 0) * stride;
    data[at + 3] = Math.exp(data[at + 3] ?? 0) * stride;
    at += width;
  }
  return anchorRows({ data, dims: rows.dims }, 5, options);
}

/** Cells of all levels, in the order of the rows. */
function* cellsOf(canvas: SizePx, count: number): Generator<{ column: number; row: number; stride: number }> {
  for (const stride of stridesFor(canvas, count) ?? []) {
    const [columns, rows] = [Math.floor(canvas.widthPx / stride), Math.floor(canvas.heightPx / stride)];
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) yield { column, row, stride };
  }
}

/** The levels that give so many rows; undefined where none do. */
export function stridesFor({ widthPx, heightPx }: SizePx, count: number): number[] | undefined {
  const cells = (strides: readonly number[]): number =>
    strides.reduce((sum, stride) => sum + Math.floor(widthPx / stride) * Math.floor(heightPx / stride), 0);
  return [STRIDES.slice(0, 3), STRIDES].find((strides) => cells(strides) === count);
}

/**
 * Whether a YOLOX head is not decoded yet: its makers export it so (`decode_in_inference` off), but either form is about. Decoded
 * centres cover the canvas, so that their mean is near its middle; raw ones are offsets of a cell or two.
 */
export function isRawGrid({ data, dims }: Floats, { widthPx }: SizePx): boolean {
  const [count = 0, width = 0] = dims;
  let sum = 0;
  for (let row = 0; row < count; row++) sum += data[row * width] ?? 0;
  return Math.abs(sum / Math.max(1, count)) < widthPx / 8;
}

/** f32[K,6]: xyxy px, score, class. */
function finishedRows(rows: Floats): Candidate[] {
  return eachRow(rows).map((values) => {
    const [xmin = 0, ymin = 0, xmax = 0, ymax = 0, score = 0, label = 0] = values;
    return { xmin, ymin, xmax, ymax, score, label: Math.round(label) };
  });
}

function transposed({ data, dims }: Floats): Floats {
  const [height = 0, width = 0] = dims;
  const turned = new Float32Array(data.length);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++)
      turned[column * height + row] = data[row * width + column] ?? 0;
  return { data: turned, dims: [width, height] };
}

function eachRow(rows: Floats): Float32Array[] {
  return Array.from({ length: rows.dims[0] ?? 0 }, (_, row) => rowAt(rows, row));
}

function rowAt(rows: Floats | undefined, row: number): Float32Array {
  const width = rows?.dims[1] ?? 0;
  return rows?.data.subarray(row * width, (row + 1) * width) ?? new Float32Array();
}

/** From cx, cy, w, h. */
function cornersOf(values: Float32Array): Pick<Candidate, 'xmin' | 'ymin' | 'xmax' | 'ymax'> {
  const [cx = Number.NaN, cy = Number.NaN, w = Number.NaN, h = Number.NaN] = values;
  return { xmin: cx - w / 2, ymin: cy - h / 2, xmax: cx + w / 2, ymax: cy + h / 2 };
}

function indexOfTop(values: Float32Array | Float64Array): number {
  let best = 0;
  for (let index = 1; index < values.length; index++)
    if ((values[index] ?? 0) > (values[best] ?? 0)) best = index;
  return best;
}
