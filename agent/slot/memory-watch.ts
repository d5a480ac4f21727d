/**
 * When a runner has grown so much that another should take its place: looked at every few seconds while it answers. What a model takes is
 * known once it has answered a while; a leak of its libraries, or one huge input that the allocator never gives back, comes on top.
 */
import type { Clock } from '../../shared/runtime/clock.ts';

/** How a runner's memory is read, and when it is too much. */
export interface MemoryBounds {
  /** Resident bytes of a process; undefined: it is gone, or the system does not tell. */
  readonly memoryOf: (pid: number) => Promise<number | undefined>;
  /** The most that it has held since it began, for who counts that; as `memoryOf`, when left out. */
  readonly peakOf?: (pid: number) => Promise<number | undefined>;
  /** undefined: by what it takes once it is warm. */
  readonly maxBytes: number | undefined;
  /** At which its process is ended, whatever it is doing. */
  readonly hardBytes: number;
}

const LOOK_EVERY_MS = 10_000;
/** By then a model has allocated what it takes. */
const WARM_ANSWERS = 20;
/** A first large input may well double a small one. */
const GROWN = { times: 2, byBytes: 256 * 1024 ** 2 };
/** Before it is ended in the midst of an input. */
const OF_HARD = 0.8;
/** A model that grows at once is not started over and over: its limit is too low, and its process is ended at the hard one. */
const MIN_APART_MS = 600_000;

/** Watch over the memory of one runner after another. */
export class MemoryWatch {
  readonly #bounds: MemoryBounds;
  readonly #clock: Clock;
  #answers = 0;
  #warmBytes: number | undefined;
  #movedMonoMs = Number.NEGATIVE_INFINITY;

  constructor(bounds: MemoryBounds, clock: Clock) {
    this.#bounds = bounds;
    this.#clock = clock;
  }

  /** Another runner answers from now on. @param isForMemory in the place of one that had grown */
  began(isForMemory: boolean): void {
    this.#answers = 0;
    this.#warmBytes = undefined;
    if (isForMemory) this.#movedMonoMs = this.#clock.nowMonoMs();
  }

  answered(): void {
    this.#answers++;
  }

  /**
   * Looks until the signal ends it.
   *
   * @param pidOf of the runner that answers; undefined while none does
   * @param onGrown is waited for
   */
  async watch(
    pidOf: () => number | undefined,
    onGrown: (rssBytes: number, limitBytes: number) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    let seen = 0;
    while (!signal.aborted) {
      await this.#clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
      const pid = pidOf();
      // Who answers nothing does not grow.
      if (signal.aborted || pid === undefined || this.#answers === seen) continue;
      seen = this.#answers;
      const rssBytes = await this.#bounds.memoryOf(pid);
      if (rssBytes === undefined) continue;
      if (this.#answers >= WARM_ANSWERS) this.#warmBytes ??= rssBytes;
      const limitBytes = this.#limitBytes;
      if (limitBytes === undefined || rssBytes <= limitBytes) continue;
      if (this.#clock.nowMonoMs() - this.#movedMonoMs >= MIN_APART_MS) await onGrown(rssBytes, limitBytes);
    }
  }

  get #limitBytes(): number | undefined {
    const { maxBytes, hardBytes } = this.#bounds;
    const hard = hardBytes * OF_HARD;
    if (maxBytes !== undefined) return Math.min(maxBytes, hard);
    if (this.#warmBytes === undefined) return hard;
    return Math.min(hard, Math.max(this.#warmBytes * GROWN.times, this.#warmBytes + GROWN.byBytes));
  }
}
