/**
 * The model classes of transformers.js as a decoder of ours: an encoder run once, then a step a token, whose cache grows and is
 * rearranged when beams branch. Loads nothing by itself; `generation.ts` hands the models over.
 */
import { AppError } from '../../runtime/errors.ts';
import { firstLine } from '../graph/runtime-message.ts';
import type { Stepper } from './search.ts';

/** How a model generates: `config.json` and `generation_config.json`, with what a request says over them. */
export interface GenerationSettings {
  readonly max_length: number;
  readonly max_new_tokens: number | null;
  readonly num_beams: number;
  readonly length_penalty: number;
  readonly early_stopping: boolean | 'never';
  readonly do_sample: boolean;
  readonly temperature: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly eos_token_id: number | readonly number[] | null;
  readonly bos_token_id: number | null;
  readonly decoder_start_token_id: number | null;
  readonly [more: string]: unknown;
}

/** Source that a model reads: token ids, or f32 features of a picture or a sound. */
export type Source =
  | { readonly ids: readonly number[] }
  | {
      readonly name: 'pixel_values' | 'input_features';
      readonly data: Float32Array;
      readonly dims: readonly number[];
    };

/** A tensor of the library's, as far as we use it: f32, row-major. */
export interface Tensorish {
  readonly type: string;
  readonly data: Float32Array;
  readonly dims: number[];
  slice(...ranges: (null | number)[]): Tensorish;
  to(type: 'float32'): Tensorish;
}
/** The library's tensor class, by `type`, elements and shape. */
export type TensorClass = new (type: string, data: unknown, dims: readonly number[]) => Tensorish;
type Cache = Record<string, Tensorish>;
type Inputs = Record<string, unknown>;

/** Part of the library's models that we use; its own typings leave most of it `any`. */
export interface LibraryModel {
  readonly config: object;
  readonly generation_config: object | null;
  /** Its graphs; the decoder's is `decoder_model_merged`, or `model` where there is no encoder. */
  readonly sessions: Readonly<Record<string, { readonly inputNames: readonly string[] } | undefined>>;
  forward(inputs: Inputs): Promise<Record<string, Tensorish>>;
  _prepare_generation_config(config: null, over: Inputs): GenerationSettings;
  _get_logits_processor(
    settings: object,
    promptLength: number,
  ): (rows: bigint[][], scores: Tensorish) => unknown;
  _update_model_kwargs_for_generation(parts: {
    generated_input_ids: bigint[][];
    outputs: object;
    model_inputs: { past_key_values: Cache | undefined };
    is_encoder_decoder: true;
  }): { past_key_values: Cache };
  _encode_input(session: 'model', inputs: Inputs, output: 'last_hidden_state'): Promise<Tensorish>;
}

/** A model by the step that it takes: both are one where its decoder is one graph. */
export interface Decoder {
  readonly first: LibraryModel;
  /** Goes on with a cache. undefined: none is kept, and `first` reads the whole row at each step. */
  readonly later: LibraryModel | undefined;
}

/** Whether its decoder takes the cache of earlier steps. */
export function hasPast({ sessions }: LibraryModel): boolean {
  const decoder = sessions.decoder_model_merged ?? sessions.model;
  return decoder?.inputNames.some((input) => input.startsWith('past_')) === true;
}

/** Encoder output for one source. */
export interface Encoded {
  /** f32[1,S,W] */
  readonly states: Tensorish;
  /** i64[1,S] */
  readonly mask: Tensorish | undefined;
}

/** Runs the encoder once, on i64[1,S] ids or on a float input such as f32[1,3,H,W]. @throws what the library throws */
export async function encode(model: LibraryModel, Tensor: TensorClass, source: Source): Promise<Encoded> {
  if (!('ids' in source)) {
    const states = await model._encode_input(
      'model',
      { [source.name]: new Tensor('float32', source.data, source.dims) },
      'last_hidden_state',
    );
    return { states, mask: undefined };
  }
  const dims = [1, source.ids.length];
  const mask = new Tensor('int64', new BigInt64Array(source.ids.length).fill(1n), dims);
  const inputs = {
    input_ids: new Tensor('int64', BigInt64Array.from(source.ids, BigInt), dims),
    attention_mask: mask,
  };
  return { states: await model._encode_input('model', inputs, 'last_hidden_state'), mask };
}

interface StepperParts {
  readonly name: string;
  readonly decoder: Decoder;
  readonly Tensor: TensorClass;
  /** undefined: a model without an encoder. */
  readonly encoded: Encoded | undefined;
  readonly adjust: (rows: bigint[][], scores: Tensorish) => unknown;
}

/** The decoder's loop: its cache, where there is one, grows by a token a call, and is rearranged when beams branch. */
export function stepperOf({ name, decoder, Tensor, encoded, adjust }: StepperParts): Stepper {
  let cache: Cache | undefined;
  let cachedRows = 0;
  let source = encoded;
  return {
    async next(rows, parents) {
      if (cache !== undefined) rearrange(cache, parents ?? rows.map((_, row) => row), cachedRows, Tensor);
      if (source && source.states.dims[0] !== rows.length) source = repeated(source, rows.length, Tensor);
      const fresh = cache === undefined ? rows : rows.map((row) => row.slice(-1));
      const length = fresh[0]?.length ?? 0;
      const known = (rows[0]?.length ?? 0) - length;
      const ids = new Tensor('int64', BigInt64Array.from(fresh.flat(), BigInt), [rows.length, length]);
      const inputs: Inputs = {
        ...(source
          ? sourceInputs(source, ids)
          : { input_ids: ids, attention_mask: ones([rows.length, rows[0]?.length ?? 0], Tensor) }),
        // The last token's alone; ignored by graphs that give all.
        num_logits_to_keep: new Tensor('int64', BigInt64Array.of(1n), []),
        // i64[length], where these tokens stand: asked for by Optimum's Whisper, ignored by graphs that do not take it.
        cache_position: new Tensor(
          'int64',
          BigInt64Array.from({ length }, (_, at) => BigInt(known + at)),
          [length],
        ),
        ...(cache && { past_key_values: cache }),
      };
      const model = (cache && decoder.later) ?? decoder.first;
      const outputs = await translated(name, () => model.forward(inputs));
      const { logits } = outputs;
      if (logits === undefined)
        throw new AppError('MODEL_INVALID', `${name}: its decoder has no output logits`);
      if (decoder.later)
        ({ past_key_values: cache } = model._update_model_kwargs_for_generation({
          generated_input_ids: [[0n]],
          outputs,
          model_inputs: { past_key_values: cache },
          is_encoder_decoder: true,
        }));
      cachedRows = rows.length;
      return logits.slice(null, -1, null).to('float32').data;
    },
    adjust(rows, scores) {
      const words = scores.length / rows.length;
      adjust(
        rows.map((row) => row.map(BigInt)),
        new Tensor('float32', scores, [rows.length, words]),
      );
    },
  };
}

const sourceInputs = ({ states, mask }: Encoded, ids: Tensorish): Inputs => ({
  encoder_outputs: states,
  decoder_input_ids: ids,
  ...(mask && { attention_mask: mask }),
});

function ones(dims: readonly number[], Tensor: TensorClass): Tensorish {
  return new Tensor(
    'int64',
    new BigInt64Array(dims.reduce((product, dim) => product * dim, 1)).fill(1n),
    dims,
  );
}

/** In place: row r of each tensor becomes what row `parents[r]` was. */
function rearrange(cache: Cache, parents: readonly number[], rows: number, Tensor: TensorClass): void {
  if (parents.length === rows && parents.every((parent, row) => parent === row)) return;
  for (const [name, tensor] of Object.entries(cache)) cache[name] = picked(tensor, parents, Tensor);
}

function repeated({ states, mask }: Encoded, rows: number, Tensor: TensorClass): Encoded {
  const firsts = new Array<number>(rows).fill(0);
  return { states: picked(states, firsts, Tensor), mask: mask && picked(mask, firsts, Tensor) };
}

/** @returns a copy whose row r is row `from[r]` of the tensor */
function picked(tensor: Tensorish, from: readonly number[], Tensor: TensorClass): Tensorish {
  const [rows = 1, ...rest] = tensor.dims;
  const size = tensor.data.length / rows;
  const Kind = tensor.data.constructor as new (length: number) => Float32Array;
  const data = new Kind(from.length * size);
  for (const [row, parent] of from.entries())
    data.set(tensor.data.subarray(parent * size, (parent + 1) * size), row * size);
  return new Tensor(tensor.type, data, [from.length, ...rest]);
}

/** Runs a graph and makes its failure the model's. @throws MODEL_INVALID */
export async function translated<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new AppError('MODEL_INVALID', `${name} failed: ${firstLine(error)}`, { cause: error });
  }
}
