/**
 * A generation as server-sent events, token by token. Until the first token has come a failure is an HTTP status; later it is an
 * event. When the reader goes, the generation stops within a token.
 */

import { withoutPaths } from '../../../shared/runtime/disk-paths.ts';
import { type AppError, toErrorBody } from '../../../shared/runtime/errors.ts';
import { type GeneratedToken, generated } from '../../../shared/tasks/text-generation/schema.ts';
import type { InferenceReply, Question } from '../../ports.ts';
import { openEventStream } from '../frame/event-stream.ts';

/** One event of the stream, in the form of Text Generation Inference (TGI). */
export interface TokenEvent {
  readonly index: number;
  readonly token: GeneratedToken;
  /** The likeliest in its place, where they were asked for. */
  readonly top_tokens?: readonly GeneratedToken[];
  /** With the last token. */
  readonly generated_text: string | null;
  readonly details: {
    readonly finish_reason: 'length' | 'eos_token' | 'stop_sequence';
    readonly generated_tokens: number;
    readonly input_length: number;
    readonly seed?: number | undefined;
  } | null;
}

/** Generation to ask for, and the form of its events. */
export interface TokenStreamOptions {
  /** Asks the question of which each token is wanted, and ends when the signal says so. */
  readonly ask: (control: Required<Pick<Question, 'onToken' | 'signal'>>) => Promise<InferenceReply>;
  /** Aborted when the caller hangs up. */
  readonly callerSignal: AbortSignal;
  /** Data of the event that is written for each token. */
  readonly toEvent: (event: TokenEvent) => unknown;
  /** What comes after the last event. */
  readonly lastLines?: (reply: InferenceReply) => readonly string[];
}

/** @returns the events; resolves with the first of them @throws as `ask`, before the first token */
export function openTokenStream(options: TokenStreamOptions): Promise<ReadableStream<Uint8Array>> {
  const { ask, callerSignal, toEvent, lastLines } = options;
  return openEventStream({
    callerSignal,
    failureOf,
    async produce({ signal, write, begin }) {
      let count = 0;
      let last: GeneratedToken | undefined;
      const send = (token: GeneratedToken, reply?: InferenceReply): void =>
        write(JSON.stringify(toEvent(eventOf(token, count++, reply))));
      const reply = await ask({
        signal,
        onToken: (token, isLast) => {
          // The last one goes out with the whole text.
          if (isLast) last = token;
          else send(token);
          begin();
        },
      });
      if (last) send(last, reply);
      for (const line of lastLines?.(reply) ?? []) write(line);
    },
  });
}

function eventOf(said: GeneratedToken, index: number, reply: InferenceReply | undefined): TokenEvent {
  const { top_tokens, ...own } = said;
  const token = { token: own, ...(top_tokens && { top_tokens }) };
  if (reply === undefined) return { index, ...token, generated_text: null, details: null };
  const { generated_text, details } = generated.parse(reply.output);
  return {
    ...{ index, ...token, generated_text },
    details: details
      ? {
          finish_reason: details.finish_reason,
          generated_tokens: details.generated_tokens,
          input_length: details.input_length ?? 0,
          ...(details.seed !== undefined && { seed: details.seed }),
        }
      : null,
  };
}

/** As TGI writes it; the official client throws it. */
function failureOf(error: AppError): { error: string; error_type: string } {
  const { code, message } = toErrorBody(error);
  return { error: withoutPaths(message), error_type: code };
}
