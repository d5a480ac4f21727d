/** Lets so many bytes a second through, whoever sends them. */
import type { Clock } from '../../shared/runtime/clock.ts';
import { TokenBucket } from '../../shared/runtime/token-bucket.ts';

/** After a pause as much comes at once as in a second. */
const BURST_SECONDS = 1;

/**
 * Paces sources together: one after another they do not come faster than one alone.
 *
 * @param bytesPerSecond undefined: as fast as it comes
 */
export function pacer(
  bytesPerSecond: number | undefined,
  clock: Clock,
  signal: AbortSignal,
): (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array> {
  if (bytesPerSecond === undefined) return (source) => source;
  const bucket = new TokenBucket(
    { perSecond: bytesPerSecond, burst: bytesPerSecond * BURST_SECONDS },
    clock.nowMonoMs(),
  );
  return async function* paced(source) {
    for await (const chunk of source) {
      bucket.refill(clock.nowMonoMs());
      // Below zero is what has come too early: waited for before the next is asked for.
      bucket.take(chunk.length);
      yield chunk;
      const delayMs = bucket.delayMs(0);
      // A stop is the source's to tell.
      if (delayMs > 0) await clock.sleep(delayMs, signal).catch(() => undefined);
    }
  };
}
