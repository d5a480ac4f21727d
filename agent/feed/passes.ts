/** What feeds of a finite source share: one pass at full speed, then, if asked for, again and again at a gentle pace. */
import type { Clock } from '../../shared/runtime/clock.ts';

/** Pace of a feed that reads a finite source more than once. */
export interface Passes {
  /** Wait between two inputs from the second pass on; undefined: one pass. */
  readonly repeatPaceMs: number | undefined;
  /** One pass, whatever `repeatPaceMs` says. */
  readonly once: boolean;
  readonly clock: Clock;
}

/** @param pass goes through the source once, waiting `paceMs` after each input */
export async function runPasses(
  { repeatPaceMs, once, clock }: Passes,
  signal: AbortSignal,
  pass: (paceMs: number) => Promise<void>,
): Promise<void> {
  await pass(0);
  if (once || repeatPaceMs === undefined) return;
  while (!signal.aborted) {
    await rest(clock, repeatPaceMs, signal);
    await pass(repeatPaceMs);
  }
}

/** Waits, or not any longer when it is to stop. */
export async function rest(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await clock.sleep(ms, signal).catch(() => undefined);
}
