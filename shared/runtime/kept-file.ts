/**
 * State that changes all the time, written now and then: what a crash loses of it is told again, or costs nothing. Writing what is large takes
 * longer, and is done less often.
 */
import { writeFileAtomic } from './atomic-file.ts';
import type { Clock } from './clock.ts';
import type { Part } from './lifecycle.ts';

/** What is kept, and where. */
export interface KeptFileOptions {
  readonly path: string;
  /** All of it, as JSON. */
  readonly content: () => unknown;
  /** It could not be written, and is tried again. */
  readonly onFailed: (error: unknown) => void;
  readonly clock: Clock;
}

const SAVE_EVERY_MS = 30_000;
/** Most of the time that writing may take. */
const MAX_SAVING_SHARE = 0.05;
/** For the program's own user alone. */
const PRIVATE = 0o600;

/** A JSON file that follows what is in memory. */
export class KeptFile implements Part {
  readonly #o: KeptFileOptions;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #isDirty = false;

  constructor(options: KeptFileOptions) {
    this.#o = options;
  }

  /** There is something to write. */
  changed(): void {
    this.#isDirty = true;
  }

  start(): void {
    this.#loop = this.#keepSaving();
  }

  /** With what has not been written yet. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await this.#save();
  }

  async #keepSaving(): Promise<void> {
    const { clock } = this.#o;
    const { signal } = this.#stopping;
    let tookMs = 0;
    while (!signal.aborted) {
      const waitMs = Math.max(SAVE_EVERY_MS, tookMs / MAX_SAVING_SHARE);
      await clock.sleep(waitMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const startMonoMs = clock.nowMonoMs();
      await this.#save();
      tookMs = clock.nowMonoMs() - startMonoMs;
    }
  }

  async #save(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    try {
      await writeFileAtomic(this.#o.path, JSON.stringify(this.#o.content()), PRIVATE);
    } catch (error) {
      this.#isDirty = true;
      this.#o.onFailed(error);
    }
  }
}
