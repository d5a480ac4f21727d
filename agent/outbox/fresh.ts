/** The newest requests as they were put in: what is sent at once need not be read back from disk and checked again. */
import type { OutboxRequest } from '../ports.ts';

/** A full window of the largest single messages; what waits longer is on disk anyway. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Cache of the newest requests, so that sending them at once reads no disk; bounded in bytes. */
export class FreshRequests {
  /** Oldest first. */
  readonly #requests = new Map<string, OutboxRequest>();
  #bytes = 0;

  add(request: OutboxRequest): void {
    const { length } = request.input.body;
    if (length > MAX_BYTES) return;
    this.#requests.set(request.id, request);
    this.#bytes += length;
    for (const id of this.#requests.keys()) {
      if (this.#bytes <= MAX_BYTES) return;
      this.remove(id);
    }
  }

  get(id: string): OutboxRequest | undefined {
    return this.#requests.get(id);
  }

  remove(id: string): void {
    this.#bytes -= this.#requests.get(id)?.input.body.length ?? 0;
    this.#requests.delete(id);
  }
}
