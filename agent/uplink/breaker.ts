/**
 * A circuit breaker for one pipeline: a hub that cannot answer it is left alone for a while instead of being asked about
 * everything that waits, and then tried with one request.
 *
 * closed    | FAILURES in a row -> open
 * open      | wait is over      -> half-open (one request may go)
 * half-open | success           -> closed
 * half-open | failure           -> open, for longer
 */
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';

/** One refused request, or a few of one bad batch, say nothing about the next. */
const FAILURES = 5;
const WAIT = { firstMs: 1_000, maxMs: 60_000 };

/** Circuit breaker of one pipeline: opens after failures in a row, and tries again with one request. */
export class Breaker {
  readonly #clock: Clock;
  readonly #random: (() => number) | undefined;
  readonly #onHalfOpen: () => void;
  #state: 'closed' | 'open' | 'half-open' = 'closed';
  #failures = 0;
  #opened = 0;
  #cancelWait = (): void => undefined;

  constructor(options: {
    readonly clock: Clock;
    /** Uniform in [0, 1). */
    readonly random?: (() => number) | undefined;
    /** One request may go now. */
    readonly onHalfOpen: () => void;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#onHalfOpen = options.onHalfOpen;
  }

  /** How many requests may be in flight. */
  get room(): number {
    return { closed: Number.POSITIVE_INFINITY, open: 0, 'half-open': 1 }[this.#state];
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#state === 'open') return;
    this.#state = 'closed';
    this.#opened = 0;
  }

  /** @param retryAfterMs what the hub asked for @returns whether it has opened by this */
  failed(retryAfterMs = 0): boolean {
    this.#failures++;
    // What was asked before it opened says nothing new.
    if (this.#state === 'open' || (this.#state === 'closed' && this.#failures < FAILURES)) return false;
    this.#state = 'open';
    const random = this.#random;
    const waitMs = backoffDelayMs(this.#opened++, { ...WAIT, ...(random && { random }) });
    this.#cancelWait = this.#clock.after(Math.max(retryAfterMs, waitMs), () => {
      this.#state = 'half-open';
      this.#onHalfOpen();
    });
    return true;
  }

  stop(): void {
    this.#cancelWait();
  }
}
