/** Passes on what comes from elsewhere, and gives up a source that trickles: a time-out for the whole would kill an honest slow link. */
import type { Clock } from './clock.ts';
import { AppError } from './errors.ts';

/** Clock by which a trickle is noticed, and who hears of the bytes. */
export interface SteadyOptions {
  readonly clock: Clock;
  /** Bytes that have just come. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** Less than this over the window is a source that trickles. */
const MIN_BYTES = 16 * 1024;
const WINDOW_MS = 30_000;

/** Passes the same bytes on, counted and timed. @throws DOWNLOAD_INCOMPLETE, STOPPING */
export async function* steady(
  source: AsyncIterable<Uint8Array>,
  { clock, onBytes, signal }: SteadyOptions,
): AsyncGenerator<Uint8Array> {
  let inWindow = 0;
  let windowMonoMs = clock.nowMonoMs();
  const reader = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await within(reader.next(), clock, signal);
      if (next.done) return;
      inWindow += next.value.length;
      onBytes(next.value.length);
      if (clock.nowMonoMs() - windowMonoMs >= WINDOW_MS) {
        if (inWindow < MIN_BYTES) throw tooSlow();
        inWindow = 0;
        windowMonoMs = clock.nowMonoMs();
      }
      yield next.value;
    }
  } finally {
    // Not awaited: a source that hangs hangs here as well.
    void reader.return?.().catch(() => undefined);
  }
}

function within<T>(piece: Promise<T>, clock: Clock, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new AppError('STOPPING'));
    const cancel = clock.after(WINDOW_MS, () => reject(tooSlow()));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    piece.then(resolve, reject).finally(() => {
      cancel();
      signal.removeEventListener('abort', stop);
    });
  });
}

const tooSlow = (): AppError =>
  new AppError('DOWNLOAD_INCOMPLETE', `less than ${MIN_BYTES} bytes came in ${WINDOW_MS / 1000} s`);
