/**
 * Which way a weight is about to move, by those around it: gradients of one kernel, one output and one input go together. A linear guess that
 * follows what came (normalized least mean squares), with weights of its own for each place in a kernel. Sums, products and quotients of
 * doubles only, which IEEE 754 fixes: both sides of a delta must come to the same bits.
 */

import type { Rows } from './format.ts';

/** What a guess is made of, and what each is worth at first. */
const WORTH = [
  ...[0.05, 0.05, 0.05], // the last three steps
  ...[0.1, 0.1], // at the same place in the kernel before, in the row before
  ...[0.3, 0.2], // means of this kernel and this row so far
  ...[0.1, 0.1], // of the kernel before, and of those in the rows above
  0.2, // as the row grows or shrinks as a whole
];
const FOLLOWING = 0.03;
/** A kernel is hardly larger; places further on share weights. */
const MAX_PLACES = 64;
/** Rows whose growth is known from less are taken to stay. */
const STEADY = 64 * 64;
const ABOVE_FOLLOWING = 0.05;

/** Guess of one tensor's steps, from its beginning to its end. */
export class Drift {
  readonly #row: number;
  readonly #group: number;
  readonly #weights: Float64Array;
  readonly #seen = new Float64Array(WORTH.length);
  /** By kernel of a row: steps there in the rows above. */
  readonly #above: Float64Array;
  readonly #ofRow = { sum: 0, count: 0, growth: 0, weight: STEADY };
  readonly #ofKernel = { sum: 0, count: 0, before: 0 };
  #first = 0;
  #kernel = 0;
  #guess = 0;

  constructor({ row, group }: Rows, length: number) {
    this.#row = row;
    this.#group = group;
    this.#above = new Float64Array(Math.ceil(Math.min(row, length) / group));
    const places = Math.min(group, MAX_PLACES);
    this.#weights = Float64Array.from(
      { length: WORTH.length * places },
      (_, at) => WORTH[at % WORTH.length] ?? 0,
    );
  }

  newRow(): void {
    Object.assign(this.#ofRow, { sum: 0, count: 0, growth: 0, weight: STEADY });
    Object.assign(this.#ofKernel, { sum: 0, count: 0, before: 0 });
  }

  /**
   * @param at place in the tensor
   * @param column in its row
   * @param old the number there
   * @param steps those before it
   */
  guess(at: number, column: number, old: number, steps: Int8Array): number {
    const [row, kernel, group] = [this.#ofRow, this.#ofKernel, this.#group];
    const place = column % group;
    if (place === 0) {
      if (kernel.count > 0) kernel.before = kernel.sum / kernel.count;
      [kernel.sum, kernel.count] = [0, 0];
    }
    this.#kernel = (column / group) | 0;
    this.#first = WORTH.length * (place < MAX_PLACES ? place : MAX_PLACES - 1);
    const seen = this.#seen;
    seen[0] = at < 1 ? 0 : (steps[at - 1] as number);
    seen[1] = at < 2 ? 0 : (steps[at - 2] as number);
    seen[2] = at < 3 ? 0 : (steps[at - 3] as number);
    seen[3] = at < group ? 0 : (steps[at - group] as number);
    seen[4] = at < this.#row ? 0 : (steps[at - this.#row] as number);
    seen[5] = kernel.sum / (kernel.count + 0.5);
    seen[6] = row.sum / (row.count + 8);
    seen[7] = kernel.before;
    seen[8] = this.#above[this.#kernel] as number;
    seen[9] = (row.growth / row.weight) * old;
    let guess = 0;
    for (let one = 0; one < seen.length; one++)
      guess += (seen[one] as number) * (this.#weights[this.#first + one] as number);
    this.#guess = guess;
    return guess;
  }

  /** The step that it was, after `guess`. */
  learn(step: number, old: number): void {
    const [row, kernel, seen] = [this.#ofRow, this.#ofKernel, this.#seen];
    let power = 1;
    for (let one = 0; one < seen.length; one++) power += (seen[one] as number) * (seen[one] as number);
    const by = (FOLLOWING * (step - this.#guess)) / power;
    for (let one = 0; one < seen.length; one++) {
      const weight = this.#first + one;
      this.#weights[weight] = (this.#weights[weight] as number) + by * (seen[one] as number);
    }
    row.sum += step;
    row.count++;
    row.growth += step * old;
    row.weight += old * old;
    kernel.sum += step;
    kernel.count++;
    const above = this.#above[this.#kernel] as number;
    this.#above[this.#kernel] = above + (step - above) * ABOVE_FOLLOWING;
  }
}
