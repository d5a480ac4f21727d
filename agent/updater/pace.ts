/** Lets so many bytes a second through, whoever sends them. */
import type { Clock } from '../../shared/runtime/clock.ts';
import { TokenBucket } from '../../shared/runtime/token-bucket.ts';

/** After a pause as much comes at once as in a second. */
const BURST_SECONDS = 1;

/** Paces for several who stop by themselves: what one lets through the others have less of. */
export type Pacing = (
  signal: AbortSignal,
) => (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

/**
 * Paces sources together: one after another, or side by side, they do not come faster than one alone.
 *
 * @param bytesPerSecond undefined: as fast as it comes
 */
export function pacing(bytesPerSecond: number | undefined, clock: Clock): Pacing {
  if (bytesPerSecond === undefined) return () => (source) => source;
  const bucket = new TokenBucket(
    { perSecond: bytesPerSecond, burst: bytesPerSecond * BURST_SECONDS },
    clock.nowMonoMs(),
  );
  return (signal) =>
    async function* paced(source) {
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
