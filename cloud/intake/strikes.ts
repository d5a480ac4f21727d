/** How often each request ended its runner, or took too long for it: after a few times it is the input's fault. */

/** Each strike has cost at least one runner, the last time with nobody else in it. */
const MAX_STRIKES = 3;
/** Bounds the memory; the oldest are forgotten, and would have to earn their strikes again. */
const MAX_REMEMBERED = 10_000;

/** Strikes by device and request. */
export class Strikes {
  readonly #strikes = new Map<string, number>();

  /** @returns whether this was the last one */
  isOut(device: string, id: string): boolean {
    const key = `${device}/${id}`;
    const strikes = (this.#strikes.get(key) ?? 0) + 1;
    this.#strikes.delete(key);
    if (strikes >= MAX_STRIKES) return true;
    this.#strikes.set(key, strikes);
    const oldest = this.#strikes.keys().next();
    if (this.#strikes.size > MAX_REMEMBERED && !oldest.done) this.#strikes.delete(oldest.value);
    return false;
  }
}
