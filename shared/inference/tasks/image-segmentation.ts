/** `image-segmentation`: a picture to a mask for each label in it, by models that name each pixel's (SegFormer, BEiT, UperNet …). */
import { classifierConfig, labelsInOrder, readModelJson } from '../../release/folder/model-files.ts';
import { type GraphEnd, graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import { boundedScore } from '../../tasks/classification.ts';
import { encodeGreyPng } from '../../tasks/forms/grey-png.ts';
import { MAX_MASK_PX, type Segment } from '../../tasks/image-segmentation/schema.ts';
import { logOdds } from '../../tasks/probability.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import { certaintyOf, type LogitGrid, labelMap } from '../maps/label-map.ts';
import { loadMapGraph, type MappedPicture } from '../maps/map-graph.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import type { Floats } from '../tensor/floats.ts';

/** @throws MODEL_INVALID */
export async function loadImageSegmentation(source: ModelSource): Promise<TaskModel<MappedPicture>> {
  const { folder } = source;
  const labels = labelsInOrder(folder, await readModelJson(folder, 'config.json', classifierConfig));
  const graph = await loadMapGraph(source, 'logits');
  const end = await graphEnd(graph.modelPath, graph.output);
  const model: TaskModel<MappedPicture> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    prepare: ({ body }) => graph.read(body),
    shapeKey: (picture) => graph.shapeKey(picture),
    async run(batch) {
      const maps = await graph.run(batch);
      return answerEach(batch, (picture, index) => answerOf(picture, maps[index], { labels, end }));
    },
  };
  // Shows whether graph and labels fit together; what is not finite is said when somebody asks.
  await model.run([graph.blank()]);
  return model;
}

/** @throws OUTPUT_NOT_FINITE, ANSWER_TOO_LARGE, MODEL_INVALID */
function answerOf(
  { source }: MappedPicture,
  logits: Floats | undefined,
  { labels, end }: { readonly labels: readonly string[]; readonly end: GraphEnd },
): Answer {
  const grid = gridOf(logits, labels.length);
  const map = labelMap(grid, source);
  const found = new Set(map);
  if (found.size * map.length > MAX_MASK_PX)
    throw new AppError(
      'ANSWER_TOO_LARGE',
      `${found.size} masks of ${source.widthPx} x ${source.heightPx} have over ${MAX_MASK_PX} pixels; send a smaller picture`,
    );
  const { of: certainty, mean } = certaintyOf(grid, end !== undefined);
  const output = [...found]
    .sort((a, b) => a - b)
    .map((label): Segment => {
      const pixels = Uint8Array.from(map, (one) => (one === label ? 255 : 0));
      const mask = encodeGreyPng({ ...source, pixels }).toString('base64');
      return { label: labels[label] ?? `LABEL_${label}`, score: certainty[label] ?? 0, mask };
    });
  return { output, routeScore: boundedScore(logOdds(mean, 1 - mean)) };
}

/** @throws MODEL_INVALID, OUTPUT_NOT_FINITE */
function gridOf(logits: Floats | undefined, labels: number): LogitGrid {
  const [count, heightPx = 0, widthPx = 0] = logits?.dims ?? [];
  if (logits?.dims.length !== 3 || count !== labels || heightPx < 1 || widthPx < 1)
    throw new AppError(
      'MODEL_INVALID',
      `the graph gives [${logits?.dims}] for a picture, config.json names ${labels} labels`,
    );
  requireFinite(logits.data, 'the logits');
  return { data: logits.data, labels, heightPx, widthPx };
}
