/**
 * The way of a request to an engine on another server. READ THIS FIRST.
 *
 *   request -> breaker (open: not asked) -> a turn -> asked, no longer than its caller waits
 *           -> answered: the Result says which kind of engine it was
 *           -> the engine failed: asked again where nothing has been said yet, and time and budget allow it
 *           -> else the named fallback of this hub, else the failure
 *
 * What is wrong with the input is its caller's failure: the engine has answered, and nobody else is asked.
 */
import { isOfTheEngine } from '../../../shared/inference/remote/open-inference-client.ts';
import { backoffDelayMs } from '../../../shared/runtime/backoff.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../../shared/runtime/errors.ts';
import { within } from '../../../shared/runtime/within.ts';
import type { InferenceReply, InferenceRequest, Inferencer } from '../../ports.ts';
import { type CircuitBreaker, RetryBudget } from './circuit-breaker.ts';
import { Turns } from './turns.ts';

/** Who asks the engine, who answers in its place, and who counts. */
export interface GuardedOptions {
  /** `openai`, `open-inference`. */
  readonly kind: string;
  readonly engine: Inferencer;
  readonly breaker: CircuitBreaker;
  /** Answers in the place of an engine that fails; undefined: nobody does. */
  readonly fallback: { readonly model: string; readonly inferencer: Inferencer } | undefined;
  readonly clock: Clock;
  readonly tell: {
    /** @param code undefined: it has answered */
    asked(error: AppError | undefined): void;
    retried(): void;
    fellBack(error: AppError): void;
  };
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

const RETRIES = 2;
const RETRY = { firstMs: 100, maxMs: 1_000 };

/** An engine with all that stands around it. */
export class GuardedInferencer implements Inferencer {
  readonly #o: GuardedOptions;
  readonly #turns = new Turns();
  readonly #budget = new RetryBudget();

  constructor(options: GuardedOptions) {
    this.#o = options;
  }

  async infer(request: InferenceRequest): Promise<InferenceReply> {
    const heard = { isAny: false };
    const { onToken } = request;
    const asked: InferenceRequest = onToken
      ? {
          ...request,
          onToken: (token, isLast) => {
            heard.isAny = true;
            onToken(token, isLast);
          },
        }
      : request;
    try {
      const reply = await this.#try(asked, heard);
      return { ...reply, model: { ...reply.model, engine: this.#o.kind } };
    } catch (thrown) {
      const error = toAppError(thrown);
      const { fallback, tell } = this.#o;
      // What was said can't be taken back.
      if (!fallback || heard.isAny || !isOfTheEngine(error)) throw error;
      tell.fellBack(error);
      return fallback.inferencer.infer({ ...request, model: fallback.model });
    }
  }

  async #try(request: InferenceRequest, heard: { readonly isAny: boolean }): Promise<InferenceReply> {
    const { clock, tell, random } = this.#o;
    for (let tried = 0; ; tried++) {
      try {
        return await this.#once(request);
      } catch (error) {
        const delayMs = backoffDelayMs(tried, { ...RETRY, ...(random && { random }) });
        const isWorthIt =
          isAppError(error, 'ENGINE_UNREACHABLE') &&
          this.#o.breaker.state === 'closed' &&
          !heard.isAny &&
          tried < RETRIES &&
          clock.nowMonoMs() + delayMs < request.expiresMonoMs;
        if (!isWorthIt || !this.#budget.take()) throw error;
        tell.retried();
        await clock.sleep(delayMs, request.signal);
      }
    }
  }

  async #once(request: InferenceRequest): Promise<InferenceReply> {
    const { breaker, tell } = this.#o;
    const settle = breaker.admit();
    if (!settle)
      throw new AppError(
        'ENGINE_UNREACHABLE',
        'the engine has failed several times, and is not asked again yet',
        {
          details: { retryAfterMs: Math.max(1, breaker.waitMs) },
        },
      );
    try {
      const reply = await this.#inTime(request);
      settle('answered');
      this.#budget.answered();
      tell.asked(undefined);
      return reply;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (isOfTheEngine(error)) settle('failed');
      // It has answered, be it with no; of one that was left nobody knows.
      else settle(error.code === 'EXPIRED' || error.code === 'STOPPING' ? 'left' : 'answered');
      if (isOfTheEngine(error)) tell.asked(error);
      throw error;
    }
  }

  /** Nobody waits longer than the caller said, be it for a turn or for the engine; what nobody waits for is ended there, too. */
  async #inTime(request: InferenceRequest): Promise<InferenceReply> {
    const { clock, engine } = this.#o;
    const leftMs = request.expiresMonoMs - clock.nowMonoMs();
    const over = new AbortController();
    const signal = request.signal ? AbortSignal.any([request.signal, over.signal]) : over.signal;
    const work = this.#turns.take(async () => {
      if (signal.aborted || clock.nowMonoMs() >= request.expiresMonoMs) throw new AppError('EXPIRED');
      return engine.infer({ ...request, signal });
    });
    work.catch(() => undefined);
    const reply = await within(clock, Math.max(0, leftMs), work);
    if (reply) return reply;
    over.abort();
    throw new AppError('EXPIRED', 'the engine did not answer in the time that the caller waits');
  }
}
