/**
 * The trial of a new version: it answers for real while the one before it stays warm. It ends by 50 answers or 10 minutes, or at
 * once by a failure; it may not take over twice as long for most of 20 inputs that both have answered. Pure but for its timer.
 *
 * trial   | event                                             -> ended
 * running | 50 answers, or 10 minutes                         -> passed
 * running | a failure that the version before does not share  -> failed
 * running | of the last 20 inputs 15 took over twice as long   -> failed (MODEL_TOO_SLOW)
 * running | stop                                              -> stopped
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { median } from '../../shared/runtime/median.ts';
import type { TrialEnd } from '../ports.ts';

/** Answers after which a trial has passed. */
export const TRIAL_ANSWERS = 50;
const TRIAL_MAX_MS = 10 * 60_000;
/** Inputs, answered by both versions, over which their speed is compared. */
export const TRIAL_PAIRS = 20;
/**
 * So many of them must have taken too long. A busy machine, and a runtime that still compiles the new version's code, make many times
 * longer, the old version's too: with seven programs beside it on two cores a version that takes as long as the old one had 6 of 20 over
 * twice, and its lower quartile (4.1 ms against 1.5) was over twice the old one's in every second trial.
 */
const SLOW_PAIRS = 15;
const MAX_SLOWDOWN = 2;
/** What the scheduler of a busy device adds by itself: below it nobody can tell the two apart. */
const NOISE_MS = 2;

interface Pair {
  readonly newMs: number;
  readonly oldMs: number;
}

/** Probation of a new version, judged by its failures and its speed. */
export class Trial {
  readonly ended: Promise<TrialEnd>;
  #end: (end: TrialEnd) => void = () => undefined;
  readonly #cancel: () => void;
  readonly #pairs: Pair[] = [];
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
    this.#pairs.push({ newMs, oldMs });
    if (this.#pairs.length > TRIAL_PAIRS) this.#pairs.shift();
    const slow = this.#pairs.filter((pair) => pair.newMs > pair.oldMs * MAX_SLOWDOWN + NOISE_MS);
    if (this.#pairs.length < TRIAL_PAIRS || slow.length < SLOW_PAIRS) return;
    const [now, before] = [median(slow.map((pair) => pair.newMs)), median(slow.map((pair) => pair.oldMs))];
    const said = `for ${slow.length} of ${TRIAL_PAIRS} inputs it takes over twice as long (${now.toFixed(1)} ms, the version before it ${before.toFixed(1)})`;
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
