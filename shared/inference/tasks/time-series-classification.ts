/** `time-series-classification`: a window of numbers over time to labels with scores. */
import { join } from 'node:path';
import { classifierConfig, readModelJson } from '../../release/folder/model-files.ts';
import { seriesInputs } from '../../release/folder/series-layout.ts';
import { readSeriesRecipe, type SeriesRecipe } from '../../release/folder/series-recipe.ts';
import { graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import type { ClassificationParameters } from '../../tasks/forms/labels.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import type { TensorValue } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { timeSeriesInput, toTimeSeries } from '../../tasks/time-series-classification/schema.ts';
import { mixesRows } from '../graph/batch-safety.ts';
import { answerEach } from '../graph/finite.ts';
import { seenEnd } from '../graph/seen-end.ts';
import { loadSession } from '../graph/session.ts';
import { ClassificationHead, parametersOf } from '../labels/classification-head.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';
import { type PreparedSeries, prepareSeries } from '../series/series-tensor.ts';
import { type Floats, floatsOf, mainOutput, rowOf } from '../tensor/floats.ts';
import { readJsonInput } from '../text/json-input.ts';

interface PreparedWindow {
  readonly series: PreparedSeries;
  readonly parameters: ClassificationParameters;
  readonly chance: number;
}

/** Samples of a trial where the graph takes any number. */
const TRIAL_LENGTH = 64;

/** @throws MODEL_INVALID */
export async function loadTimeSeriesClassification(source: ModelSource): Promise<TaskModel<PreparedWindow>> {
  const { folder, spec } = source;
  const config = await readModelJson(folder, 'config.json', classifierConfig);
  const modelPath = join(folder, spec.model);
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const inputs = seriesInputs(session.inputs);
  if (!inputs)
    throw new AppError('MODEL_INVALID', 'the graph takes no window: float32[N,T,C] or float32[N,C,T] alone');
  const recipe = await readSeriesRecipe(folder, inputs.series);
  const output = mainOutput(session.outputs, spec.output);
  const isBatchSafe = spec.batch.safe && inputs.series.dims[0] === null && !(await mixesRows(modelPath));
  /** f32[N,L] of windows of one length. */
  const logitsOf = async (batch: readonly PreparedSeries[]): Promise<Floats> => {
    const { length } = batch[0] as PreparedSeries;
    const dims = dimsOf(recipe, batch.length, length);
    const all = new Float32Array(batch.length * length * recipe.channels);
    for (const [index, { data }] of batch.entries()) all.set(data, index * data.length);
    const feeds = {
      [inputs.series.name]: tensorOf(inputs.series, all, dims),
      ...(inputs.mask && { [inputs.mask.name]: onesOf(inputs.mask, all.length, dims) }),
    };
    const logits = floatsOf(await session.run(feeds, [output]), output);
    if (logits.dims[0] === batch.length) return logits;
    throw new AppError('MODEL_INVALID', `the graph gives [${logits.dims}] for ${batch.length} windows`);
  };
  const [flat, ...others] = trialSeries(recipe).map(
    (series) => async () => rowOf(await logitsOf([series]), 0),
  );
  // The first run allocates.
  const first = await (flat as () => Promise<Floats>)();
  const end = (await graphEnd(modelPath, output)) ?? (await seenEnd([async () => first, ...others]));
  const head = new ClassificationHead(source, config, end);
  // Shows whether graph and labels fit together.
  head.answer(first, { parameters: {}, isUnsure: false, chance: 0 });

  return {
    maxBatchSize: isBatchSafe ? spec.batch.maxSize : 1,
    executionProvider: session.executionProvider,
    async prepare(task) {
      const input = toTimeSeries(readJsonInput(task.body, timeSeriesInput));
      return {
        series: prepareSeries(input, recipe),
        parameters: parametersOf(task),
        chance: scoreByChance(task.body),
      };
    },
    shapeKey: ({ series }) => String(series.length),
    async run(batch) {
      const logits = await logitsOf(batch.map(({ series }) => series));
      return answerEach(batch, ({ series, parameters, chance }, index) =>
        head.answer(rowOf(logits, index), {
          parameters,
          isUnsure: series.isShort,
          isCut: series.isCut,
          chance,
        }),
      );
    },
  };
}

function dimsOf({ channels, isFirst, isFlat }: SeriesRecipe, count: number, length: number): number[] {
  if (isFlat) return [count, length * channels];
  return isFirst ? [count, channels, length] : [count, length, channels];
}

const tensorOf = ({ type }: TensorSpec, data: Float32Array, dims: readonly number[]): TensorValue =>
  (type === 'float64'
    ? { type, data: Float64Array.from(data), dims }
    : { type: 'float32', data, dims }) as TensorValue;

const onesOf = ({ type }: TensorSpec, size: number, dims: readonly number[]): TensorValue =>
  (type === 'bool'
    ? { type, data: new Uint8Array(size).fill(1), dims }
    : { type: 'float32', data: new Float32Array(size).fill(1), dims }) as TensorValue;

/** One in which nothing happens, and one in which much does. */
function trialSeries({ channels, length = TRIAL_LENGTH }: SeriesRecipe): PreparedSeries[] {
  const size = length * channels;
  const of = (data: Float32Array): PreparedSeries => ({ data, length, isCut: false, isShort: false });
  return [of(new Float32Array(size)), of(Float32Array.from({ length: size }, (_, at) => Math.sin(at)))];
}
