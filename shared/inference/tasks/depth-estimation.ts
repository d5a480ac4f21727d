/** `depth-estimation`: a picture to how far each of its pixels is (DPT, Depth Anything, GLPN). */
import { AppError } from '../../runtime/errors.ts';
import {
  type DepthEstimate,
  type DepthParameters,
  depthParameters,
  MAX_DEPTHS,
} from '../../tasks/depth-estimation/schema.ts';
import { encodeGreyPng } from '../../tasks/forms/grey-png.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import { enlargeMap } from '../maps/enlarge-map.ts';
import { loadMapGraph, type MappedPicture } from '../maps/map-graph.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import type { Floats } from '../tensor/floats.ts';

interface PreparedPicture {
  readonly picture: MappedPicture;
  readonly parameters: DepthParameters;
  readonly chance: number;
}

/** @throws MODEL_INVALID */
export async function loadDepthEstimation(source: ModelSource): Promise<TaskModel<PreparedPicture>> {
  const graph = await loadMapGraph(source, 'predicted_depth');
  const model: TaskModel<PreparedPicture> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare({ body, parameters: given }) {
      const parameters = depthParameters.parse(given ?? {});
      const picture = await graph.read(body);
      refuseTooMany(picture, parameters);
      return { picture, parameters, chance: scoreByChance(body) };
    },
    shapeKey: ({ picture }) => graph.shapeKey(picture),
    async run(batch) {
      const maps = await graph.run(batch.map(({ picture }) => picture));
      return answerEach(batch, (prepared, index) => answerOf(prepared, maps[index]));
    },
  };
  await model.run([{ picture: graph.blank(), parameters: {}, chance: 0 }]);
  return model;
}

/** @throws ANSWER_TOO_LARGE */
function refuseTooMany({ source }: MappedPicture, { predicted_depth }: DepthParameters): void {
  const count = source.widthPx * source.heightPx;
  if (predicted_depth && count > MAX_DEPTHS)
    throw new AppError(
      'ANSWER_TOO_LARGE',
      `the answer would have ${count} numbers, the limit is ${MAX_DEPTHS}; ask without predicted_depth, or send a smaller picture`,
    );
}

/** @throws OUTPUT_NOT_FINITE, MODEL_INVALID */
function answerOf(
  { picture: { source }, parameters, chance }: PreparedPicture,
  map: Floats | undefined,
): Answer {
  const depths = depthsOf(map, source);
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const depth of depths) {
    min = Math.min(min, depth);
    max = Math.max(max, depth);
  }
  const range = Math.fround(max - min);
  // Cut off, not rounded, as NumPy's `astype("uint8")`; where all is as far there is nothing to see.
  const grey = (depth: number): number =>
    range === 0 ? 0 : Math.fround(Math.fround(Math.fround(depth - min) / range) * 255);
  const pixels = Uint8Array.from(depths, grey);
  const { widthPx, heightPx } = source;
  const output: DepthEstimate = {
    depth: encodeGreyPng({ widthPx, heightPx, pixels }).toString('base64'),
    min,
    max,
    ...(parameters.predicted_depth && {
      predicted_depth: Array.from({ length: heightPx }, (_, row) =>
        Array.from(depths.subarray(row * widthPx, (row + 1) * widthPx)),
      ),
    }),
  };
  return { output, routeScore: chance };
}

/** f32[H,W] of the picture's size, from f32[h,w] or f32[1,h,w]. @throws OUTPUT_NOT_FINITE, MODEL_INVALID */
function depthsOf(map: Floats | undefined, to: MappedPicture['source']): Float32Array {
  const dims = map?.dims.length === 3 && map.dims[0] === 1 ? map.dims.slice(1) : (map?.dims ?? []);
  const [heightPx = 0, widthPx = 0] = dims;
  if (!map || dims.length !== 2 || heightPx < 1 || widthPx < 1)
    throw new AppError('MODEL_INVALID', `the graph gives [${map?.dims}] for a picture; a depth is [h,w]`);
  requireFinite(map.data, 'the depths');
  return enlargeMap(map.data, { heightPx, widthPx }, to);
}
