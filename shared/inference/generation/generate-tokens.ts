/** From a request's parameters to token ids: which search, how long, and what ends it. The middle of every generating task. */

import { AppError } from '../../runtime/errors.ts';
import { seededRandom } from '../../runtime/random.ts';
import type { GenerateParameters } from '../../tasks/forms/generation.ts';
import type { RunControl } from '../runner/task-model.ts';
import type { Encoded, GenerationSettings } from './decoder.ts';
import type { Generator } from './generation.ts';
import {
  type Found,
  type GreedyOptions,
  type Sampling,
  type Stepper,
  searchGreedily,
  searchWithBeams,
} from './search.ts';

/** Where neither request nor folder says how long an answer may be. */
const DEFAULT_NEW_TOKENS = 256;
/** No answer is longer, whatever a folder says. */
const MAX_NEW_TOKENS = 8_192;

/** One answer to generate. */
export interface TokenRequest {
  /** What the encoder has read; undefined for a model without one. */
  readonly encoded: Encoded | undefined;
  /** Where the answer begins; undefined: as the model's settings say. */
  readonly prompt?: readonly number[];
  /** In transformers' names. */
  readonly parameters: GenerateParameters & { readonly forced_bos_token_id?: number };
  /** Longest sequence of the decoder, prompt included. */
  readonly positions: number | undefined;
  /** Where the request does not say how long; undefined: as the folder says. */
  readonly defaultNewTokens?: number;
  /** For sampling; chance when left out. */
  readonly seed?: number | undefined;
  readonly control?: RunControl | undefined;
  readonly onToken?: GreedyOptions['onToken'];
  /** What changes the scores before the model's own rules and temperature. */
  readonly biases?: Stepper['adjust'] | undefined;
  /** What else may not be said, after the model's own rules. */
  readonly rules?: Stepper['adjust'];
}

/** Tokens that were found, with what steered them. */
export interface TokenAnswer extends Found {
  readonly prompt: readonly number[];
  readonly endTokens: ReadonlySet<number>;
  readonly maxNewTokens: number;
}

/** @throws PARAMETERS_INVALID, EXPIRED (aborted), MODEL_INVALID */
export async function generateTokens(generator: Generator, request: TokenRequest): Promise<TokenAnswer> {
  const { encoded, parameters, positions, control, onToken, biases, rules } = request;
  const asked = generator.settings(parameters);
  const isSampling = parameters.do_sample ?? false;
  const beams = isSampling ? (parameters.num_beams ?? 1) : asked.num_beams;
  if (isSampling && beams > 1)
    throw new AppError('PARAMETERS_INVALID', 'do_sample and num_beams above 1 exclude each other');
  const prompt = request.prompt ?? [startOf(asked)];
  const length = newTokens(generator, request, asked, prompt.length);
  const maxNewTokens = Math.min(
    length,
    MAX_NEW_TOKENS,
    (positions ?? Number.POSITIVE_INFINITY) - prompt.length,
  );
  const settings = {
    ...asked,
    do_sample: isSampling,
    num_beams: beams,
    max_length: prompt.length + maxNewTokens,
  };
  const endTokens = new Set([asked.eos_token_id ?? []].flat());
  const own = generator.begin(encoded, settings, prompt.length);
  const stepper: Stepper = {
    next: own.next,
    adjust(rows, scores) {
      biases?.(rows, scores);
      own.adjust(rows, scores);
      rules?.(rows, scores);
    },
  };
  const { signal, onStep } = control ?? {};
  const limits = { prompt, maxNewTokens, endTokens, signal, onStep };
  const found =
    beams > 1
      ? await searchWithBeams(stepper, {
          ...limits,
          beams,
          lengthPenalty: asked.length_penalty,
          earlyStopping: asked.early_stopping,
        })
      : await searchGreedily(stepper, {
          ...limits,
          sampling: isSampling ? samplingOf(parameters, request.seed) : undefined,
          ...(onToken && { onToken }),
        });
  if (found.reason === 'aborted') throw new AppError('EXPIRED', 'nobody waits for the answer any more');
  return { ...found, prompt, endTokens, maxNewTokens };
}

/** @throws MODEL_INVALID */
function startOf({ decoder_start_token_id: start, bos_token_id: begin }: GenerationSettings): number {
  const token = start ?? begin;
  if (token === null || token === undefined)
    throw new AppError(
      'MODEL_INVALID',
      'neither config.json nor generation_config.json has decoder_start_token_id',
    );
  return token;
}

/** The request's words first, then the folder's; `max_new_tokens` before `max_length`, which counts the prompt too. */
function newTokens(
  generator: Generator,
  { parameters, defaultNewTokens }: TokenRequest,
  asked: GenerationSettings,
  promptLength: number,
): number {
  if (parameters.max_new_tokens !== undefined) return parameters.max_new_tokens;
  if (parameters.max_length !== undefined) {
    if (parameters.max_length <= promptLength)
      throw new AppError(
        'PARAMETERS_INVALID',
        `max_length: the ${promptLength} tokens before the answer count too`,
      );
    return parameters.max_length - promptLength;
  }
  if (defaultNewTokens !== undefined) return defaultNewTokens;
  if (!generator.hasOwnLength) return DEFAULT_NEW_TOKENS;
  return Math.max(1, asked.max_new_tokens ?? asked.max_length - promptLength);
}

/** Where the folder names a top_k of its own for sampling, it is not taken: only what was asked for. */
function samplingOf({ top_k, top_p, typical_p }: GenerateParameters, seed: number | undefined): Sampling {
  return {
    topK: top_k ?? 0,
    topP: top_p ?? 1,
    typicalP: typical_p ?? 1,
    random: seed === undefined ? Math.random : seededRandom(seed).next,
  };
}
