/**
 * All captures as the world that a replay draws from: what any threshold would escalate and keep is known exactly. Pure; shares
 * are 0..1 and by weight.
 */
import type { RouteScope } from '../../shared/contract/routing.ts';
import type { Captures } from './captures.ts';

/** Share escalated and agreement kept by one way to decide, 0..1. */
export interface Point {
  readonly escalated: number;
  /** Share of the scope's requests that get the cloud's answer, from whichever side. */
  readonly agreement: number;
}

/** Threshold with what it comes to over all captures. */
export interface ThresholdPoint extends Point {
  /** Lowest score that stays local; null: everything is escalated. */
  readonly threshold: number | null;
}

/** Rounding of sums. */
const EPSILON = 1e-9;

/** Population of captures that a replay draws from. */
export class Pool {
  readonly #captures: Captures;
  readonly #scope: RouteScope;
  /** Sums of the weights, in the order of the file. */
  readonly #upTo: Float64Array;
  /** Scores that occur, descending; then the shares of weight and of loss that are kept from there up. */
  readonly #levels: Float64Array;
  readonly #kept: Float64Array;
  readonly #losses: Float64Array;

  constructor(captures: Captures, scope: RouteScope) {
    this.#captures = captures;
    this.#scope = scope;
    let sum = 0;
    this.#upTo = captures.weights.map((weight) => {
      sum += weight;
      return sum;
    });
    const order = Array.from(captures.scores.keys()).sort((a, b) => this.#score(b) - this.#score(a));
    const [levels, kept, losses]: number[][] = [[], [], []];
    let [weight, loss] = [0, 0];
    for (const [rank, index] of order.entries()) {
      weight += this.#weight(index);
      loss += this.#weight(index) * (captures.losses[index] ?? 0);
      const next = order[rank + 1];
      if (next !== undefined && this.#score(next) === this.#score(index)) continue;
      levels?.push(this.#score(index));
      kept?.push(weight);
      losses?.push(loss);
    }
    this.#levels = Float64Array.from(levels ?? []);
    this.#kept = Float64Array.from(kept ?? [], (one) => one / weight);
    this.#losses = Float64Array.from(losses ?? [], (one) => one / weight);
  }

  get size(): number {
    return this.#captures.scores.length;
  }

  /** How many captures of equal weight would tell as much (Kish). */
  get effectiveSize(): number {
    const { weights } = this.#captures;
    const squares = weights.reduce((sum, weight) => sum + weight * weight, 0);
    return (this.#upTo.at(-1) ?? 0) ** 2 / squares;
  }

  /** One by chance, by weight. @param chance uniform in [0, 1) */
  draw(chance: number): { readonly score: number; readonly loss: number } {
    const wanted = chance * (this.#upTo.at(-1) ?? 0);
    let [low, high] = [0, this.size - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#upTo[middle] ?? 0) > wanted) high = middle;
      else low = middle + 1;
    }
    return this.at(low);
  }

  /** In the order of the file. */
  at(index: number): { readonly score: number; readonly loss: number } {
    return { score: this.#score(index), loss: this.#captures.losses[index] ?? 1 };
  }

  /** @param threshold lowest score that stays local; null: everything is escalated */
  by(threshold: number | null): ThresholdPoint {
    if (threshold === null) return { threshold, ...this.#point(0, 0) };
    let [low, high] = [0, this.#levels.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#levels[middle] ?? 0) >= threshold) low = middle + 1;
      else high = middle;
    }
    return { threshold, ...this.#point(this.#kept[low - 1] ?? 0, this.#losses[low - 1] ?? 0) };
  }

  /** Where all that reach this probability stay local; null where there are none. */
  byProbability(least: number): Point | null {
    const { probabilities, losses } = this.#captures;
    if (!probabilities) return null;
    let [kept, loss] = [0, 0];
    for (const [index, probability] of probabilities.entries()) {
      if (probability < least) continue;
      kept += this.#weight(index);
      loss += this.#weight(index) * (losses[index] ?? 0);
    }
    const all = this.#upTo.at(-1) ?? 1;
    return this.#point(kept / all, loss / all);
  }

  /** Where this share is escalated, the least sure first; of equal scores some, by chance. */
  byShare(escalated: number): Point {
    const wanted = 1 - escalated;
    const level = this.#kept.findIndex((kept) => kept >= wanted - EPSILON);
    const [before, beforeLoss] = [this.#kept[level - 1] ?? 0, this.#losses[level - 1] ?? 0];
    const [after, afterLoss] = [this.#kept[level] ?? 1, this.#losses[level] ?? 0];
    const part = (wanted - before) / (after - before);
    return { ...this.#point(wanted, beforeLoss + part * (afterLoss - beforeLoss)), escalated };
  }

  /** `steps + 1` points, from edge only to cloud only. */
  curve(steps: number): Point[] {
    return Array.from({ length: steps + 1 }, (_, step) => this.byShare(step / steps));
  }

  /** The threshold that escalates least and agrees so often: what no way to learn it can beat. */
  oracle(agreement: number): ThresholdPoint {
    const loosest = this.#kept.findLastIndex(
      (kept, level) => this.#point(kept, this.#losses[level] ?? 0).agreement >= agreement - EPSILON,
    );
    return this.by(this.#levels[loosest] ?? null);
  }

  #point(kept: number, loss: number): Point {
    const outOf = this.#scope === 'all' ? 1 : kept;
    return { escalated: Math.max(0, 1 - kept), agreement: outOf === 0 ? 1 : 1 - loss / outOf };
  }

  #score(index: number): number {
    return this.#captures.scores[index] ?? 0;
  }

  #weight(index: number): number {
    return this.#captures.weights[index] ?? 0;
  }
}
