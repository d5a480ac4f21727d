/** How many requests each caller has, of one model. */

/** So many requests for each caller on the average are a flood of some of them. */
const FLOOD = 8;
/** Who has no more beside it is not of the flood. */
const FEW = 4;

/** Counts by caller; who has none is forgotten. */
export class CallerCounts {
  readonly #counts = new Map<string, number>();
  #total = 0;

  /** Of all callers together. */
  get total(): number {
    return this.#total;
  }

  of(caller: string): number {
    return this.#counts.get(caller) ?? 0;
  }

  add(caller: string): void {
    this.#total += 1;
    this.#counts.set(caller, this.of(caller) + 1);
  }

  remove(caller: string): void {
    this.#total -= 1;
    const left = this.of(caller) - 1;
    if (left > 0) this.#counts.set(caller, left);
    else this.#counts.delete(caller);
  }

  /** Whether a caller has so few that it is of no flood. */
  isLight(caller: string): boolean {
    return this.of(caller) <= FEW;
  }

  /** Whether somebody asks for a few things beside somebody who asks for very many. */
  get hasLightBesideFlood(): boolean {
    const { size } = this.#counts;
    if (size < 2 || this.#total < FLOOD * size) return false;
    for (const count of this.#counts.values()) if (count <= FEW) return true;
    return false;
  }
}
