/**
 * Time as a port: unit tests turn the hands themselves.
 * `AtMs` is a point on the epoch clock, `MonoMs` a point on the monotonic one; only the latter measures spans.
 */
import { performance } from 'node:perf_hooks';

/** Clock of a program: what time it is, and waiting. */
export interface Clock {
  /** Milliseconds since 1970; may jump. For people and records only. */
  nowAtMs(): number;
  /** Milliseconds since some start; never jumps. */
  nowMonoMs(): number;
  /**
   * Resolves after `delayMs`; rejects with the signal's reason when it is aborted first.
   * The wait keeps the process alive only when `hold` is true.
   */
  sleep(delayMs: number, signal?: AbortSignal, hold?: boolean): Promise<void>;
  /** Calls back once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
}

/** Node's timers take at most 2^31-1 ms (24.8 days); longer waits fire at once otherwise. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Clock of the machine, for everything but unit tests. */
export const systemClock: Clock = {
  nowAtMs: () => Date.now(),
  nowMonoMs: () => performance.now(),
  sleep(delayMs, signal, hold = false) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const timer = setTimeout(done, Math.min(delayMs, MAX_TIMER_MS));
      if (!hold) timer.unref();
      const abort = () => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      function done() {
        signal?.removeEventListener('abort', abort);
        resolve();
      }
      signal?.addEventListener('abort', abort, { once: true });
    });
  },
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(delayMs, MAX_TIMER_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
