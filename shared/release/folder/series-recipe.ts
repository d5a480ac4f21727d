/**
 * What a window of numbers is brought to before its graph, as `preprocessor_config.json` says it in the words of Hugging Face's feature
 * extractors; where that is missing, as `config.json` and the graph's shape say.
 */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { MAX_SERIES_CHANNELS } from '../../tasks/time-series-classification/schema.ts';
import { readModelJson } from './model-files.ts';
import { type SeriesLayout, seriesLayout } from './series-layout.ts';

/** Longest window that is brought to a model. */
const MAX_LENGTH = 1_000_000;
const length = z.int().min(1).max(MAX_LENGTH);
const channels = z.int().min(1).max(MAX_SERIES_CHANNELS);

/** Part of `preprocessor_config.json` that we read for a model of time series. */
const seriesPreprocessor = z.object({
  layout: z.enum(['channels-first', 'channels-last']).nullish(),
  /** Channels. */
  feature_size: channels.nullish(),
  /** Hz. */
  sampling_rate: z.number().positive().nullish(),
  /** Samples that the graph reads. */
  max_length: length.nullish(),
  /** Of fewer samples its answer is not trusted. */
  min_length: length.nullish(),
  padding_side: z.enum(['left', 'right']).nullish(),
  /** After normalizing. */
  padding_value: z.number().nullish(),
  /** By `mean` and `std` where they are said, else each window by its own. */
  do_normalize: z.boolean().nullish(),
  mean: z.array(z.number()).nullish(),
  std: z.array(z.number().positive()).nullish(),
});
/** And of transformers' `config.json`. */
const seriesModel = z.object({
  context_length: length.nullish(),
  num_input_channels: channels.nullish(),
});

/** Rule by which a window becomes a tensor. */
export interface SeriesRecipe extends SeriesLayout {
  /** Hz that the model was made for; undefined: whatever comes. */
  readonly rate: number | undefined;
  readonly minLength: number;
  readonly padding: { readonly isLeft: boolean; readonly value: number };
  /** Of each channel; `own`: of each window itself. */
  readonly scaling: { readonly mean: readonly number[]; readonly std: readonly number[] } | 'own' | undefined;
}

/** @param input the window in the graph @throws MODEL_INVALID */
export async function readSeriesRecipe(folder: string, input: TensorSpec): Promise<SeriesRecipe> {
  const said = await readOptional(folder, 'preprocessor_config.json', seriesPreprocessor);
  const model = await readOptional(folder, 'config.json', seriesModel);
  const layout = seriesLayout(input, {
    layout: said.layout ?? undefined,
    channels: said.feature_size ?? model.num_input_channels ?? undefined,
    length: said.max_length ?? model.context_length ?? undefined,
  });
  const refuse = (why: string): AppError =>
    new AppError('MODEL_INVALID', `${basename(folder)}/preprocessor_config.json: ${why}`);
  if (typeof layout === 'string') throw refuse(layout);
  const { mean, std } = said;
  for (const [name, list] of Object.entries({ mean, std }))
    if (list && list.length !== layout.channels)
      throw refuse(`${name} has ${list.length} numbers, there are ${layout.channels} channels`);
  const own = mean || std ? { mean: mean ?? zeros(layout), std: std ?? zeros(layout).fill(1) } : 'own';
  return {
    ...layout,
    rate: said.sampling_rate ?? undefined,
    minLength: said.min_length ?? 1,
    padding: { isLeft: said.padding_side === 'left', value: said.padding_value ?? 0 },
    scaling: (said.do_normalize ?? own !== 'own') ? own : undefined,
  };
}

const zeros = ({ channels: count }: SeriesLayout): number[] => Array.from({ length: count }, () => 0);

async function readOptional<T>(folder: string, file: string, schema: z.ZodType<T>): Promise<T> {
  return existsSync(join(folder, file)) ? readModelJson(folder, file, schema) : schema.parse({});
}
