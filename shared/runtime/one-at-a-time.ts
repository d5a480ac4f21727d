/** A serial queue for each key: work for one key does not overlap, other keys don't wait. */
import { SerialQueue } from './serial-queue.ts';

/** Serial queues by key, each there only while something is under way. */
export class OneAtATime {
  readonly #queues = new Map<string, SerialQueue>();

  /** The keys for which something is under way. */
  get keys(): Iterable<string> {
    return this.#queues.keys();
  }

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? new SerialQueue();
    this.#queues.set(key, queue);
    return queue.run(work).finally(() => {
      if (queue.length === 0) this.#queues.delete(key);
    });
  }
}
