/** `text-generation`: a text to how it goes on, token by token where that is wanted. */
import { z } from 'zod';
import { generation } from '../forms/generation.ts';
import { NEUTRAL_GENERATION } from '../forms/neutral.ts';
import type { TaskSchema } from '../task.ts';

/** What steers generation, how it ends, and what is told of it, in TGI's names. */
export const textGenerationParameters = z.strictObject({
  max_new_tokens: generation.max_new_tokens,
  do_sample: generation.do_sample,
  temperature: generation.temperature,
  top_k: generation.top_k,
  top_p: generation.top_p,
  typical_p: generation.typical_p,
  repetition_penalty: generation.repetition_penalty,
  /** Generation ends where one of these appears; it is part of the answer, as in TGI. */
  stop: z.array(z.string().min(1).max(256)).max(16).optional(),
  /** Of the random numbers, so that sampling can be repeated. */
  seed: z.int().min(0).optional(),
  /** The prompt is cut to so many tokens from its end. */
  truncate: z.int().min(1).max(100_000).optional(),
  /** Puts the prompt before the answer. */
  return_full_text: z.boolean().optional(),
  /** Answers with tokens, their log-probabilities and why it ended. */
  details: z.boolean().optional(),
});
export type TextGenerationParameters = z.infer<typeof textGenerationParameters>;

/** Reason why a generation ended: its length, the model’s own end, or a stop text. */
const finishReason = z.enum(['length', 'eos_token', 'stop_sequence']);
export type FinishReason = z.infer<typeof finishReason>;

/** Token of a generated text; `logprob`: ln of its probability. */
export const generatedToken = z.object({
  id: z.int(),
  text: z.string(),
  logprob: z.number(),
  special: z.boolean(),
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
      prefill: z.array(generatedToken),
      /** Tokens that were made. */
      tokens: z.array(generatedToken),
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
    frequency_penalty: [0],
    grammar: [],
    num_beams: [1],
    presence_penalty: [0],
    top_n_tokens: [0],
    watermark: [false],
  },
  aliases: { stop_sequences: 'stop' },
  output: generated,
  ranks: null,
  listed: 'always',
  streams: true,
  runsOn: 'hub',
};
