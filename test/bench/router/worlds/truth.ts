/** What is true of a pool at any threshold, exactly; a router never sees it. Shares are 0..1. */
import type { RouteScope } from '../../../../shared/contract/routing.ts';
import type { Pool } from './pool.ts';

export interface Oracle {
  /** null: no threshold keeps the promise, all is escalated. */
  readonly threshold: number | null;
  /** The least share that has to be escalated. */
  readonly escalated: number;
}

export class Truth {
  /** Surest first. */
  readonly #scores: Float64Array;
  /** Sum of the losses of the surest k. */
  readonly #losses: Float64Array;

  constructor({ scores, losses }: Pick<Pool, 'scores' | 'losses'>) {
    const order = Array.from(scores.keys()).sort((one, other) => scores[other]! - scores[one]!);
    this.#scores = Float64Array.from(order, (index) => scores[index]!);
    this.#losses = new Float64Array(scores.length + 1);
    for (const [rank, index] of order.entries())
      this.#losses[rank + 1] = this.#losses[rank]! + losses[index]!;
  }

  /** @param threshold null keeps nothing */
  kept(threshold: number | null): number {
    return this.#countKept(threshold) / this.#scores.length;
  }

  escalated(threshold: number | null): number {
    return 1 - this.kept(threshold);
  }

  /** Mean loss of what is kept: of all requests, or for `local` of those kept. */
  risk(threshold: number | null, scope: RouteScope = 'all'): number {
    const count = this.#countKept(threshold);
    return this.#losses[count]! / (scope === 'all' ? this.#scores.length : Math.max(1, count));
  }

  /** The lowest threshold whose risk is at most alpha. */
  oracle(alpha: number, scope: RouteScope = 'all'): Oracle {
    const size = this.#scores.length;
    for (let count = size; count >= 1; count--) {
      // Equal scores stay or go together.
      if (count < size && this.#scores[count] === this.#scores[count - 1]) continue;
      if (this.#losses[count]! / (scope === 'all' ? size : count) <= alpha)
        return { threshold: this.#scores[count - 1]!, escalated: 1 - count / size };
    }
    return { threshold: null, escalated: 1 };
  }

  #countKept(threshold: number | null): number {
    if (threshold === null) return 0;
    let [low, high] = [0, this.#scores.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#scores[middle]! >= threshold) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
