/**
 * A bound on wrong keys, by address: who guesses waits longer and longer, also for an answer to the right one. Keys that have been right from
 * an address before go on, so that nobody behind the same proxy is shut out.
 */
import type { Clock } from './clock.ts';
import { AppError } from './errors.ts';
import { sha256Hex } from './ids.ts';
import { TokenBuckets } from './token-bucket.ts';

/** A person may mistype; a rack of devices may hold an old secret. Addresses: about 2 MB. */
const LIMITS = { burst: 30, perSecond: 0.5, maxKeys: 10_000 };
/** Keys by address that have been right; the one that was used longest ago goes first. */
const MAX_KNOWN = 10_000;

/** Wrong keys by address, in bounded memory. */
export class KeyGuesses {
  readonly #buckets: TokenBuckets;
  readonly #known = new Set<string>();

  constructor(clock: Clock) {
    this.#buckets = new TokenBuckets(clock, LIMITS);
  }

  /**
   * To be asked with every key that somebody has shown, before anything is done for it.
   *
   * @param isRight whether it is one of ours
   * @throws RATE_LIMITED, with the time to wait: too many wrong ones have come from there
   */
  admit(address: string, key: string, isRight: boolean): void {
    const name = sha256Hex(`${address} ${key}`);
    if (isRight && this.#known.delete(name)) {
      this.#known.add(name);
      return;
    }
    const retryAfterMs = isRight ? this.#buckets.delayMs(address) : this.#buckets.take(address);
    if (retryAfterMs > 0)
      throw new AppError('RATE_LIMITED', 'too many wrong keys from this address', {
        details: { retryAfterMs },
      });
    if (!isRight) return;
    this.#known.add(name);
    const [oldest] = this.#known;
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }
}
