/**
 * Completions, as the official client asks for text generation: OpenAI's older form, below the model's address. Its answers are those
 * of Text Generation Inference too, so that either kind of reader finds what it looks for.
 */
import { z } from 'zod';
import { inputOf } from '../../../shared/contract/http-input.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { tryParseJson } from '../../../shared/runtime/json.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { generated, textGenerationParameters } from '../../../shared/tasks/text-generation/schema.ts';
import type { InferenceReply } from '../../ports.ts';
import type { TokenEvent } from './token-stream.ts';

/** Parameters of a completion: of OpenAI's those that mean something here; of TGI's all. Unknown ones are refused, as everywhere. */
export const completionRequest = textGenerationParameters
  .omit({ max_new_tokens: true, temperature: true, stop: true })
  .extend({
    /** The address names the model. */
    model: z.unknown().optional(),
    prompt: z.string(),
    max_tokens: textGenerationParameters.shape.max_new_tokens.nullish(),
    /** 0: always the likeliest token. */
    temperature: z.number().min(0).max(100).nullish(),
    stop: z.union([z.string().min(1).max(256), z.array(z.string().min(1).max(256)).max(16)]).nullish(),
    stream: z.boolean().nullish(),
    n: z.literal(1).nullish(),
    echo: z.boolean().nullish(),
    user: z.string().nullish(),
  });

/** A completion in OpenAI’s form. */
export const completion = z.object({
  id: z.string(),
  object: z.literal('text_completion'),
  /** Seconds since 1970. */
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({ index: z.literal(0), text: z.string(), finish_reason: z.enum(['stop', 'length']) }),
  ),
  usage: z.object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() }),
});

/** A prompt that has been read. */
export interface CompletionInput {
  readonly input: TaskInput;
  readonly isStreamed: boolean;
}

/** @throws BAD_REQUEST, PARAMETERS_INVALID, INPUT_EMPTY */
export function readCompletion(body: Uint8Array): CompletionInput {
  const json = tryParseJson(body);
  if (typeof json !== 'object' || json === null || !('prompt' in json))
    throw new AppError('BAD_REQUEST', 'the JSON body must be {"prompt": string, "max_tokens"?: number, …}');
  const parsed = completionRequest.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new AppError('PARAMETERS_INVALID', `${issue?.path.join('.') || 'parameters'}: ${issue?.message}`);
  }
  const {
    model: _model,
    user: _user,
    n: _n,
    prompt,
    max_tokens,
    temperature,
    stop,
    stream,
    echo,
    ...rest
  } = parsed.data;
  const parameters = {
    ...rest,
    ...(max_tokens != null && { max_new_tokens: max_tokens }),
    ...(temperature != null && temperature > 0 && { temperature }),
    ...(temperature === 0 && { do_sample: false }),
    ...(stop != null && { stop: [stop].flat() }),
    ...(echo === true && { return_full_text: true }),
    // For the count of tokens, and why it ended.
    details: true,
  };
  return { input: inputOf('text-generation', { inputs: prompt, parameters }), isStreamed: stream === true };
}

interface Said {
  readonly requestId: string;
  readonly atMs: number;
  readonly model: string;
}

const headOf = ({
  requestId,
  atMs,
  model,
}: Said): Pick<z.infer<typeof completion>, 'id' | 'object' | 'created' | 'model'> => ({
  id: requestId,
  object: 'text_completion',
  created: Math.floor(atMs / 1000),
  model,
});

const finishOf = (reason: string): 'stop' | 'length' => (reason === 'length' ? 'length' : 'stop');

/** Completion in OpenAI’s form, from the reply to a text generation. */
export function toCompletion(reply: InferenceReply, said: Said): z.infer<typeof completion> {
  const { generated_text, details } = generated.parse(reply.output);
  const prompt_tokens = details?.input_length ?? 0;
  const completion_tokens = details?.generated_tokens ?? 0;
  return {
    ...headOf(said),
    choices: [
      { index: 0, text: generated_text, finish_reason: finishOf(details?.finish_reason ?? 'length') },
    ],
    usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
  };
}

/** A token as TGI's event and as OpenAI's chunk at once. */
export function toChunk(event: TokenEvent, said: Said): object {
  const { token, details } = event;
  const text = token.special ? '' : token.text;
  return {
    ...event,
    ...headOf(said),
    choices: [{ index: 0, text, finish_reason: details ? finishOf(details.finish_reason) : null }],
  };
}
