/** When a model that failed to start, or whose runner ended, may be started again: at once the first time, then with full jitter. */
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { AppError } from '../../shared/runtime/errors.ts';

interface Failures {
  readonly count: number;
  /** No start before then. */
  readonly retryMonoMs: number;
  /** Error of a failed start; a crash of a loaded model leaves it empty. */
  readonly startError: AppError | undefined;
}

const RESTART = { firstMs: 500, maxMs: 30_000 };

/** Failures of versions, by their digest. */
export class StartBackoff {
  readonly #clock: Clock;
  readonly #random: (() => number) | undefined;
  readonly #failures = new Map<string, Failures>();

  /** @param random uniform in [0, 1); the system's when left out */
  constructor(clock: Clock, random: (() => number) | undefined) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Until it may be started, ms; 0 or less: now. */
  waitMs(digest: string): number {
    return (this.#failures.get(digest)?.retryMonoMs ?? 0) - this.#clock.nowMonoMs();
  }

  /** Why it did not start, for whoever asks before it may be tried again. */
  errorOf(digest: string): AppError | undefined {
    return this.waitMs(digest) > 0 ? this.#failures.get(digest)?.startError : undefined;
  }

  /** The first crash costs no wait: most are one input's doing. @param startError undefined: it had started, and ended */
  count(digest: string, startError: AppError | undefined): void {
    const count = (this.#failures.get(digest)?.count ?? 0) + 1;
    const isFirstCrash = count === 1 && startError === undefined;
    const backoff = this.#random === undefined ? RESTART : { ...RESTART, random: this.#random };
    const delayMs = isFirstCrash ? 0 : backoffDelayMs(count - 1, backoff);
    this.#failures.set(digest, { count, startError, retryMonoMs: this.#clock.nowMonoMs() + delayMs });
  }

  /** It has earned a fresh start. */
  forget(digest: string): void {
    this.#failures.delete(digest);
  }
}
