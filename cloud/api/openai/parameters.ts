/**
 * What steers a generation in OpenAI's words, and what becomes of it in the task's. What is not done here is taken where it changes
 * nothing, and refused by name where it would; unknown parameters are refused.
 */
import { z } from 'zod';
import { modelName } from '../../../shared/contract/names.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { parseJson } from '../../../shared/runtime/json.ts';
import { type NeutralValues, withoutNeutral } from '../../../shared/tasks/forms/neutral.ts';
import { textGenerationParameters } from '../../../shared/tasks/text-generation/schema.ts';
import { refused } from './asked.ts';

/** Choices of one request. */
const MAX_CHOICES = 16;
/** No answer is longer, whatever is asked for; the model's own length ends it before. */
const MAX_NEW_TOKENS = 8_192;

const { shape } = textGenerationParameters;
const stopWord = z.string().min(1).max(256);

/** Parameters that chats and completions have in common. */
export const generationParameters = {
  model: modelName,
  /** 0: always the likeliest token. Left out: as the model's folder says, else 1. */
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().min(0).max(1).optional(),
  /** Choices to make; with a seed each has the one after that of the choice before it. */
  n: z.int().min(1).max(MAX_CHOICES).optional(),
  /** Generation ends before any of these, which are no part of the answer. */
  stop: z.union([stopWord, z.array(stopWord).max(4)]).optional(),
  seed: z.int().optional(),
  max_tokens: z.int().min(1).optional(),
  presence_penalty: shape.presence_penalty,
  frequency_penalty: shape.frequency_penalty,
  logit_bias: shape.logit_bias,
  stream: z.boolean().optional(),
  /** `include_usage`: a last chunk of a stream counts the tokens. */
  stream_options: z
    .strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() })
    .optional(),
  /** Taken, and not used. */
  user: z.string().optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  safety_identifier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  /** Not OpenAI's: as the task has them. */
  top_k: shape.top_k,
  typical_p: shape.typical_p,
  repetition_penalty: shape.repetition_penalty,
  /** The same, by the name that llama.cpp and Ollama have for it. */
  repeat_penalty: shape.repetition_penalty,
};

const common = z.strictObject(generationParameters);
type Common = z.infer<typeof common>;

/** A generation that was asked for. */
export interface Generation {
  readonly model: string;
  /** Of each choice, in the task's words. */
  readonly parameters: readonly Record<string, unknown>[];
  readonly stop: readonly string[];
  readonly isStreamed: boolean;
  /** A last chunk with the count of tokens is wanted. */
  readonly wantsUsage: boolean;
}

/**
 * The fields of a JSON body, without those that are null or change nothing.
 *
 * @throws BAD_REQUEST, PARAMETERS_INVALID naming a parameter that is not done here
 */
export function readFields(body: Uint8Array, neutral: NeutralValues): Record<string, unknown> {
  const json = parseJson(body);
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new AppError('BAD_REQUEST', 'the body must be a JSON object');
  return withoutNeutral(json as Record<string, unknown>, neutral, 'parameters');
}

/** @throws PARAMETERS_INVALID naming the first parameter that is wrong, MODEL_UNKNOWN for what is no model's name */
export function parsed<T>(schema: z.ZodType<T>, fields: Readonly<Record<string, unknown>>): T {
  const result = schema.safeParse(fields);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const [name] = issue?.code === 'unrecognized_keys' ? issue.keys : [];
  if (name !== undefined)
    throw refused([...(issue?.path ?? []), name].join('.'), 'there is no such parameter', false);
  const path = issue?.path.join('.') ?? '';
  // A model's name that could be none is one that is not there.
  if (path === 'model' && typeof fields.model === 'string')
    throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
  throw refused(path, issue?.message ?? 'invalid');
}

/**
 * @param asked the parameters that chats and completions have in common
 * @param own the task's words for what they have not
 */
export function readGeneration(asked: Common, own: Readonly<Record<string, unknown>>): Generation {
  const { n = 1, stop = [], seed } = asked;
  const stops = [stop].flat();
  const parameters = { ...taskParameters(asked), ...own, ...(stops.length > 0 && { stop: stops }) };
  return {
    model: asked.model,
    parameters: Array.from({ length: n }, (_, index) =>
      seed === undefined ? parameters : { ...parameters, seed: Math.abs(seed) + index },
    ),
    stop: stops,
    isStreamed: asked.stream === true,
    wantsUsage: asked.stream_options?.include_usage === true,
  };
}

function taskParameters(asked: Common): Record<string, unknown> {
  const { temperature, top_p, max_tokens } = asked;
  const { presence_penalty, frequency_penalty, logit_bias, top_k, typical_p } = asked;
  const { repeat_penalty, repetition_penalty = repeat_penalty } = asked;
  const given = { presence_penalty, frequency_penalty, logit_bias, top_k, typical_p, repetition_penalty };
  // Of no share at all the likeliest token is left.
  const isSampling = temperature !== 0 && top_p !== 0;
  return {
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    do_sample: isSampling,
    ...(isSampling && temperature !== undefined && { temperature }),
    ...(isSampling && top_p !== undefined && { top_p }),
    ...(max_tokens !== undefined && { max_new_tokens: Math.min(max_tokens, MAX_NEW_TOKENS) }),
    // For the count of tokens, and why it ended.
    details: true,
  };
}

/** As long as the model can, where nobody says how long. */
export const WHOLE_LENGTH = MAX_NEW_TOKENS;
