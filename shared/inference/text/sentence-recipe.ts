/** How a folder of sentence-transformers makes one vector of a text: pooling, normalizing, prompts, the longest text. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';

const modules = z.array(z.looseObject({ path: z.string(), type: z.string() }));
const poolingConfig = z.looseObject({
  pooling_mode: z.union([z.string(), z.array(z.string())]).nullish(),
  include_prompt: z.boolean().nullish(),
});
const promptConfig = z.looseObject({
  prompts: z.record(z.string(), z.string()).nullish(),
  default_prompt_name: z.string().nullish(),
});
const lengthConfig = z.looseObject({
  max_seq_length: z.int().positive().nullish(),
  do_lower_case: z.boolean().nullish(),
});

/** How the vectors of tokens, f32[S,D], become one of the text, f32[D]. */
export type Pooling = 'mean' | 'cls' | 'max' | 'lasttoken' | 'mean_sqrt_len_tokens' | 'weightedmean';
/** The flag of each in `1_Pooling/config.json`; others exist, and are refused. */
const FLAGS: Readonly<Record<string, Pooling>> = {
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_cls_token: 'cls',
  pooling_mode_max_tokens: 'max',
  pooling_mode_lasttoken: 'lasttoken',
  pooling_mode_mean_sqrt_len_tokens: 'mean_sqrt_len_tokens',
  pooling_mode_weightedmean_tokens: 'weightedmean',
};

/** How a folder of sentence-transformers makes embeddings. */
export interface SentenceRecipe {
  readonly pooling: Pooling;
  readonly normalizes: boolean;
  /** What stands before a text, by name. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly defaultPrompt: string | undefined;
  /** Tokens; undefined where only the tokenizer says it. */
  readonly maxTokens: number | undefined;
  /** Whether texts are read in small letters, whatever the tokenizer does. */
  readonly lowers: boolean;
}

/** @throws MODEL_INVALID for steps that we cannot follow */
export async function readSentenceRecipe(folder: string): Promise<SentenceRecipe> {
  const optional = async <T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> =>
    existsSync(join(folder, file)) ? readModelJson(folder, file, schema) : undefined;
  const steps = (await optional('modules.json', modules)) ?? [];
  const named = await optional('config_sentence_transformers.json', promptConfig);
  const lengths = await optional('sentence_bert_config.json', lengthConfig);
  const kinds = steps.map(({ type }) => type.slice(type.lastIndexOf('.') + 1));
  const strange = kinds.find((kind) => !['Transformer', 'Pooling', 'Normalize'].includes(kind));
  if (strange !== undefined) throw new AppError('MODEL_INVALID', `modules.json: ${strange} is not supported`);
  const pooler = steps[kinds.indexOf('Pooling')];
  const prompts = named?.prompts ?? {};
  return {
    pooling: pooler ? await poolingOf(folder, pooler.path, Object.keys(prompts).length > 0) : 'mean',
    normalizes: kinds.includes('Normalize'),
    prompts,
    defaultPrompt: named?.default_prompt_name ?? undefined,
    maxTokens: lengths?.max_seq_length ?? undefined,
    lowers: lengths?.do_lower_case === true,
  };
}

async function poolingOf(folder: string, path: string, hasPrompts: boolean): Promise<Pooling> {
  const file = `${path}/config.json`;
  const config = await readModelJson(folder, file, poolingConfig);
  if (config.include_prompt === false && hasPrompts)
    throw new AppError('MODEL_INVALID', `${file}: include_prompt false is not supported`);
  const set = Object.keys(config).filter((key) => key.startsWith('pooling_mode_') && config[key] === true);
  const modes = config.pooling_mode ? [config.pooling_mode].flat() : set.map((flag) => FLAGS[flag] ?? flag);
  const [mode] = modes;
  const known = Object.values(FLAGS).find((one) => one === mode);
  if (known === undefined || modes.length !== 1)
    throw new AppError(
      'MODEL_INVALID',
      `${file}: the pooling ${modes.join(' and ') || 'none'} is not supported`,
    );
  return known;
}

/**
 * One vector of all tokens.
 *
 * @param states f32[S,D]
 * @returns f64[D]
 */
export function pool(states: Float32Array, width: number, pooling: Pooling): Float64Array {
  const length = states.length / width;
  const at = (token: number, column: number): number => states[token * width + column] ?? 0;
  const sum = (index: number): number => {
    let added = 0;
    for (let token = 0; token < length; token++) added += at(token, index);
    return added;
  };
  const column = (index: number): number => {
    switch (pooling) {
      case 'cls':
        return at(0, index);
      case 'lasttoken':
        return at(length - 1, index);
      case 'mean':
        return sum(index) / length;
      case 'mean_sqrt_len_tokens':
        return sum(index) / Math.sqrt(length);
      case 'weightedmean': {
        // sentence-transformers, Pooling: a token counts for as much as its place, from 1 on.
        let weighted = 0;
        for (let token = 0; token < length; token++) weighted += (token + 1) * at(token, index);
        return weighted / ((length * (length + 1)) / 2);
      }
      case 'max': {
        let top = Number.NEGATIVE_INFINITY;
        for (let token = 0; token < length; token++) top = Math.max(top, at(token, index));
        return top;
      }
    }
  };
  return Float64Array.from({ length: width }, (_, index) => column(index));
}

/** Scales a vector to length 1, as torch's `normalize`: zeros stay zeros. */
export function normalized(vector: Float64Array): Float64Array {
  const length = Math.max(1e-12, Math.hypot(...vector));
  return vector.map((value) => value / length);
}
