/** `object-detection`: a picture to boxes with labels, in px of the picture as it came. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type FinishedOutputs, finishedOutputs } from '../../release/folder/finished-outputs.ts';
import { classifierConfig, labelsInOrder, readModelJson } from '../../release/folder/model-files.ts';
import type { DetectorFamily, ModelSpec } from '../../release/folder/model-spec.ts';
import { type PictureLayout, pictureDims, pictureLayout } from '../../release/folder/picture-layout.ts';
import { preprocessorConfig, type SizePx } from '../../release/folder/picture-recipe.ts';
import { type GraphEnd, graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import { LEAST_CANDIDATE } from '../../tasks/judging/route-score.ts';
import { type DetectionParameters, detectionParameters } from '../../tasks/object-detection/schema.ts';
import type { Tensors, TensorValue } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { detectionScore, suppress, toDetection } from '../detection/detections.ts';
import { checkFamily, familyOf, IOU_THRESHOLDS } from '../detection/detector-family.ts';
import { candidatesOf, isRawGrid, stridesFor } from '../detection/detector-heads.ts';
import {
  configuredRecipe,
  type DetectorRecipe,
  familyRecipe,
  type Placement,
  writeCanvas,
} from '../detection/detector-recipe.ts';
import { rowsOfFinished } from '../detection/finished-rows.ts';
import { mixesRows } from '../graph/batch-safety.ts';
import { answerEach } from '../graph/finite.ts';
import { logitsOf } from '../graph/logits.ts';
import { loadSession, type Session } from '../graph/session.ts';
import { readScaledPicture } from '../picture/image.ts';
import { coloursFor, pictureArray } from '../picture/picture-tensor.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, floatsOf, mainOutput, rowOf } from '../tensor/floats.ts';

const PREPROCESSOR = 'preprocessor_config.json';
const BOXES = 'pred_boxes';
const USUAL_THRESHOLD = 0.5;
/** Of the first picture, which nobody has sent, px. */
const PROBE_SIDE_PX = 640;

/** Their boxes are 0..1 of the picture, without an output that is called so. */
const SPEAKS_OF_PARTS: ReadonlySet<DetectorFamily> = new Set(['tensorflow', 'rt-detr-ultralytics']);

interface PreparedPicture {
  /** u8[H,W,3] RGB of `placement.resized`. */
  readonly pixels: Uint8Array;
  readonly placement: Placement;
  readonly source: SizePx;
  readonly parameters: DetectionParameters;
}

/** The one kind of detector that a loaded graph is. */
interface Head {
  readonly family: DetectorFamily;
  readonly isRaw: boolean;
  readonly iouThreshold: number | undefined;
  readonly labels: readonly string[];
  /** What the graph has made of its logits. */
  readonly end: GraphEnd;
}

/** @throws MODEL_INVALID */
export async function loadObjectDetection(source: ModelSource): Promise<TaskModel<PreparedPicture>> {
  const { folder, spec } = source;
  const labels = labelsInOrder(folder, await readModelJson(folder, 'config.json', classifierConfig));
  const modelPath = join(folder, spec.model);
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const { input, layout } = pictureInput(session.inputs);
  const hasConfig = existsSync(join(folder, PREPROCESSOR));
  const config = hasConfig ? await readModelJson(folder, PREPROCESSOR, preprocessorConfig) : undefined;
  const graph: Graph = { session, layout, reading: readingOf(session, spec), labels };
  const recipeFor = (family: DetectorFamily): DetectorRecipe =>
    coloursFor(config ? configuredRecipe(config) : familyRecipe(family, canvasOf(layout, spec)), layout);
  // Which family it is, a first run tells; the colours of its picture don't matter there.
  const told = spec.detector?.family ?? graph.reading.finished?.family;
  const head = await probe(source, graph, recipeFor(told ?? 'yolox'));
  const recipe = recipeFor(head.family);
  const isRow = layout.hasBatch && graph.reading.finished === undefined;
  const isBatchSafe = spec.batch.safe && isRow && input.dims[0] === null && !(await mixesRows(modelPath));

  return {
    maxBatchSize: isBatchSafe ? spec.batch.maxSize : 1,
    executionProvider: session.executionProvider,
    async prepare(task) {
      const parameters = detectionParameters.parse(task.parameters ?? {});
      const sizeFor = (size: SizePx): SizePx => recipe.place(size).resized;
      const { pixels, source: size } = await readScaledPicture(task.body, recipe.kernel, sizeFor);
      return { pixels, placement: recipe.place(size), source: size, parameters };
    },
    // Pictures that end up alike need no padding.
    shapeKey: ({ placement: { canvas } }) => `${canvas.heightPx}x${canvas.widthPx}`,
    async run(batch) {
      const outputs = await runPictures(graph, recipe, batch);
      return answerEach(batch, (picture, index) => answerOf(picture, outputs, index, head));
    },
  };
}

/** A loaded graph, and how it is fed and read. */
interface Graph {
  readonly session: Session;
  readonly layout: PictureLayout;
  readonly reading: Reading;
  readonly labels: readonly string[];
}

/** Outputs that hold the boxes: finished ones, or rows with boxes beside them in DETR's form. */
interface Reading {
  readonly finished: FinishedOutputs | undefined;
  readonly main: string;
  readonly hasBoxes: boolean;
}

function readingOf({ outputs }: Session, { output, detector }: ModelSpec): Reading {
  const finished = finishedOutputs(outputs);
  const isMeant = detector === undefined || detector.family === finished?.family;
  return {
    finished: isMeant ? finished : undefined,
    main: mainOutput(outputs, output),
    hasBoxes: outputs.some(({ name }) => name === BOXES),
  };
}

/** The graph's picture. @throws MODEL_INVALID for a graph that wants something else besides a mask */
function pictureInput(inputs: readonly TensorSpec[]): { input: TensorSpec; layout: PictureLayout } {
  const others = inputs.filter(({ name }) => name !== 'pixel_mask');
  const [input] = others;
  const layout = input && pictureLayout(input);
  if (input && layout && others.length === 1) return { input, layout };
  const given = inputs.map(({ name, type, dims }) => `${name} ${type}[${dims.map((dim) => dim ?? '?')}]`);
  throw new AppError(
    'MODEL_INVALID',
    `the graph takes ${given.join(', ')}; a picture and pixel_mask can be fed`,
  );
}

/** What the graph fixes, else what its exporter has said. */
const canvasOf = ({ heightPx, widthPx }: PictureLayout, { detector }: ModelSpec) => ({
  heightPx: heightPx ?? detector?.inputSize?.height ?? null,
  widthPx: widthPx ?? detector?.inputSize?.width ?? null,
});

interface RawOutputs {
  /** Of all pictures of the batch. */
  readonly rows: Floats;
  readonly boxes: Floats | undefined;
}

/** @throws MODEL_INVALID */
async function runPictures(
  { session, layout, reading, labels }: Graph,
  recipe: DetectorRecipe,
  batch: readonly Pick<PreparedPicture, 'pixels' | 'placement'>[],
): Promise<RawOutputs> {
  const { canvas } = (batch[0] as PreparedPicture).placement;
  const size = layout.channels * canvas.heightPx * canvas.widthPx;
  const data = pictureArray(layout, batch.length * size);
  for (const [index, { pixels, placement }] of batch.entries())
    writeCanvas(pixels, recipe, placement, data, index * size, layout);
  const shape = { count: batch.length, ...canvas };
  const picture = { type: layout.type, data, dims: pictureDims(layout, shape) } as TensorValue;
  const feeds = feedsFor(session.inputs, picture, shape);
  const { finished, main, hasBoxes } = reading;
  if (finished) {
    const names = [finished.boxes, finished.scores, finished.labels, finished.count ?? []].flat();
    return { rows: rowsOfFinished(await session.run(feeds, names), finished, labels), boxes: undefined };
  }
  const outputs = await session.run(feeds, hasBoxes ? [main, BOXES] : [main]);
  const rows = floatsOf(outputs, main);
  if (rows.dims[0] !== batch.length)
    throw new AppError('MODEL_INVALID', `the graph gives [${rows.dims}] for ${batch.length} pictures`);
  return { rows, boxes: hasBoxes ? floatsOf(outputs, BOXES) : undefined };
}

/** The picture, and a mask that hides nothing where the graph wants one; some exports fix its size to [?,64,64]. */
function feedsFor(
  inputs: readonly TensorSpec[],
  picture: TensorValue,
  { count, heightPx, widthPx }: SizePx & { readonly count: number },
): Tensors {
  return Object.fromEntries(
    inputs.map(({ name, type, dims }) => {
      if (name !== 'pixel_mask') return [name, picture];
      const size = [count, dims[1] ?? heightPx, dims[2] ?? widthPx];
      return [name, maskOf(type, size)];
    }),
  );
}

/** @throws MODEL_INVALID */
function maskOf(type: string, dims: readonly number[]): TensorValue {
  const length = dims.reduce((product, dim) => product * dim, 1);
  if (type === 'int64') return { type, data: new BigInt64Array(length).fill(1n), dims };
  if (type === 'bool') return { type, data: new Uint8Array(length).fill(1), dims };
  if (type === 'float32') return { type, data: new Float32Array(length).fill(1), dims };
  throw new AppError('MODEL_INVALID', `the graph takes pixel_mask as ${type}, which cannot be fed`);
}

/** Runs a grey picture: it shows whether graph, labels and preprocessing fit together, and the form of the head. @throws MODEL_INVALID */
async function probe({ folder, spec }: ModelSource, graph: Graph, recipe: DetectorRecipe): Promise<Head> {
  const { reading, labels } = graph;
  const placement = recipe.place({ widthPx: PROBE_SIDE_PX, heightPx: PROBE_SIDE_PX });
  const { widthPx, heightPx } = placement.resized;
  const pixels = new Uint8Array(3 * widthPx * heightPx).fill(114);
  const { rows, boxes } = await runPictures(graph, recipe, [{ pixels, placement }]);
  const told = spec.detector?.family ?? reading.finished?.family;
  const family = told ?? familyOf(rows, boxes !== undefined, labels.length);
  checkFamily(family, rows, boxes, labels.length);
  const first = rowOf(rows, 0);
  const isRaw = family === 'yolox' && isRawGrid(first, placement.canvas);
  if (isRaw && stridesFor(placement.canvas, first.dims[0] ?? 0) === undefined)
    throw new AppError(
      'MODEL_INVALID',
      `the graph gives [${rows.dims}], which are not the cells of its picture`,
    );
  const iouThreshold = spec.detector?.iouThreshold ?? IOU_THRESHOLDS[family];
  const end = await graphEnd(join(folder, spec.model), reading.main);
  return { family, isRaw, iouThreshold, labels, end: boxes && end };
}

function answerOf(
  { placement, source, parameters }: PreparedPicture,
  { rows, boxes }: RawOutputs,
  index: number,
  { family, isRaw, iouThreshold, labels, end }: Head,
): Answer {
  const threshold = parameters.threshold ?? USUAL_THRESHOLD;
  const own = { rows: logitsOf(rowOf(rows, index), end), boxes: boxes && rowOf(boxes, index) };
  const leastScore = Math.min(threshold, LEAST_CANDIDATE);
  const all = candidatesOf(own, { family, canvas: placement.canvas, isRaw, leastScore });
  const candidates = iouThreshold === undefined ? all : suppress(all, iouThreshold);
  const areParts = boxes !== undefined || SPEAKS_OF_PARTS.has(family);
  const back = { labels, source, placement, areParts };
  return {
    output: candidates
      .filter(({ score }) => score >= threshold)
      .map((one) => toDetection(one, back))
      // What lies beside the picture, on the letterbox, is nothing.
      .filter(({ box }) => box.xmin < box.xmax && box.ymin < box.ymax),
    routeScore: detectionScore(candidates),
  };
}
