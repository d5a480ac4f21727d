/**
 * Owner of `@huggingface/transformers`, with `open-model.ts`: its tokenizers, feature extractors and model classes, in a runner alone. The
 * folder is Hugging Face's, and nothing is ever fetched. What the library lacks (beams, top-p, truncation that keeps the end
 * token, streams) is ours, in `search.ts` and here. The package is imported late, as onnxruntime-node is in `session.ts`.
 */
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { firstLine } from '../graph/runtime-message.ts';
import { nativeOptions } from '../graph/session.ts';
import type { ModelSource } from '../runner/task-model.ts';
import { ctcTokenizer } from './ctc-tokenizer.ts';
import {
  type Encoded,
  encode,
  type GenerationSettings,
  type Source,
  stepperOf,
  type TensorClass,
  type Tensorish,
  translated,
} from './decoder.ts';
import { type AutoClass, openModel } from './open-model.ts';
import type { Stepper } from './search.ts';
import { loadTokens, type Tokens } from './tokens.ts';

/** Which model class of the library opens the folder. */
const CLASSES = {
  'text-to-text': 'AutoModelForSeq2SeqLM',
  causal: 'AutoModelForCausalLM',
  speech: 'AutoModelForSpeechSeq2Seq',
  ctc: 'AutoModelForCTC',
  vision: 'AutoModelForVision2Seq',
} as const satisfies Record<string, AutoClass>;
/** Which class of the library loads the model. */
export type GeneratorKind = keyof typeof CLASSES;

/** What we read of `config.json` beyond what the library does. */
const generatorConfig = z.looseObject({
  model_type: z.string(),
  max_position_embeddings: z.int().positive().nullish(),
  n_positions: z.int().positive().nullish(),
  max_target_positions: z.int().positive().nullish(),
  max_source_positions: z.int().positive().nullish(),
  decoder: z
    .looseObject({
      max_position_embeddings: z.int().positive().nullish(),
      n_positions: z.int().positive().nullish(),
    })
    .nullish(),
  conv_stride: z.array(z.int().positive()).nullish(),
  /** What a model wants for one task, as T5 has it: a prefix, and settings. */
  task_specific_params: z.record(z.string(), z.looseObject({ prefix: z.string().optional() })).nullish(),
});
type GeneratorConfig = z.infer<typeof generatorConfig>;

/** A loaded model that generates, with its tokenizer. */
export interface Generator {
  readonly config: GeneratorConfig;
  readonly tokens: Tokens;
  readonly executionProvider: string;
  /** Whether the folder says how long an answer may be. */
  readonly hasOwnLength: boolean;
  /** @param over what the request says, in transformers' names */
  settings(over: Readonly<Record<string, unknown>>): GenerationSettings;
  /** Runs the encoder. @throws MODEL_INVALID */
  read(source: Source): Promise<Encoded>;
  /**
   * Begins an answer.
   *
   * @param encoded undefined for a model without an encoder: its prompt is the first row
   * @param promptLength tokens before the answer
   */
  begin(encoded: Encoded | undefined, settings: GenerationSettings, promptLength: number): Stepper;
  /** Runs a graph that does not generate (CTC). @returns f32[T,V] of one input */
  logits(feeds: Readonly<Record<string, { data: Float32Array; dims: readonly number[] }>>): Promise<{
    readonly data: Float32Array;
    readonly dims: readonly number[];
  }>;
}

/** The sound's features, as the folder's preprocessor_config.json says; `maxSamples`: what is read at a time. */
export interface SoundReader {
  readonly samplingRate: number;
  readonly maxSamples: number | undefined;
  /** @param samples f32[S] -1..1 at `samplingRate` */
  features(samples: Float32Array): Promise<{ readonly data: Float32Array; readonly dims: readonly number[] }>;
}

async function loadLibrary(): Promise<typeof import('@huggingface/transformers')> {
  if (process.env.ORT_DISABLE_TELEMETRY !== '1')
    throw new AppError('INVARIANT_BROKEN', 'ORT_DISABLE_TELEMETRY must be 1 before ONNX Runtime is loaded');
  const library = await import('@huggingface/transformers');
  const { env, LogLevel } = library;
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.useFSCache = false;
  env.useBrowserCache = false;
  // On stderr, warnings would hide a crash's last words.
  env.logLevel = LogLevel.NONE;
  return library;
}

/** The library with a folder as it finds it. */
interface Library {
  readonly library: typeof import('@huggingface/transformers');
  /** An absolute path is no model's id to the library, so that it takes any: with a dot first, two dashes, a blank. */
  readonly path: string;
  /** For messages. */
  readonly name: string;
}

async function libraryFor(folder: string): Promise<Library> {
  const library = await loadLibrary();
  library.env.cacheDir = null;
  return { library, path: resolve(folder), name: basename(folder) };
}

/** @throws MODEL_INVALID */
export async function loadGenerator(source: ModelSource, kind: GeneratorKind): Promise<Generator> {
  const { folder, spec } = source;
  const config = await readModelJson(folder, 'config.json', generatorConfig);
  const { library, path, name } = await libraryFor(folder);
  const graphs = [spec.model, ...spec.graphs].map(variantOf);
  const place = dirname(spec.model);
  const decoder = await openModel({
    library,
    path,
    autoClass: CLASSES[kind],
    graphs: graphs.map(({ base }) => base),
    modelType: config.model_type,
    generationConfig: await ownGenerationConfig(folder),
    options: {
      // The library's own default is its hub's layout; Optimum writes graphs beside `config.json`.
      subfolder: place === '.' ? '' : place,
      device: source.executionProvider,
      dtype: Object.fromEntries(graphs.map(({ base, dtype }) => [base, dtype])),
      session_options: nativeOptions({ ...source, foldDequantize: spec.foldDequantize }),
    },
  }).catch((error: unknown) => {
    throw new AppError('MODEL_INVALID', `${name} cannot be loaded: ${firstLine(error)}`, { cause: error });
  });
  const model = decoder.first;
  const tokenizer = await loadTokenizer({ library, path, name }, kind);
  const Tensor = library.Tensor as unknown as TensorClass;
  return {
    config,
    tokens: loadTokens(tokenizer),
    executionProvider: source.executionProvider,
    hasOwnLength: ['max_length', 'max_new_tokens'].some(
      (one) => one in { ...config, ...model.generation_config },
    ),
    settings: (over) => model._prepare_generation_config(null, { ...over }),
    read: (read) => translated(name, () => encode(model, Tensor, read)),
    begin(encoded, settings, promptLength) {
      const adjust = model._get_logits_processor({ ...settings }, promptLength);
      return stepperOf({ name, decoder, Tensor, encoded, adjust });
    },
    async logits(feeds) {
      const inputs = Object.entries(feeds).map(([input, { data, dims }]) => [
        input,
        new Tensor('float32', data, dims),
      ]);
      const { logits } = await translated(name, () => model.forward(Object.fromEntries(inputs)));
      if (logits === undefined)
        throw new AppError('MODEL_INVALID', `${name}: its graph has no output logits`);
      return { data: logits.to('float32').data, dims: logits.dims };
    },
  };
}

/** @throws MODEL_INVALID */
const ownGenerationConfig = async (folder: string): Promise<object | null> =>
  (await stat(join(folder, 'generation_config.json')).catch(() => undefined)) === undefined
    ? null
    : readModelJson(folder, 'generation_config.json', z.looseObject({}));

/** @throws MODEL_INVALID */
async function loadTokenizer({ library, path, name }: Library, kind: GeneratorKind): Promise<unknown> {
  try {
    const made = kind === 'ctc' ? await ctcTokenizer(path) : undefined;
    if (made) return new library.PreTrainedTokenizer(made.json, made.settings);
    return await library.AutoTokenizer.from_pretrained(path);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('MODEL_INVALID', `${name}: its tokenizer cannot be used: ${firstLine(error)}`, {
      cause: error,
    });
  }
}

/** @throws MODEL_INVALID */
export async function loadSoundReader(folder: string): Promise<SoundReader> {
  const { library, path, name } = await libraryFor(folder);
  const extractor = await library.AutoFeatureExtractor.from_pretrained(path).catch((error: unknown) => {
    throw new AppError('MODEL_INVALID', `${name}: its sounds cannot be prepared: ${firstLine(error)}`, {
      cause: error,
    });
  });
  const settings = z
    .looseObject({ sampling_rate: z.int().positive(), n_samples: z.int().positive().nullish() })
    .safeParse(extractor.config);
  if (!settings.success)
    throw new AppError('MODEL_INVALID', `${name}/preprocessor_config.json: sampling_rate is missing`);
  return {
    samplingRate: settings.data.sampling_rate,
    maxSamples: settings.data.n_samples ?? undefined,
    async features(samples) {
      const made = (await extractor(samples)) as Record<string, Tensorish>;
      const features = made.input_features ?? made.input_values;
      if (features === undefined)
        throw new AppError('MODEL_INVALID', `${name}: its sounds have neither features nor values`);
      return { data: features.data, dims: features.dims };
    },
  };
}

const SUFFIXES = [
  'fp16',
  'int8',
  'uint8',
  'quantized',
  'q4',
  'q4f16',
  'q2',
  'q2f16',
  'q1',
  'q1f16',
  'bnb4',
] as const;
type Dtype = 'fp32' | Exclude<(typeof SUFFIXES)[number], 'quantized'> | 'q8';

/** `onnx/decoder_model_merged_quantized.onnx` is the q8 of `decoder_model_merged`. */
function variantOf(path: string): { base: string; dtype: Dtype } {
  const stem = basename(path, '.onnx');
  const suffix = SUFFIXES.find((one) => stem.endsWith(`_${one}`));
  if (suffix === undefined) return { base: stem, dtype: 'fp32' };
  return { base: stem.slice(0, -suffix.length - 1), dtype: suffix === 'quantized' ? 'q8' : suffix };
}
