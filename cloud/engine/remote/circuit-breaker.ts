/**
 * Circuit breaker in front of an engine: after several failures in a row it is not asked for a while, then by one request alone, and
 * again by all once that was answered.
 *
 * state     | event                             -> state
 * closed    | FAILURES failures in a row        -> open, for a span that doubles each time
 * open      | its span is over, health is well  -> half-open
 * half-open | a request                         -> the same; it goes through, all others are refused until it has ended
 * half-open | that one was answered             -> closed
 * half-open | that one failed                   -> open
 * half-open | nobody waited for that one        -> half-open
 */
import { backoffDelayMs } from '../../../shared/runtime/backoff.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';

/** A breaker's state, as people and metrics see it. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** What became of a request that went through. */
export type Outcome = 'answered' | 'failed' | 'left';

const FAILURES = 5;
const OPEN = { firstMs: 2_000, maxMs: 60_000 };

/** Breaker of one engine. */
export class CircuitBreaker {
  readonly #clock: Clock;
  readonly #random: () => number;
  #failures = 0;
  /** How often it has opened since it was closed. */
  #opened = 0;
  /** undefined: closed. */
  #openUntilMonoMs: number | undefined;
  #isProbing = false;

  constructor(clock: Clock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
  }

  get state(): BreakerState {
    if (this.#openUntilMonoMs === undefined) return 'closed';
    return this.#clock.nowMonoMs() < this.#openUntilMonoMs ? 'open' : 'half-open';
  }

  /** Milliseconds until a request may go through; 0: now. */
  get waitMs(): number {
    return Math.max(0, (this.#openUntilMonoMs ?? 0) - this.#clock.nowMonoMs());
  }

  /** @returns to be called once with what became of the request; undefined: it may not go through now */
  admit(): ((outcome: Outcome) => void) | undefined {
    const { state } = this;
    if (state === 'open' || (state === 'half-open' && this.#isProbing)) return undefined;
    const isProbe = state === 'half-open';
    if (isProbe) this.#isProbing = true;
    return (outcome) => {
      if (isProbe) this.#isProbing = false;
      if (outcome === 'answered') this.#close();
      else if (outcome === 'failed') this.#fail(isProbe);
    };
  }

  /** The engine was seen to be well, or not, by who looks after it. */
  looked(isWell: boolean): void {
    if (!isWell) this.#fail(false);
    else if (this.#openUntilMonoMs === undefined) this.#failures = 0;
    else this.#openUntilMonoMs = this.#clock.nowMonoMs();
  }

  #close(): void {
    this.#failures = 0;
    this.#opened = 0;
    this.#openUntilMonoMs = undefined;
  }

  #fail(wasProbe: boolean): void {
    this.#failures += 1;
    // What was under way when it opened says nothing new.
    if (this.state === 'open' || (this.#failures < FAILURES && !wasProbe)) return;
    // A half and a random half: not all at once, and never at once.
    const capMs = Math.min(OPEN.maxMs, OPEN.firstMs * 2 ** Math.min(this.#opened, 10));
    const delayMs = capMs / 2 + backoffDelayMs(this.#opened, { ...OPEN, random: this.#random }) / 2;
    this.#opened += 1;
    this.#openUntilMonoMs = this.#clock.nowMonoMs() + delayMs;
  }
}

const TOKENS = 10;
/** A tenth of what is answered may be asked again. */
const TOKENS_PER_ANSWER = 0.1;

/** Budget of retries: what is asked again must stay a small share, or an engine that is slow would be asked more the slower it is. */
export class RetryBudget {
  #tokens = TOKENS;

  answered(): void {
    this.#tokens = Math.min(TOKENS, this.#tokens + TOKENS_PER_ANSWER);
  }

  /** @returns whether it may be asked again */
  take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
