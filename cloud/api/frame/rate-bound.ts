/** A token bucket for each address or device: who asks for what costs something may do so often, not for ever. */
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';

/** A rack of devices may be enrolled at once. */
const BURST = 30;
const PER_SECOND = 1;
/** Bounds the memory; past it everybody starts afresh. */
const MAX_BUCKETS = 10_000;

interface Bucket {
  left: number;
  atMonoMs: number;
}

export class RateBound {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws RATE_LIMITED, with the time to wait */
  take(who: string): void {
    const nowMonoMs = this.#clock.nowMonoMs();
    if (this.#buckets.size >= MAX_BUCKETS) this.#buckets.clear();
    const bucket = this.#buckets.get(who) ?? { left: BURST, atMonoMs: nowMonoMs };
    const refilled = bucket.left + ((nowMonoMs - bucket.atMonoMs) / 1000) * PER_SECOND;
    const left = Math.min(BURST, refilled) - 1;
    if (left < 0) {
      const retryAfterMs = (-left / PER_SECOND) * 1000;
      throw new AppError('RATE_LIMITED', 'too many attempts from here', { details: { retryAfterMs } });
    }
    this.#buckets.set(who, { left, atMonoMs: nowMonoMs });
  }
}
