/** The last Results and all that are still provisional, for people who ask later, and the live stream. */
import { isFailure, type Result } from '../../shared/contract/result.ts';

/** Results that are final: the last so many. */
const KEPT = 1_000;

export class ResultStore {
  /** By id, oldest change first. */
  readonly #results = new Map<string, Result>();
  readonly #listeners = new Set<(result: Result) => void>();

  add(result: Result): void {
    this.#results.delete(result.id);
    this.#results.set(result.id, result);
    this.#trim();
    for (const listener of this.#listeners) listener(result);
  }

  get(id: string): Result | undefined {
    return this.#results.get(id);
  }

  /** Newest last. */
  all(): Result[] {
    return [...this.#results.values()];
  }

  /** @returns how to end it */
  subscribe(listener: (result: Result) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Provisional ones are bounded by the outbox. */
  #trim(): void {
    if (this.#results.size <= KEPT) return;
    let over = this.#results.size - KEPT;
    for (const [id, result] of this.#results) {
      if (over <= 0) return;
      if (!isFailure(result) && result.provisional) continue;
      this.#results.delete(id);
      over--;
    }
  }
}
