/** Token buckets: so many at once after a pause, so many a second in the long run. */
import type { Clock } from './clock.ts';

/** Rate and burst of a token bucket. */
export interface BucketLimits {
  /** Tokens that come each second. */
  readonly perSecond: number;
  /** Tokens that a bucket holds, and begins with. */
  readonly burst: number;
}

/** One bucket; time is passed in, on the monotonic clock. */
export class TokenBucket {
  readonly #limits: BucketLimits;
  #level: number;
  #filledMonoMs: number;

  constructor(limits: BucketLimits, nowMonoMs: number) {
    this.#limits = limits;
    this.#level = limits.burst;
    this.#filledMonoMs = nowMonoMs;
  }

  /** Tokens that are there, at most `burst`; below 0 where more was taken than there was. */
  get level(): number {
    return this.#level;
  }

  /** @returns tokens that have come since the last time, those included that found no room */
  refill(nowMonoMs: number): number {
    const { perSecond, burst } = this.#limits;
    const come = ((nowMonoMs - this.#filledMonoMs) / 1_000) * perSecond;
    this.#filledMonoMs = nowMonoMs;
    this.#level = Math.min(burst, this.#level + come);
    return come;
  }

  /** @param tokens negative: given back */
  take(tokens: number): void {
    this.#level -= tokens;
  }

  /** Milliseconds until so many are there; 0 when they are. */
  delayMs(tokens: number): number {
    const missing = tokens - this.#level;
    return missing <= 0 ? 0 : (missing / this.#limits.perSecond) * 1_000;
  }
}

/** A bucket for each key. Of more keys than `maxKeys` the one that has taken nothing for longest is forgotten: it is the fullest. */
export class TokenBuckets {
  readonly #clock: Clock;
  readonly #limits: BucketLimits;
  readonly #maxKeys: number;
  /** Longest unused first. */
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(clock: Clock, limits: BucketLimits & { readonly maxKeys: number }) {
    this.#clock = clock;
    this.#limits = limits;
    this.#maxKeys = limits.maxKeys;
  }

  /** Takes one token. @returns 0, or the milliseconds until there is one: then nothing was taken */
  take(key: string): number {
    const bucket = this.#filled(key) ?? new TokenBucket(this.#limits, this.#clock.nowMonoMs());
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#maxKeys) this.#buckets.delete(this.#buckets.keys().next().value ?? '');
    const delayMs = bucket.delayMs(1);
    if (delayMs === 0) bucket.take(1);
    return Math.ceil(delayMs);
  }
  /** Milliseconds until there is a token; 0 where there is one. */
  delayMs(key: string): number {
    return Math.ceil(this.#filled(key)?.delayMs(1) ?? 0);
  }

  #filled(key: string): TokenBucket | undefined {
    const bucket = this.#buckets.get(key);
    bucket?.refill(this.#clock.nowMonoMs());
    return bucket;
  }
}
