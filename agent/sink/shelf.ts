/** The last inputs of a pipeline by the ids of their requests, for sinks that show pictures (docs/decisions/0030). In memory alone. */
import type { TaskInput } from '../../shared/tasks/tasks.ts';

const MAX_INPUTS = 64;
const MAX_BYTES = 64 * 1024 * 1024;

/** Shelf of inputs: the newest stay. */
export class Shelf {
  /** Oldest first. */
  readonly #inputs = new Map<string, TaskInput>();
  #bytes = 0;

  put(id: string, input: TaskInput): void {
    if (input.body.length > MAX_BYTES) return;
    this.#inputs.set(id, input);
    this.#bytes += input.body.length;
    for (const [oldest, { body }] of this.#inputs) {
      if (this.#inputs.size <= MAX_INPUTS && this.#bytes <= MAX_BYTES) return;
      this.#inputs.delete(oldest);
      this.#bytes -= body.length;
    }
  }

  /** undefined: newer ones have taken its place. */
  get(id: string): TaskInput | undefined {
    return this.#inputs.get(id);
  }
}
