/** `text-generation`: a text to how it goes on, token by token where that is wanted. */
import { z } from 'zod';
import { generation } from '../forms/generation.ts';
import { NEUTRAL_GENERATION } from '../forms/neutral.ts';
import type { TaskSchema } from '../task.ts';

const MAX_BIASED_TOKENS = 1_024;
const MAX_MESSAGES = 2_048;

/** The input of a request with `chat: true`, as JSON. */
export const chatMessages = z
  .array(z.looseObject({ role: z.string().min(1).max(64), content: z.string() }))
  .min(1)
  .max(MAX_MESSAGES);
export type ChatMessages = z.infer<typeof chatMessages>;

/** What steers generation, how it ends, and what is told of it, in TGI's names. */
export const textGenerationParameters = z.strictObject({
  max_new_tokens: generation.max_new_tokens,
  do_sample: generation.do_sample,
  temperature: generation.temperature,
  top_k: generation.top_k,
  top_p: generation.top_p,
  typical_p: generation.typical_p,
  repetition_penalty: generation.repetition_penalty,
  /** Taken from the logit of a token for each time that it has been generated; OpenAI’s. */
  frequency_penalty: z.number().min(-2).max(2).optional(),
  /** Taken once from the logit of each token that has been generated; OpenAI’s. */
  presence_penalty: z.number().min(-2).max(2).optional(),
  /** Token id -> what is added to its logit; OpenAI’s. */
  logit_bias: z
    .record(z.string().regex(/^(0|[1-9]\d{0,8})$/, 'a token id'), z.number().min(-100).max(100))
    .refine((bias) => Object.keys(bias).length <= MAX_BIASED_TOKENS, `at most ${MAX_BIASED_TOKENS} tokens`)
    .optional(),
  /** Generation ends where one of these appears; it is part of the answer, as in TGI. */
  stop: z.array(z.string().min(1).max(256)).max(16).optional(),
  /** Of the random numbers, so that sampling can be repeated. */
  seed: z.int().min(0).optional(),
  /** The prompt is cut to so many tokens from its end. */
  truncate: z.int().min(1).max(100_000).optional(),
  /** Puts the prompt before the answer. */
  return_full_text: z.boolean().optional(),
  /** Of each token so many of the likeliest in its place come along, in `top_tokens`. */
  top_n_tokens: z.int().min(0).max(20).optional(),
  /**
   * The input is a JSON list of messages, `{"role", "content"}`: the folder's chat template (`chat_template` of
   * `tokenizer_config.json`, or `chat_template.jinja`) makes the prompt of them.
   */
  chat: z.boolean().optional(),
  /** Answers with tokens, their log-probabilities and why it ended. */
  details: z.boolean().optional(),
});
export type TextGenerationParameters = z.infer<typeof textGenerationParameters>;

/** Reason why a generation ended: its length, the model’s own end, or a stop text. */
const finishReason = z.enum(['length', 'eos_token', 'stop_sequence']);
export type FinishReason = z.infer<typeof finishReason>;

const ownToken = z.object({ id: z.int(), text: z.string(), logprob: z.number(), special: z.boolean() });

/** Token of a generated text; `logprob`: ln of its probability. */
export const generatedToken = ownToken.extend({
  /** The likeliest in its place, best first, where they were asked for. */
  top_tokens: z.array(ownToken).optional(),
});
export type GeneratedToken = z.infer<typeof generatedToken>;

/** The text, and its details where they were asked for. */
export const generated = z.object({
  generated_text: z.string(),
  details: z
    .object({
      /** Why it ends there: its length, the model’s own end, or a stop text. */
      finish_reason: finishReason,
      generated_tokens: z.int(),
      /** Tokens of the prompt. */
      input_length: z.int().optional(),
      /** Tokens of the prompt, as in TGI; empty here: they are counted alone. */
      prefill: z.array(ownToken),
      /** Tokens that were made. */
      tokens: z.array(ownToken),
      /** For each token the likeliest in its place, best first, where they were asked for. */
      top_tokens: z.array(z.array(ownToken)).optional(),
      seed: z.int().optional(),
    })
    .optional(),
});
export type Generated = z.infer<typeof generated>;

/** The schema of `text-generation`. */
export const textGeneration: TaskSchema = {
  inputKind: 'text',
  parameters: textGenerationParameters,
  neutral: {
    ...NEUTRAL_GENERATION,
    adapter_id: [],
    best_of: [1],
    decoder_input_details: [false],
    grammar: [],
    num_beams: [1],
    watermark: [false],
  },
  aliases: { stop_sequences: 'stop' },
  output: generated,
  ranks: null,
  listed: 'always',
  streams: true,
  runsOn: 'hub',
};
