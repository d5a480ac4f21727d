/**
 * Completions, as the official client asks for text generation: OpenAI's older form, below the model's address. Its answers are those
 * of Text Generation Inference too, so that either kind of reader finds what it looks for.
 */
import { z } from 'zod';
import { inputOf } from '../../../shared/contract/http-input.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { parseJson } from '../../../shared/runtime/json.ts';
import { type NeutralValues, withoutNeutral } from '../../../shared/tasks/forms/neutral.ts';
import { TASKS, type TaskInput } from '../../../shared/tasks/tasks.ts';
import { generated, textGenerationParameters } from '../../../shared/tasks/text-generation/schema.ts';
import type { InferenceReply } from '../../ports.ts';
import type { TokenEvent } from './token-stream.ts';

const word = z.string().min(1).max(256);

/**
 * Parameters of a completion: of OpenAI's those that mean something here; of TGI's all. null is the same as nothing. What is not done
 * here is taken where it changes nothing, and refused by name where it would; unknown ones are refused, as everywhere.
 */
export const completionRequest = textGenerationParameters
  .omit({ max_new_tokens: true, temperature: true, stop: true })
  .extend({
    /** The address names the model. */
    model: z.unknown().optional(),
    /** A list has one text. */
    prompt: z.union([z.string(), z.array(z.string()).length(1)]),
    max_tokens: textGenerationParameters.shape.max_new_tokens,
    /** 0: always the likeliest token. */
    temperature: z.number().min(0).max(100).optional(),
    stop: z.union([word, z.array(word).max(16)]).optional(),
    stream: z.boolean().optional(),
    /** `include_usage`: a last chunk of a stream counts the tokens. */
    stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).optional(),
    echo: z.boolean().optional(),
    /** Taken, and not used. */
    user: z.string().optional(),
  });

/** Of OpenAI's parameters, beside those of the task. */
const NEUTRAL: NeutralValues = {
  ...TASKS['text-generation'].neutral,
  ...{ logprobs: [false], n: [1], suffix: [''] },
};

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
  /** A last chunk with the count of tokens is wanted. */
  readonly wantsUsage: boolean;
}

/** @throws BAD_REQUEST, PARAMETERS_INVALID, INPUT_EMPTY */
export function readCompletion(body: Uint8Array): CompletionInput {
  const json = parseJson(body);
  if (typeof json !== 'object' || json === null || !('prompt' in json))
    throw new AppError('BAD_REQUEST', 'the JSON body must be {"prompt": string, "max_tokens"?: number, …}');
  const parsed = completionRequest.safeParse(withoutNeutral(renamed(json), NEUTRAL, 'parameters'));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new AppError('PARAMETERS_INVALID', `${issue?.path.join('.') || 'parameters'}: ${issue?.message}`);
  }
  const { model: _model, user: _user, prompt, stream, stream_options, ...asked } = parsed.data;
  return {
    input: inputOf('text-generation', {
      inputs: typeof prompt === 'string' ? prompt : (prompt[0] ?? ''),
      parameters: toTaskParameters(asked),
    }),
    isStreamed: stream === true,
    wantsUsage: stream_options?.include_usage === true,
  };
}

/** `stop_sequences` is TGI's older name. */
function renamed(json: object): Record<string, unknown> {
  const { stop_sequences, ...rest } = json as Record<string, unknown>;
  return stop_sequences == null ? rest : { stop: stop_sequences, ...rest };
}

type Asked = Omit<
  z.infer<typeof completionRequest>,
  'model' | 'user' | 'prompt' | 'stream' | 'stream_options'
>;

function toTaskParameters({ max_tokens, temperature, stop, echo, ...rest }: Asked): Record<string, unknown> {
  return {
    ...rest,
    ...(max_tokens !== undefined && { max_new_tokens: max_tokens }),
    // As OpenAI: who names a temperature wants chance, also at 1.
    ...(temperature !== undefined && temperature > 0 && { do_sample: rest.do_sample ?? true, temperature }),
    ...(temperature === 0 && { do_sample: false }),
    ...(stop !== undefined && { stop: [stop].flat() }),
    ...(echo === true && { return_full_text: true }),
    // For the count of tokens, and why it ended.
    details: true,
  };
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
  return {
    ...headOf(said),
    choices: [
      { index: 0, text: generated_text, finish_reason: finishOf(details?.finish_reason ?? 'length') },
    ],
    usage: usageOf(reply),
  };
}

function usageOf(reply: InferenceReply): z.infer<typeof completion>['usage'] {
  const { details } = generated.parse(reply.output);
  const prompt_tokens = details?.input_length ?? 0;
  const completion_tokens = details?.generated_tokens ?? 0;
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** The chunk that `stream_options.include_usage` asks for: no choices, and the count of tokens. */
export const toUsageChunk = (reply: InferenceReply, said: Said): object => ({
  ...headOf(said),
  choices: [],
  usage: usageOf(reply),
});

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
