/** Completions: `POST /v1/completions`, OpenAI's older form: a text goes on. */
import { z } from 'zod';
import { inputOf } from '../../../shared/contract/http-input.ts';
import type { NeutralValues } from '../../../shared/tasks/forms/neutral.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { blaming, refused } from './asked.ts';
import type { GenerationForm, ReadGeneration } from './generate.ts';
import { textLogprobs, toTextLogprobs } from './logprobs.ts';
import { generationParameters, parsed, readFields, readGeneration } from './parameters.ts';

/** OpenAI's own. */
const DEFAULT_MAX_TOKENS = 16;
const MAX_LOGPROBS = 5;
/** Prompts times choices: each is a request of its own to the queue. */
const MAX_ELEMENTS = 64;

/** Body of a completion. null is the same as nothing. */
export const textRequest = z.strictObject({
  ...generationParameters,
  /** A text, or a list of texts, each with its choices. */
  prompt: z.union([z.string(), z.array(z.string()).min(1)]),
  /** The likeliest tokens in the place of each. */
  logprobs: z.union([z.int().min(0).max(MAX_LOGPROBS), z.literal(false)]).optional(),
});

/** What there is not, with the values at which nothing is asked. */
const NEUTRAL: NeutralValues = {
  ...{ echo: [false], suffix: [''], best_of: [1], store: [false], service_tier: ['auto', 'default'] },
  ...{ response_format: [{ type: 'text' }], tools: [[]] },
};

/** A completion's answer. */
export const textCompletion = z.object({
  id: z.string(),
  object: z.literal('text_completion'),
  /** Seconds since 1970. */
  created: z.int(),
  model: z.string(),
  /** Names the weights: where it is the same, the same seed gives the same text. */
  system_fingerprint: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      text: z.string(),
      logprobs: textLogprobs.nullable(),
      finish_reason: z.enum(['stop', 'length']),
    }),
  ),
  usage: z.object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() }),
});

/** @throws BAD_REQUEST, PARAMETERS_INVALID, INPUT_EMPTY, INPUT_TOO_LARGE, MODEL_UNKNOWN (no name of a model) */
export async function readTextRequest(body: Uint8Array): Promise<ReadGeneration> {
  const fields = readFields(body, NEUTRAL);
  refuseTokens(fields.prompt, 'prompt');
  const { prompt, logprobs: likeliest = false, ...asked } = parsed(textRequest, fields);
  const hasLogprobs = likeliest !== false;
  const generation = readGeneration(
    { ...asked, max_tokens: asked.max_tokens ?? DEFAULT_MAX_TOKENS },
    hasLogprobs ? { top_n_tokens: likeliest } : {},
  );
  const prompts = [prompt].flat();
  if (prompts.length * generation.parameters.length > MAX_ELEMENTS)
    throw refused('prompt', `at most ${MAX_ELEMENTS} choices, of all prompts together`);
  const inputs = await blaming('prompt', () =>
    prompts.flatMap((inputs) =>
      generation.parameters.map(
        (parameters): TaskInput => inputOf('text-generation', { inputs, parameters }),
      ),
    ),
  );
  return { generation, inputs, hasLogprobs };
}

/** Ids mean something to the tokenizer that made them alone, which is seldom the model's. @throws PARAMETERS_INVALID */
export function refuseTokens(given: unknown, param: string): void {
  const [first] = Array.isArray(given) ? (given.flat() as unknown[]) : [];
  if (typeof first === 'number')
    throw refused(
      param,
      'token ids are not taken, texts are (LangChain: check_embedding_ctx_length=False)',
      false,
    );
}

/** Answers that go on with a text. */
export const textForm = (hasLogprobs: boolean): GenerationForm => ({
  prefix: 'cmpl',
  object: 'text_completion',
  chunkObject: 'text_completion',
  choice: ({ index, text, tokens, from }, finish_reason) => ({
    ...{ index, text, logprobs: hasLogprobs ? toTextLogprobs(tokens, from) : null },
    finish_reason,
  }),
  part: ({ index, text, tokens, from }) => ({
    ...{ index, text, logprobs: hasLogprobs ? toTextLogprobs(tokens, from) : null },
    finish_reason: null,
  }),
  end: (index, finish_reason) => ({ index, text: '', logprobs: null, finish_reason }),
});
