/** How many cores have nothing to do, over the last moments: whether another runner would find one. */
import { availableParallelism, type CpuInfo, cpus } from 'node:os';
import type { Clock } from '../../shared/runtime/clock.ts';

/** A share over less time says little. */
const SAMPLE_MS = 200;
/** An older sample says nothing of now. */
const STALE_MS = 2_000;

/** Measures while it is asked, and costs nothing else. */
export class IdleCores {
  readonly #clock: Clock;
  readonly #read: () => readonly Pick<CpuInfo, 'times'>[];
  #sampled: { readonly monoMs: number; readonly busy: number; readonly all: number } | undefined;
  #idle: number | undefined;

  constructor(clock: Clock, read: () => readonly Pick<CpuInfo, 'times'>[] = cpus) {
    this.#clock = clock;
    this.#read = read;
  }

  /** Cores, 0 to all that this program may use; undefined: not known yet, ask again. */
  now(): number | undefined {
    const nowMonoMs = this.#clock.nowMonoMs();
    const ageMs = nowMonoMs - (this.#sampled?.monoMs ?? Number.NEGATIVE_INFINITY);
    if (ageMs < SAMPLE_MS) return this.#idle;
    const before = ageMs > STALE_MS ? undefined : this.#sampled;
    let busy = 0;
    let all = 0;
    for (const { times } of this.#read()) {
      const { user, nice, sys, idle, irq } = times;
      busy += user + nice + sys + irq;
      all += user + nice + sys + irq + idle;
    }
    this.#sampled = { monoMs: nowMonoMs, busy, all };
    this.#idle =
      before === undefined || all <= before.all
        ? undefined
        : availableParallelism() * (1 - (busy - before.busy) / (all - before.all));
    return this.#idle;
  }
}
