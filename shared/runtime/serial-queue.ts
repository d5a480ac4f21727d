/** Work that must not overlap: what comes later waits for what came before, however that ended. */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #length = 0;

  /** Work that has not ended. */
  get length(): number {
    return this.#length;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    this.#length++;
    const done = this.#tail.then(work).finally(() => {
      this.#length--;
    });
    this.#tail = done.catch(() => undefined);
    return done;
  }

  /** Resolves when everything that has been asked for by now has ended. */
  async settled(): Promise<void> {
    await this.#tail;
  }
}
