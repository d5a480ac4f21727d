/** A window of numbers as its model's recipe wants it: rate, scale, length, order. Pure. */
import type { SeriesRecipe } from '../../release/folder/series-recipe.ts';
import { AppError } from '../../runtime/errors.ts';
import type { TimeSeries } from '../../tasks/time-series-classification/schema.ts';
import { resampleSeries } from './resample-series.ts';

/** What keeps a channel that never changes from a division by zero; transformers' Wav2Vec2FeatureExtractor has the same. */
const SMALLEST_VARIANCE = 1e-7;
/** Samples after resampling; a rate of 1 Hz for a model of 1 MHz would ask for more memory than there is. */
const MAX_SAMPLES = 1_000_000;

/** A window, ready for its graph. */
export interface PreparedSeries {
  /** f32[T,C], or f32[C,T] where the recipe says so; T is the recipe's, or the window's own. */
  readonly data: Float32Array;
  readonly length: number;
  /** It was longer than the model reads: the newest of it was taken. */
  readonly isCut: boolean;
  /** It was shorter than the model can be trusted with. */
  readonly isShort: boolean;
}

/** @throws INPUT_INVALID (other channels than the model's, too many samples) */
export function prepareSeries({ rows, rate }: TimeSeries, recipe: SeriesRecipe): PreparedSeries {
  const { channels, minLength } = recipe;
  const given = rows[0]?.length ?? 0;
  if (given !== channels)
    throw new AppError(
      'INPUT_INVALID',
      `the window has ${given} ${given === 1 ? 'channel' : 'channels'}, the model takes ${channels}`,
    );
  const isOther = recipe.rate !== undefined && rate !== undefined && recipe.rate !== rate;
  if (isOther && (rows.length * (recipe.rate ?? 1)) / (rate ?? 1) > MAX_SAMPLES)
    throw new AppError('INPUT_INVALID', `at ${recipe.rate} Hz the window has over ${MAX_SAMPLES} samples`);
  const timed = isOther ? resampleSeries(rows, rate as number, recipe.rate as number) : rows;
  const length = recipe.length ?? timed.length;
  const newest = timed.slice(-length);
  const data = laidOut(newest, length, recipe);
  // Numbers of JSON may be beyond those of the tensor.
  const odd = data.findIndex((value) => !Number.isFinite(value));
  if (odd !== -1) throw new AppError('INPUT_INVALID', 'the window has numbers beyond those of float32');
  return { data, length, isCut: timed.length > length, isShort: timed.length < minLength };
}

function laidOut(
  rows: readonly (readonly number[])[],
  length: number,
  { channels, isFirst, padding, scaling }: SeriesRecipe,
): Float32Array {
  const data = new Float32Array(length * channels).fill(padding.value);
  const offset = padding.isLeft ? length - rows.length : 0;
  for (let channel = 0; channel < channels; channel++) {
    const { mean, std } = scaleOf(rows, channel, scaling);
    for (const [index, row] of rows.entries()) {
      const at = offset + index;
      data[isFirst ? channel * length + at : at * channels + channel] = ((row[channel] ?? 0) - mean) / std;
    }
  }
  return data;
}

function scaleOf(
  rows: readonly (readonly number[])[],
  channel: number,
  scaling: SeriesRecipe['scaling'],
): { readonly mean: number; readonly std: number } {
  if (scaling === undefined) return { mean: 0, std: 1 };
  if (scaling !== 'own') return { mean: scaling.mean[channel] ?? 0, std: scaling.std[channel] ?? 1 };
  const mean = rows.reduce((sum, row) => sum + (row[channel] ?? 0), 0) / rows.length;
  const variance = rows.reduce((sum, row) => sum + ((row[channel] ?? 0) - mean) ** 2, 0) / rows.length;
  return { mean, std: Math.sqrt(variance + SMALLEST_VARIANCE) };
}
