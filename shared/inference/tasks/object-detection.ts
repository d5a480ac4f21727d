/** `object-detection`: a picture to boxes with labels, in px of the picture as it came. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { classifierConfig, labelsInOrder, readModelJson } from '../../release/folder/model-files.ts';
import type { DetectorFamily } from '../../release/folder/model-spec.ts';
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
import { mixesRows } from '../graph/batch-safety.ts';
import { answerEach } from '../graph/finite.ts';
import { logitsOf } from '../graph/logits.ts';
import { loadSession, type Session } from '../graph/session.ts';
import { readScaledPicture } from '../picture/image.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, floatsOf, mainOutput, rowOf } from '../tensor/floats.ts';

const PREPROCESSOR = 'preprocessor_config.json';
const BOXES = 'pred_boxes';
const USUAL_THRESHOLD = 0.5;
/** Side of a canvas whose graph leaves it open, px: what YOLO models are trained at. */
const USUAL_SIDE_PX = 640;

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
  const input = pictureInput(session.inputs);
  const hasConfig = existsSync(join(folder, PREPROCESSOR));
  const config = hasConfig ? await readModelJson(folder, PREPROCESSOR, preprocessorConfig) : undefined;
  const recipeFor = (family: DetectorFamily): DetectorRecipe =>
    config ? configuredRecipe(config) : familyRecipe(family, canvasOf(input));
  // Which family it is, a first run tells; the colours of its picture don't matter there.
  const head = await probe(source, session, recipeFor(spec.detector?.family ?? 'yolox'), labels);
  const recipe = recipeFor(head.family);
  const isBatchSafe = spec.batch.safe && input.dims[0] === null && !(await mixesRows(modelPath));

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
    shapeKey: ({ placement: { canvas } }) => `3x${canvas.heightPx}x${canvas.widthPx}`,
    async run(batch) {
      const outputs = await runPictures(session, recipe, batch);
      return answerEach(batch, (picture, index) => answerOf(picture, outputs, index, head));
    },
  };
}

/** The graph's picture, f32[N,3,H,W]. @throws MODEL_INVALID for a graph that wants something else besides a mask */
function pictureInput(inputs: readonly TensorSpec[]): TensorSpec {
  const others = inputs.filter(({ name }) => name !== 'pixel_mask');
  const [input] = others;
  const isPicture = input?.type === 'float32' && input.dims.length === 4 && (input.dims[1] ?? 3) === 3;
  if (input && others.length === 1 && isPicture) return input;
  const given = inputs.map(({ name, type, dims }) => `${name} ${type}[${dims.map((dim) => dim ?? '?')}]`);
  throw new AppError(
    'MODEL_INVALID',
    `the graph takes ${given.join(', ')}; a picture float32[?,3,?,?] and pixel_mask can be fed`,
  );
}

const canvasOf = ({ dims }: TensorSpec): SizePx => ({
  heightPx: dims[2] ?? USUAL_SIDE_PX,
  widthPx: dims[3] ?? USUAL_SIDE_PX,
});

interface RawOutputs {
  /** Of all pictures of the batch. */
  readonly rows: Floats;
  readonly boxes: Floats | undefined;
}

/** @throws MODEL_INVALID */
async function runPictures(
  session: Session,
  recipe: DetectorRecipe,
  batch: readonly Pick<PreparedPicture, 'pixels' | 'placement'>[],
): Promise<RawOutputs> {
  const { canvas } = (batch[0] as PreparedPicture).placement;
  const size = 3 * canvas.heightPx * canvas.widthPx;
  const data = new Float32Array(batch.length * size);
  for (const [index, { pixels, placement }] of batch.entries())
    writeCanvas(pixels, recipe, placement, data, index * size);
  const dims = [batch.length, 3, canvas.heightPx, canvas.widthPx];
  const feeds = feedsFor(session.inputs, { type: 'float32', data, dims });
  const hasBoxes = session.outputs.some(({ name }) => name === BOXES);
  const main = mainOutput(session.outputs);
  const outputs = await session.run(feeds, hasBoxes ? [main, BOXES] : [main]);
  const rows = floatsOf(outputs, main);
  if (rows.dims[0] !== batch.length)
    throw new AppError('MODEL_INVALID', `the graph gives [${rows.dims}] for ${batch.length} pictures`);
  return { rows, boxes: hasBoxes ? floatsOf(outputs, BOXES) : undefined };
}

/** The picture, and a mask that hides nothing where the graph wants one; some exports fix its size to [?,64,64]. */
function feedsFor(inputs: readonly TensorSpec[], picture: TensorValue): Tensors {
  const [count = 1, , heightPx = 1, widthPx = 1] = picture.dims;
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
async function probe(
  { folder, spec }: ModelSource,
  session: Session,
  recipe: DetectorRecipe,
  labels: readonly string[],
): Promise<Head> {
  const placement = recipe.place({ widthPx: USUAL_SIDE_PX, heightPx: USUAL_SIDE_PX });
  const { widthPx, heightPx } = placement.resized;
  const pixels = new Uint8Array(3 * widthPx * heightPx).fill(114);
  const { rows, boxes } = await runPictures(session, recipe, [{ pixels, placement }]);
  const family = spec.detector?.family ?? familyOf(rows, boxes !== undefined, labels.length);
  checkFamily(family, rows, boxes, labels.length);
  const first = rowOf(rows, 0);
  const isRaw = family === 'yolox' && isRawGrid(first, placement.canvas);
  if (isRaw && stridesFor(placement.canvas, first.dims[0] ?? 0) === undefined)
    throw new AppError(
      'MODEL_INVALID',
      `the graph gives [${rows.dims}], which are not the cells of its picture`,
    );
  const iouThreshold = spec.detector?.iouThreshold ?? IOU_THRESHOLDS[family];
  const end = await graphEnd(join(folder, spec.model), mainOutput(session.outputs));
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
  const back = { labels, source, placement, areParts: boxes !== undefined };
  return {
    output: candidates
      .filter(({ score }) => score >= threshold)
      .map((one) => toDetection(one, back))
      // What lies beside the picture, on the letterbox, is nothing.
      .filter(({ box }) => box.xmin < box.xmax && box.ymin < box.ymax),
    routeScore: detectionScore(candidates),
  };
}
