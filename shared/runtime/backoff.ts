/** Full-jitter exponential backoff: a uniform wait between 0 and the cap of the attempt, so that a fleet spreads out. */

/** Bounds of a growing random wait, in milliseconds. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

/**
 * The wait before the given attempt.
 *
 * @param attempt 0 for the first retry
 * @returns milliseconds in [0, min(maxMs, firstMs * 2^attempt))
 */
export function backoffDelayMs(
  attempt: number,
  { firstMs, maxMs, random = Math.random }: BackoffOptions,
): number {
  const cap = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * cap);
}
