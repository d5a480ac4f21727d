/** A token bucket for each address or device: what costs something may be asked for so often, not for ever. */
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { TokenBuckets } from '../../../shared/runtime/token-bucket.ts';

/** A rack of devices may be enrolled at once. Addresses: about 2 MB. */
const LIMITS = { burst: 30, perSecond: 1, maxKeys: 10_000 };

/** Rate limit by address or device, for what costs the hub something. */
export class RateBound {
  readonly #buckets: TokenBuckets;

  constructor(clock: Clock) {
    this.#buckets = new TokenBuckets(clock, LIMITS);
  }

  /** @param key address or device id @throws RATE_LIMITED, with the time to wait */
  take(key: string): void {
    const retryAfterMs = this.#buckets.take(key);
    if (retryAfterMs > 0)
      throw new AppError('RATE_LIMITED', 'too many attempts from here', { details: { retryAfterMs } });
  }
}
