/** How long nothing has come of a source that gives inputs one by one. */
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';

/** Watch over a source: after so long without an input it is silent. */
export class Silence {
  readonly #clock: Clock;
  readonly #afterMs: number;
  #heardMonoMs: number;

  constructor({ clock, stalledAfterMs }: { readonly clock: Clock; readonly stalledAfterMs: number }) {
    this.#clock = clock;
    this.#afterMs = stalledAfterMs;
    this.#heardMonoMs = clock.nowMonoMs();
  }

  /** An input has come, or silence counts from now on. */
  heard(): void {
    this.#heardMonoMs = this.#clock.nowMonoMs();
  }

  /** @param what has not come: `line of …` @param why it may be; undefined: nothing is known @returns undefined while it is not silent */
  after(what: string, why?: string): AppError | undefined {
    if (this.#clock.nowMonoMs() - this.#heardMonoMs < this.#afterMs) return undefined;
    const more = why === undefined ? '' : `; of what came last ${why}`;
    return new AppError('FEED_SILENT', `no ${what} for ${this.#afterMs / 1_000} s${more}`);
  }
}
