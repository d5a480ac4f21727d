/** Time that passes only while there is a link: without one nobody can answer, and nobody's silence means anything. */
import type { Clock } from '../../shared/runtime/clock.ts';

/** Clock that stands still while the link is down, in milliseconds. */
export class OnlineTime {
  readonly #clock: Pick<Clock, 'nowMonoMs'>;
  #passedMs = 0;
  /** undefined: offline. */
  #sinceMonoMs: number | undefined;

  constructor(clock: Pick<Clock, 'nowMonoMs'>) {
    this.#clock = clock;
  }

  get nowMs(): number {
    return (
      this.#passedMs + (this.#sinceMonoMs === undefined ? 0 : this.#clock.nowMonoMs() - this.#sinceMonoMs)
    );
  }

  change(online: boolean): void {
    if (online === (this.#sinceMonoMs !== undefined)) return;
    this.#passedMs = this.nowMs;
    this.#sinceMonoMs = online ? this.#clock.nowMonoMs() : undefined;
  }
}
