/**
 * Two programs that use one device id throw each other off the broker for ever. Each start of an agent has an `instance`: a
 * restart brings a new one, only two programs in turn bring an old one back.
 */
import type { Clock } from '../../shared/runtime/clock.ts';

/** A, B and A again within this. A slow pair, at the longest backoff of the link, takes two or three minutes. */
const IN_TURN_MS = 10 * 60_000;
/** An episode is over after this long without. */
const EPISODE_MS = 3_600_000;

interface Birth {
  readonly instance: string;
  readonly monoMs: number;
}

/** The births of one device. */
export class Contest {
  readonly #clock: Clock;
  #last: Birth | undefined;
  #beforeLast: Birth | undefined;
  #noticed: { readonly atMs: number; readonly monoMs: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** When that was last seen; null when not within the last hour. */
  get noticedAtMs(): number | null {
    const isOpen = this.#noticed && this.#clock.nowMonoMs() - this.#noticed.monoMs < EPISODE_MS;
    return isOpen && this.#noticed ? this.#noticed.atMs : null;
  }

  /** Takes a birth. @returns whether an episode begins with it */
  born(instance: string): boolean {
    const monoMs = this.#clock.nowMonoMs();
    const isBack = instance === this.#beforeLast?.instance && monoMs - this.#beforeLast.monoMs <= IN_TURN_MS;
    if (instance !== this.#last?.instance) this.#beforeLast = this.#last;
    this.#last = { instance, monoMs };
    if (!isBack) return false;
    const isNew = this.noticedAtMs === null;
    this.#noticed = { atMs: this.#clock.nowAtMs(), monoMs };
    return isNew;
  }
}
