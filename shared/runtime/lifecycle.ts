/** Parts are started in order and stopped in reverse; a part that fails to start takes the started ones down with it. */

/** Part of a program that may have to be started before use and stopped after it. */
export interface Part {
  /** Left out: it works from its first call on. */
  start?(): Promise<void> | void;
  /** Stops taking, drains, flushes, closes; safe to call when never started. Left out: nothing is kept open. */
  stop?(): Promise<void> | void;
}

/** Part with the name by which a failed stop is told. */
export interface NamedPart {
  readonly name: string;
  readonly part: Part;
}

/** Started parts of one program, in order, so that they stop in reverse. */
export class Lifecycle {
  readonly #started: NamedPart[] = [];
  readonly #onStopFailure: (name: string, error: unknown) => void;

  constructor(onStopFailure: (name: string, error: unknown) => void) {
    this.#onStopFailure = onStopFailure;
  }

  /** Starts the part and remembers it for `stop`. */
  async start(name: string, part: Part): Promise<void> {
    try {
      await part.start?.();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#started.push({ name, part });
  }

  /** Stops everything in reverse order; a part that fails to stop does not keep the others up. */
  async stop(): Promise<void> {
    for (let entry = this.#started.pop(); entry; entry = this.#started.pop()) {
      try {
        await entry.part.stop?.();
      } catch (error) {
        this.#onStopFailure(entry.name, error);
      }
    }
  }
}
