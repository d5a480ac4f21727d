/** Work that must not overlap for one key: what comes later waits, other keys don't. */
export class OneAtATime {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** The keys for which something is under way. */
  get keys(): Iterable<string> {
    return this.#tails.keys();
  }

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const done = (this.#tails.get(key) ?? Promise.resolve()).then(work);
    const tail = done.catch(() => undefined);
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return done;
  }
}
