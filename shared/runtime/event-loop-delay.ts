/** How long the event loop of this process was held up, at most, over the last minute or two: what a request would have waited for nothing. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from './clock.ts';

/** Node looks every so often; what it measures has this in it. Half as often costs an idle hub half as much. */
const LOOK_MS = 20;
const SPAN_MS = 60_000;

/** Measures for the life of the process; costs a timer of libuv and nothing of JavaScript. */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: LOOK_MS });
  readonly #clock: Clock;
  #sinceMonoMs = 0;
  #earlierMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  start(): void {
    this.#sinceMonoMs = this.#clock.nowMonoMs();
    this.#histogram.enable();
  }

  stop(): void {
    this.#histogram.disable();
  }

  /** Milliseconds, over this span and the one before it. */
  get maxMs(): number {
    const nowMs = Math.max(0, this.#histogram.max / 1e6 - LOOK_MS);
    const ageMs = this.#clock.nowMonoMs() - this.#sinceMonoMs;
    if (ageMs < SPAN_MS) return Math.max(this.#earlierMs, nowMs);
    const maxMs = ageMs < 2 * SPAN_MS ? Math.max(this.#earlierMs, nowMs) : nowMs;
    this.#earlierMs = nowMs;
    this.#sinceMonoMs = this.#clock.nowMonoMs();
    this.#histogram.reset();
    return maxMs;
  }
}
