/** A waiting line in the order of deadlines; equal deadlines first come, first served. */

interface Due {
  readonly deadlineMonoMs: number;
}

/** A line ordered by deadline, the earliest first. */
export class DeadlineLine<T extends Due> {
  readonly #items: T[] = [];

  get length(): number {
    return this.#items.length;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items[Symbol.iterator]();
  }

  put(item: T): void {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#items[middle] as T).deadlineMonoMs <= item.deadlineMonoMs) low = middle + 1;
      else high = middle;
    }
    this.#items.splice(low, 0, item);
  }

  /** Takes the first items that fit, at most `max`. */
  take(max: number, fits: (item: T) => boolean = () => true): T[] {
    const taken: T[] = [];
    for (let index = 0; index < this.#items.length && taken.length < max; ) {
      const item = this.#items[index] as T;
      if (fits(item)) taken.push(...this.#items.splice(index, 1));
      else index += 1;
    }
    return taken;
  }

  /** The first item that fits; it stays. */
  first(fits: (item: T) => boolean = () => true): T | undefined {
    return this.#items.find(fits);
  }

  /** @returns whether it was there */
  remove(item: T): boolean {
    const index = this.#items.indexOf(item);
    if (index >= 0) this.#items.splice(index, 1);
    return index >= 0;
  }
}
