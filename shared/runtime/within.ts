/** A wait with an end that leaves no timer behind: of thousands of short answers each would keep one, and what it holds. */
import type { Clock } from './clock.ts';

/** @returns what the work resolves with, or undefined once `delayMs` have passed; the work itself goes on */
export async function within<T>(clock: Clock, delayMs: number, work: Promise<T>): Promise<T | undefined> {
  let cancel = (): void => undefined;
  const over = new Promise<undefined>((resolve) => {
    cancel = clock.after(delayMs, () => resolve(undefined));
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    cancel();
  }
}
