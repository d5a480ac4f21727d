/** Goes off once at a point on the epoch clock. One timer however far away that is, and the clock may jump meanwhile. */
import type { Clock } from './clock.ts';

/** Looks at the clock again after this: it may have been set, and Node's timers end at 24.8 days. */
const MAX_WAIT_MS = 3_600_000;

/** Timer for one point on the epoch clock; setting it again replaces the time. */
export class Alarm {
  readonly #clock: Clock;
  readonly #run: () => void;
  #cancel = () => {};

  constructor(clock: Clock, run: () => void) {
    this.#clock = clock;
    this.#run = run;
  }

  /** Replaces the time for which it was set; undefined: never. One that has passed goes off in the next turn. */
  set(atMs: number | undefined): void {
    this.#cancel();
    if (atMs === undefined) return;
    const waitMs = Math.max(0, atMs - this.#clock.nowAtMs());
    this.#cancel = this.#clock.after(Math.min(waitMs, MAX_WAIT_MS), () => {
      if (this.#clock.nowAtMs() >= atMs) this.#run();
      else this.set(atMs);
    });
  }

  cancel(): void {
    this.#cancel();
  }
}
