/** A token bucket for each address: who asks without a key may do so often, not for ever. */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';

/** A rack of devices may be enrolled at once. */
const BURST = 30;
const PER_SECOND = 1;
/** Bounds the memory; past it everybody starts afresh. */
const MAX_ADDRESSES = 10_000;

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

  /** @throws QUEUE_FULL, with the time to wait */
  take(address: string): void {
    const nowMonoMs = this.#clock.nowMonoMs();
    if (this.#buckets.size >= MAX_ADDRESSES) this.#buckets.clear();
    const bucket = this.#buckets.get(address) ?? { left: BURST, atMonoMs: nowMonoMs };
    const refilled = bucket.left + ((nowMonoMs - bucket.atMonoMs) / 1000) * PER_SECOND;
    const left = Math.min(BURST, refilled) - 1;
    if (left < 0) {
      const retryAfterMs = (-left / PER_SECOND) * 1000;
      throw new AppError('QUEUE_FULL', 'too many attempts from this address', { details: { retryAfterMs } });
    }
    this.#buckets.set(address, { left, atMonoMs: nowMonoMs });
  }
}
