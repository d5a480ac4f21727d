/** Log lines of failed requests, bounded by code: whoever asks wrongly in a loop pushes nothing else out of the log. */
import type { Clock } from './clock.ts';
import { ERRORS, type ErrorCode, toAppError } from './errors.ts';
import type { Logger } from './logger.ts';
import { TokenBucket } from './token-bucket.ts';

/** A person who tries things out sees each of his mistakes. */
const LIMITS = { burst: 20, perSecond: 0.2 };

/** A log that leaves lines out where there are too many, and says how many with the next one. */
export class FailureLog {
  readonly #clock: Clock;
  readonly #logger: Pick<Logger, 'failure'>;
  /** No more than there are codes. */
  readonly #byCode = new Map<ErrorCode, { readonly bucket: TokenBucket; leftOut: number }>();

  constructor(clock: Clock, logger: Pick<Logger, 'failure'>) {
    this.#clock = clock;
    this.#logger = logger;
  }

  failure(event: string, error: unknown, facts: Record<string, unknown>): void {
    const { code } = toAppError(error);
    // What callers do wrong; what is wrong here is told each time.
    if (ERRORS[code].kind !== 'caller' && code !== 'RATE_LIMITED') {
      this.#logger.failure(event, error, facts);
      return;
    }
    const nowMonoMs = this.#clock.nowMonoMs();
    const known = this.#byCode.get(code) ?? { bucket: new TokenBucket(LIMITS, nowMonoMs), leftOut: 0 };
    this.#byCode.set(code, known);
    known.bucket.refill(nowMonoMs);
    if (known.bucket.delayMs(1) > 0) {
      known.leftOut += 1;
      return;
    }
    known.bucket.take(1);
    this.#logger.failure(event, error, known.leftOut === 0 ? facts : { ...facts, leftOut: known.leftOut });
    known.leftOut = 0;
  }
}
