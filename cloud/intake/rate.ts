/** Token buckets: how often each device may ask, with a burst. Bounded, since only devices that exist are counted. */
import type { Clock } from '../../shared/runtime/clock.ts';

export interface RateLimits {
  /** Requests a second, in the long run. */
  readonly perSecond: number;
  /** Requests at once, after a pause. */
  readonly burst: number;
}

/** Four thousand an hour for each of a thousand cameras is far below; a runaway loop is far above. */
const DEFAULT_RATE: RateLimits = { perSecond: 200, burst: 2_000 };

interface Bucket {
  tokens: number;
  atMonoMs: number;
}

export class Rate {
  readonly #clock: Clock;
  readonly #limits: RateLimits;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, limits: RateLimits = DEFAULT_RATE) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** @returns 0 when it may go on, else milliseconds until it may */
  take(device: string): number {
    const { perSecond, burst } = this.#limits;
    const nowMonoMs = this.#clock.nowMonoMs();
    const bucket = this.#buckets.get(device) ?? { tokens: burst, atMonoMs: nowMonoMs };
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMonoMs - bucket.atMonoMs) / 1_000) * perSecond);
    bucket.atMonoMs = nowMonoMs;
    this.#buckets.set(device, bucket);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / perSecond) * 1_000);
    bucket.tokens -= 1;
    return 0;
  }
}
