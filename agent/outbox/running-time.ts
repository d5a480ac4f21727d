/**
 * The agent's running time in milliseconds, from the monotonic clock: expiries are counted on it. Stored once a minute while anything waits
 * that may expire, and at the stop; a device that owes nothing writes nothing.
 */
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { RunningTime } from './outbox.ts';

const STORE_EVERY_MS = 60_000;
const stored = z.object({ runMs: z.number().nonnegative() });

/** Running time of the agent over all its runs; a crash loses a minute of it at most. */
export class StoredRunningTime implements RunningTime, Part {
  /** Whether anything counts on it. */
  isNeeded: () => boolean = () => true;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #baseMs = 0;
  #startMonoMs = 0;
  #loop: Promise<void> | undefined;

  constructor(options: { readonly path: string; readonly clock: Clock; readonly logger: Logger }) {
    this.#path = options.path;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  nowRunMs(): number {
    return this.#baseMs + this.#clock.nowMonoMs() - this.#startMonoMs;
  }

  /** It cannot have been less: something was accepted then. */
  atLeast(runMs: number): void {
    this.#baseMs += Math.max(0, runMs - this.nowRunMs());
  }

  async start(): Promise<void> {
    this.#startMonoMs = this.#clock.nowMonoMs();
    try {
      this.#baseMs = (await readJson(this.#path, stored))?.runMs ?? 0;
    } catch (error) {
      // Starting again from zero only prolongs what waits; refusing to start would lose more.
      this.#logger.failure('running_time.unreadable', error);
    }
    this.#loop = this.#keep();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await this.#store();
  }

  async #keep(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#clock.sleep(STORE_EVERY_MS, this.#stopping.signal).catch(() => undefined);
      if (!this.#stopping.signal.aborted && this.isNeeded()) await this.#store();
    }
  }

  async #store(): Promise<void> {
    await writeJsonAtomic(this.#path, { runMs: this.nowRunMs() }).catch((error: unknown) =>
      this.#logger.failure('running_time.not_stored', error),
    );
  }
}
