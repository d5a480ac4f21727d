/** How long the event loop of this process was held up, at most, over the last minute or two: what a request would have waited for nothing. */
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { Clock } from './clock.ts';

/** Node looks every so often; what it measures has this in it. */
const LOOK_MS = 20;
/** While next to nothing is done, as each look wakes the process: what holds it up for long is seen all the same. */
const IDLE_LOOK_MS = 100;
const IDLE_SHARE = 0.02;
/** How soon it is looked at finely again once there is work, and how long after it. */
const JUDGE_MS = 1_000;
const SPAN_MS = 60_000;

/** Measures for the life of the process; costs a timer of libuv and next to nothing of JavaScript. */
export class EventLoopDelay {
  readonly #clock: Clock;
  #lookMs = LOOK_MS;
  #histogram: IntervalHistogram | undefined;
  #used = performance.eventLoopUtilization();
  #cancelJudging: () => void = () => undefined;
  #sinceMonoMs = 0;
  #earlierMs = 0;
  /** Of this span, before the looks became more or fewer. */
  #beforeMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  start(): void {
    this.#sinceMonoMs = this.#clock.nowMonoMs();
    this.#lookEvery(LOOK_MS);
    this.#judgeLater();
  }

  stop(): void {
    this.#cancelJudging();
    this.#histogram?.disable();
  }

  /** Milliseconds between two looks, as it measures now. */
  get lookMs(): number {
    return this.#lookMs;
  }

  /** Milliseconds, over this span and the one before it. */
  get maxMs(): number {
    const nowMs = this.#nowMs;
    const ageMs = this.#clock.nowMonoMs() - this.#sinceMonoMs;
    if (ageMs < SPAN_MS) return Math.max(this.#earlierMs, nowMs);
    const maxMs = ageMs < 2 * SPAN_MS ? Math.max(this.#earlierMs, nowMs) : nowMs;
    this.#earlierMs = nowMs;
    this.#beforeMs = 0;
    this.#sinceMonoMs = this.#clock.nowMonoMs();
    this.#histogram?.reset();
    return maxMs;
  }

  get #nowMs(): number {
    return Math.max(this.#beforeMs, (this.#histogram?.max ?? 0) / 1e6 - this.#lookMs);
  }

  #judgeLater(): void {
    this.#cancelJudging = this.#clock.after(JUDGE_MS, () => {
      const used = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(used, this.#used);
      this.#used = used;
      const lookMs = utilization < IDLE_SHARE ? IDLE_LOOK_MS : LOOK_MS;
      if (lookMs !== this.#lookMs) this.#lookEvery(lookMs);
      this.#judgeLater();
    });
  }

  /** By a new histogram: one that goes on after a pause takes the pause for a delay. */
  #lookEvery(lookMs: number): void {
    this.#beforeMs = this.#nowMs;
    this.#histogram?.disable();
    this.#lookMs = lookMs;
    this.#histogram = monitorEventLoopDelay({ resolution: lookMs });
    this.#histogram.enable();
  }
}
