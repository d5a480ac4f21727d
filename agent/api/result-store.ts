/** The last Results, for people who ask later, and the live stream. What the cloud still owes beyond them, the outbox knows. */
import { isFailure, type Result } from '../../shared/contract/result.ts';

/** Of the final ones, and of those that are still provisional. */
const KEPT = 1_000;

interface Kept {
  readonly result: Result;
  /** Counts up with each Result that comes. */
  readonly sequence: number;
}

/** Store of the last Results, bounded, with the stream of new ones. */
export class ResultStore {
  readonly #kept: number;
  /** By id, oldest first. */
  readonly #open = new Map<string, Kept>();
  /** By id, oldest first. */
  readonly #final = new Map<string, Kept>();
  readonly #listeners = new Set<(result: Result) => void>();
  #sequence = 0;

  constructor(kept = KEPT) {
    this.#kept = kept;
  }

  /** How many read the stream now. */
  get listeners(): number {
    return this.#listeners.size;
  }

  add(result: Result): void {
    const { id } = result;
    this.#open.delete(id);
    this.#final.delete(id);
    const isOpen = !isFailure(result) && result.provisional;
    (isOpen ? this.#open : this.#final).set(id, { result, sequence: this.#sequence++ });
    for (const kept of [this.#open, this.#final]) {
      const oldest = kept.keys().next();
      if (kept.size > this.#kept && !oldest.done) kept.delete(oldest.value);
    }
    for (const listener of this.#listeners) listener(result);
  }

  get(id: string): Result | undefined {
    return (this.#open.get(id) ?? this.#final.get(id))?.result;
  }

  /** Newest last. */
  all(): Result[] {
    return [...this.#open.values(), ...this.#final.values()]
      .sort((one, other) => one.sequence - other.sequence)
      .map(({ result }) => result);
  }

  /** @returns how to end it */
  subscribe(listener: (result: Result) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
