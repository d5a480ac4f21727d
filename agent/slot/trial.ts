/**
 * The trial of a new version: it answers for real while the one before it stays warm. It ends by 50 answers or 10 minutes, or at
 * once by a failure; over 20 inputs that both have answered, it may not take over twice as long. Pure but for its timer.
 *
 * trial   | event                                             -> ended
 * running | 50 answers, or 10 minutes                         -> passed
 * running | a failure that the version before does not share  -> failed
 * running | the last 20 pairs: lower quartile over twice the old one's -> failed (MODEL_TOO_SLOW)
 * running | stop                                              -> stopped
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { TrialEnd } from '../ports.ts';

/** Answers after which a trial has passed. */
export const TRIAL_ANSWERS = 50;
const TRIAL_MAX_MS = 10 * 60_000;
/** Inputs, answered by both versions, over which their speed is compared. */
export const TRIAL_PAIRS = 20;
const MAX_SLOWDOWN = 2;
/** What the scheduler of a busy device adds by itself: below it nobody can tell the two apart. */
const NOISE_MS = 2;

/**
 * What a version takes when it is let run. A busy machine, and a runtime that is still compiling the new version's code, make most of
 * the times longer and none shorter: by medians a version was refused at 4.7 ms against 1.4 that takes as long as the old one.
 */
const lowerQuartile = (timesMs: readonly number[]): number =>
  [...timesMs].sort((a, b) => a - b)[Math.floor(timesMs.length / 4)] ?? 0;

/** Probation of a new version, judged by its failures and its speed. */
export class Trial {
  readonly ended: Promise<TrialEnd>;
  #end: (end: TrialEnd) => void = () => undefined;
  readonly #cancel: () => void;
  readonly #newMs: number[] = [];
  readonly #oldMs: number[] = [];
  #answers = 0;
  #isOver = false;

  constructor(clock: Clock) {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#cancel = clock.after(TRIAL_MAX_MS, () => this.#over({ kind: 'passed' }));
  }

  get answers(): number {
    return this.#answers;
  }

  /** The new version has answered. */
  answered(): void {
    this.#answers++;
    if (this.#answers >= TRIAL_ANSWERS) this.#over({ kind: 'passed' });
  }

  /** Both have answered the same input, in so many milliseconds. */
  compared(newMs: number, oldMs: number): void {
    for (const [list, ms] of [[this.#newMs, newMs] as const, [this.#oldMs, oldMs] as const]) {
      list.push(ms);
      if (list.length > TRIAL_PAIRS) list.shift();
    }
    if (this.#newMs.length < TRIAL_PAIRS) return;
    const [now, before] = [lowerQuartile(this.#newMs), lowerQuartile(this.#oldMs)];
    if (now <= before * MAX_SLOWDOWN || now - before <= NOISE_MS) return;
    const said = `it takes ${now.toFixed(1)} ms, the version before it ${before.toFixed(1)} (lower quartiles of ${TRIAL_PAIRS})`;
    this.failed(new AppError('MODEL_TOO_SLOW', said));
  }

  failed(error: AppError): void {
    this.#over({ kind: 'failed', error });
  }

  stop(): void {
    this.#over({ kind: 'stopped' });
  }

  #over(end: TrialEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancel();
    this.#end(end);
  }
}
