/**
 * Generations in OpenAI's form, whole or token by token: the choices of a request are asked for together, counted together, and
 * written in the form of a chat or of a completion.
 */
import { withoutPaths } from '../../../shared/runtime/disk-paths.ts';
import { type AppError, toErrorBody } from '../../../shared/runtime/errors.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { type GeneratedToken, generated } from '../../../shared/tasks/text-generation/schema.ts';
import type { InferenceReply } from '../../ports.ts';
import { openEventStream } from '../frame/event-stream.ts';
import { openAiError } from '../frame/openai-error.ts';
import { type Asked, fingerprintOf, onlyOf } from './asked.ts';
import type { Generation } from './parameters.ts';
import { beforeStop, HeldText } from './stop-words.ts';

/** One choice, or a part of one. */
interface Piece {
  readonly index: number;
  readonly text: string;
  /** Those whose text this is, the special ones left out. */
  readonly tokens: readonly GeneratedToken[];
  /** UTF-16 units of the choice's text before this. */
  readonly from: number;
}

/** Why a choice ended: by itself or a stop word, or by its length. */
type FinishReason = 'stop' | 'length';

/** Form of the answers: a chat's, or a completion's. */
export interface GenerationForm {
  /** Of the id: `chatcmpl`. */
  readonly prefix: string;
  readonly object: string;
  readonly chunkObject: string;
  choice(piece: Piece, finish: FinishReason): object;
  /** What a stream says first of each choice; undefined: nothing. */
  begin?(index: number): object;
  part(piece: Piece): object;
  end(index: number, finish: FinishReason): object;
}

/** What a body asks for: inputs, which are one for each choice, in their order. */
export interface ReadGeneration {
  readonly generation: Generation;
  readonly inputs: readonly TaskInput[];
  readonly hasLogprobs: boolean;
}

/** The same, with the form of its answers. */
export interface ToGenerate extends Omit<ReadGeneration, 'hasLogprobs'> {
  readonly form: GenerationForm;
}

/** The answer to all of it at once. @throws as `Asking` */
export async function answerWhole(asked: Asked, { generation, inputs, form }: ToGenerate): Promise<Response> {
  const { model, stop } = generation;
  const replies = await asked.ask(model, inputs);
  asked.say(replies);
  return asked.json({
    ...headOf(asked, { form, model, ref: onlyOf(replies).model, object: form.object }),
    choices: replies.map((reply, index) => {
      const { text, tokens, finish } = readReply(reply, stop);
      return form.choice({ index, text, tokens, from: 0 }, finish);
    }),
    usage: usageOf(replies, generation),
  });
}

/** The same as server-sent events; `data: [DONE]` is the last. @throws as `Asking`, before the first token */
export function answerStream(
  asked: Asked,
  { generation, inputs, form }: ToGenerate,
  ref: InferenceReply['model'],
): Promise<ReadableStream<Uint8Array>> {
  const { model, stop, wantsUsage } = generation;
  const head = headOf(asked, { form, model, ref, object: form.chunkObject });
  return openEventStream({
    callerSignal: asked.callerSignal,
    failureOf: (error) => ({ error: openAiError(failureOf(error)) }),
    async produce({ signal, write }) {
      const failing = new AbortController();
      const either = AbortSignal.any([signal, failing.signal]);
      const chunk = (choices: readonly object[], usage: object | null = null): void =>
        write(JSON.stringify({ ...head, choices, ...(wantsUsage && { usage }) }));
      const one = async (input: TaskInput, index: number): Promise<InferenceReply> => {
        const writer = new ChoiceWriter(form, { index, stop, write: (choice) => chunk([choice]) });
        try {
          const reply = onlyOf(
            await asked.ask(model, [input], {
              ...{ first: index, signal: either },
              onToken: (token) => writer.hear(token),
            }),
          );
          writer.end(readReply(reply, stop));
          return reply;
        } catch (error) {
          failing.abort();
          throw error;
        }
      };
      const replies = await allOf(inputs.map(one));
      if (wantsUsage) chunk([], usageOf(replies, generation));
      write('[DONE]');
    },
  });
}

/** Waits for all, and throws what failed first: the others were told to end because of it. */
async function allOf<T>(works: readonly Promise<T>[]): Promise<T[]> {
  const first = Promise.all(works);
  await Promise.allSettled(works);
  return first;
}

/** Writes one choice of a stream. */
class ChoiceWriter {
  readonly #form: GenerationForm;
  readonly #index: number;
  readonly #write: (choice: object) => void;
  readonly #held: HeldText;
  /** Heard, and not written yet. */
  #tokens: GeneratedToken[] = [];
  #from = 0;
  #hasBegun = false;

  constructor(
    form: GenerationForm,
    {
      index,
      stop,
      write,
    }: { readonly index: number; readonly stop: readonly string[]; readonly write: (choice: object) => void },
  ) {
    this.#form = form;
    this.#index = index;
    this.#write = write;
    this.#held = new HeldText(stop);
  }

  hear(token: GeneratedToken): void {
    this.#begin();
    if (token.special) return;
    this.#tokens.push(token);
    this.#part(this.#held.push(token.text));
  }

  end({ text, finish }: { readonly text: string; readonly finish: FinishReason }): void {
    this.#begin();
    this.#part(this.#held.end(text));
    this.#write(this.#form.end(this.#index, finish));
  }

  #begin(): void {
    const first = this.#hasBegun ? undefined : this.#form.begin?.(this.#index);
    this.#hasBegun = true;
    if (first) this.#write(first);
  }

  #part(text: string): void {
    if (text === '') return;
    const [tokens, from] = [this.#tokens, this.#from];
    this.#tokens = [];
    this.#from += text.length;
    this.#write(this.#form.part({ index: this.#index, text, tokens, from }));
  }
}

/** Text and tokens of an answer, without the word that ended it. */
function readReply(
  { output }: InferenceReply,
  stop: readonly string[],
): { readonly text: string; readonly tokens: readonly GeneratedToken[]; readonly finish: FinishReason } {
  const { generated_text, details } = generated.parse(output);
  const text = beforeStop(generated_text, stop);
  let length = 0;
  const tokens = (details?.tokens ?? []).flatMap((token, at): GeneratedToken[] => {
    const isOutside = token.special || length >= text.length;
    if (!token.special) length += token.text.length;
    const top = details?.top_tokens?.[at];
    return isOutside ? [] : [top ? { ...token, top_tokens: top } : token];
  });
  return { text, tokens, finish: details?.finish_reason === 'length' ? 'length' : 'stop' };
}

/** The prompt of several choices is counted once. */
function usageOf(
  replies: readonly InferenceReply[],
  { parameters }: Generation,
): { prompt_tokens: number; completion_tokens: number; total_tokens: number } {
  const counts = replies.map(({ output }) => generated.parse(output).details);
  const prompt_tokens = counts.reduce(
    (sum, one, index) => sum + (index % parameters.length === 0 ? (one?.input_length ?? 0) : 0),
    0,
  );
  const completion_tokens = counts.reduce((sum, one) => sum + (one?.generated_tokens ?? 0), 0);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

const headOf = (
  asked: Asked,
  {
    form,
    model,
    ref,
    object,
  }: {
    readonly form: GenerationForm;
    readonly model: string;
    readonly ref: InferenceReply['model'];
    readonly object: string;
  },
) => ({
  id: `${form.prefix}-${asked.requestId}`,
  ...{ object, created: asked.created, model, system_fingerprint: fingerprintOf(ref) },
});

function failureOf(error: AppError): Parameters<typeof openAiError>[0] {
  const { code, message } = toErrorBody(error);
  return { code, message: withoutPaths(message), details: error.details };
}
