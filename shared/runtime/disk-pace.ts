/**
 * How long this process waits for its disk: each sync of state, outbox and records is timed, those under way too, so that a disk that
 * hangs is seen before it is over. Whoever starts the program has it told: once when the disk becomes slow, once when that is over.
 */
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';

/** From here on a sync is slow: cards and disks that are well take 1 to 50 ms, a card at its housekeeping some hundred. */
export const SLOW_SYNC_MS = 1_000;
/** A disk is slow until one to two of these have passed without a slow sync. */
const SPAN_MS = 60_000;

/** Hears when the disk becomes slow, and when that is over. @param slowestMs of the syncs that made it so */
export type HearDiskPace = (isSlow: boolean, slowestMs: number) => void;

/** Timer of syncs: the slowest of the last minute or two. */
export class DiskPace {
  readonly #nowMonoMs: () => number;
  readonly #underWay = new Set<{ readonly fromMonoMs: number }>();
  #hear: HearDiskPace = () => undefined;
  #spanFromMonoMs: number;
  #slowestMs = 0;
  #earlierMs = 0;
  #isTold = false;
  #worstMs = 0;

  constructor(nowMonoMs: () => number) {
    this.#nowMonoMs = nowMonoMs;
    this.#spanFromMonoMs = nowMonoMs();
  }

  /** Tells from now on, what is so now among it. */
  tell(hear: HearDiskPace): void {
    this.#hear = hear;
    this.#isTold = false;
    this.#look();
  }

  /** Milliseconds that the slowest sync of the last minute or two took, or takes by now. */
  get slowestMs(): number {
    this.#turn();
    const [oldest] = this.#underWay;
    const waitedMs = oldest ? this.#nowMonoMs() - oldest.fromMonoMs : 0;
    return Math.max(this.#slowestMs, this.#earlierMs, waitedMs);
  }

  /** @throws what the sync does */
  async timed(sync: () => Promise<void>): Promise<void> {
    const one = { fromMonoMs: this.#nowMonoMs() };
    this.#underWay.add(one);
    const timer = setTimeout(() => this.#look(), SLOW_SYNC_MS).unref();
    try {
      await sync();
    } finally {
      clearTimeout(timer);
      this.#underWay.delete(one);
      this.#turn();
      this.#slowestMs = Math.max(this.#slowestMs, this.#nowMonoMs() - one.fromMonoMs);
      this.#look();
    }
  }

  /** Begins another span where this one is over. */
  #turn(): void {
    const now = this.#nowMonoMs();
    const passedMs = now - this.#spanFromMonoMs;
    if (passedMs < SPAN_MS) return;
    this.#earlierMs = passedMs < 2 * SPAN_MS ? this.#slowestMs : 0;
    this.#slowestMs = 0;
    this.#spanFromMonoMs = now;
  }

  #look(): void {
    const { slowestMs } = this;
    const isSlow = slowestMs >= SLOW_SYNC_MS;
    if (isSlow) this.#worstMs = Math.max(this.#worstMs, slowestMs);
    if (isSlow === this.#isTold) return;
    this.#isTold = isSlow;
    this.#hear(isSlow, this.#worstMs);
    if (!isSlow) this.#worstMs = 0;
  }
}

/** That of this process, whose disk it is that is waited for. */
export const diskPace = new DiskPace(() => performance.now());

/** Says in log and metrics how long a program waits for its disk. */
export function watchDiskPace(
  { logger, metrics }: { readonly logger: Pick<Logger, 'warn' | 'info'>; readonly metrics: Metrics },
  pace: DiskPace = diskPace,
): void {
  metrics.gauge(
    'outrider_disk_slowest_sync_seconds',
    'How long the slowest write of state, requests or records took to be safe on disk, over the last one or two minutes',
    () => pace.slowestMs / 1_000,
  );
  pace.tell((isSlow, slowestMs) => {
    if (isSlow) logger.warn('disk.slow', { slowestMs: Math.round(slowestMs), thresholdMs: SLOW_SYNC_MS });
    else logger.info('disk.slow_over', { slowestMs: Math.round(slowestMs) });
  });
}
