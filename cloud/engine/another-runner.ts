/** Whether a busy model gets another runner: wanted for a while without a pause, while cores have nothing to do. */
import type { Clock } from '../../shared/runtime/clock.ts';

/** It is started when it has been wanted for so long, without a pause of more than the other. */
const WANTED_MS = 300;
const WANT_PAUSE_MS = 150;
/** Cores that must have nothing to do for that: what a runner gains on less is lost in loading it. */
const MIN_IDLE_CORES = 0.2;

/** Wishes for another runner, by model. */
export class AnotherRunner {
  readonly #clock: Clock;
  readonly #idleCores: () => number | undefined;
  readonly #wanted = new Map<string, { readonly sinceMonoMs: number; lastMonoMs: number }>();
  readonly #notBefore = new Map<string, number>();

  /** @param idleCores undefined: not known yet */
  constructor(clock: Clock, idleCores: () => number | undefined) {
    this.#clock = clock;
    this.#idleCores = idleCores;
  }

  /** Asked each time that one is wanted. @returns whether that has been so for long, and it would gain something */
  want(model: string): boolean {
    const nowMonoMs = this.#clock.nowMonoMs();
    // Looked at from the first time on, so that there is a figure when it counts.
    const idle = this.#idleCores() ?? 0;
    const wanted = this.#wanted.get(model);
    if (wanted === undefined || nowMonoMs - wanted.lastMonoMs > WANT_PAUSE_MS) {
      this.#wanted.set(model, { sinceMonoMs: nowMonoMs, lastMonoMs: nowMonoMs });
      return false;
    }
    wanted.lastMonoMs = nowMonoMs;
    return nowMonoMs - wanted.sinceMonoMs >= WANTED_MS && idle >= MIN_IDLE_CORES;
  }

  /** Whether one was started, or failed, a moment ago. */
  isTooSoon(model: string): boolean {
    return this.#clock.nowMonoMs() < (this.#notBefore.get(model) ?? 0);
  }

  /** None for so long; as long as it has to be wanted, when left out. */
  pause(model: string, forMs: number = WANTED_MS): void {
    this.#notBefore.set(model, this.#clock.nowMonoMs() + forMs);
  }
}
