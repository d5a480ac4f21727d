/**
 * Free signals, from what is known without asking more (docs/design/router.md 2.5): whether the scores still spread as they did
 * when the evidence was gathered, and whether what is asked anyway disagrees more often than it used to.
 */
import { z } from 'zod';
import { isotonic } from './isotonic.ts';
import { pack, packed, unpackNumbers } from './packed.ts';
import type { ScoreGrid } from './score-grid.ts';

const PARTS = 10;
/** Requests that the running histogram remembers. */
const MEMORY = 300;
/** Until then the reference still grows. */
const GROWN = 2_000;
const CHECK_EVERY = 16;
const GROW_EVERY = 256;
/** Kullback-Leibler divergence, nats: no false one in 200 runs of 40,000 requests (docs/design/router.md 2.5). */
const SHIFT = 0.06;
const SHIFT_WHILE_GROWING = 0.12;

/** Score histograms of then and now, as they are kept on disk. */
export const inputShiftState = z.object({ reference: packed, recent: packed });
type InputShiftState = z.infer<typeof inputShiftState>;

/** Comparison of recent scores with those of the evidence: whether the inputs have changed. */
export class InputShift {
  readonly #grid: ScoreGrid;
  readonly #recent: Float64Array;
  #reference: Float64Array;

  constructor(grid: ScoreGrid, state?: InputShiftState) {
    this.#grid = grid;
    this.#reference = state ? unpackNumbers(state.reference) : histogramOf(grid);
    this.#recent = state ? unpackNumbers(state.recent) : this.#reference.slice();
  }

  get state(): InputShiftState {
    return { reference: pack(this.#reference), recent: pack(this.#recent) };
  }

  /**
   * @param count requests of this epoch so far
   * @returns whether the inputs are others now
   */
  settle(bin: number, count: number): boolean {
    for (let part = 0; part < PARTS; part++)
      this.#recent[part] = (this.#recent[part] ?? 0) * (1 - 1 / MEMORY);
    const part = partOf(bin, this.#grid.thresholds.length);
    this.#recent[part] = (this.#recent[part] ?? 0) + 1 / MEMORY;
    if (count % CHECK_EVERY !== 0) return false;
    const isGrowing = count < GROWN;
    if (isGrowing && count % GROW_EVERY === 0) this.#reference = histogramOf(this.#grid);
    return divergence(this.#recent, this.#reference) > (isGrowing ? SHIFT_WHILE_GROWING : SHIFT);
  }
}

const partOf = (bin: number, bins: number): number => Math.min(PARTS - 1, Math.floor((PARTS * bin) / bins));

function histogramOf({ all, thresholds }: ScoreGrid): Float64Array {
  const counts = new Float64Array(PARTS);
  for (const [bin, count] of all.entries()) {
    const part = partOf(bin, thresholds.length);
    counts[part] = (counts[part] ?? 0) + count;
  }
  const total = counts.reduce((sum, count) => sum + count, 0);
  // One more in each: a part that was empty so far is rare, not impossible.
  return counts.map((count) => (count + 1) / (total + PARTS));
}

function divergence(recent: Float64Array, reference: Float64Array): number {
  let sum = 0;
  for (const [part, share] of recent.entries())
    if (share > 0) sum += share * Math.log(share / (reference[part] ?? 1));
  return sum;
}

/** Twice the odds of disagreement, by CUSUM; at 8, the odds for it are 3,000 to 1. */
const ASKED_ALARM = 8;
const CLOSE_TO_CERTAIN = 0.95;
const CLOSE_TO_NEVER = 0.02;

/** Sum of a CUSUM over disagreement, and the disagreement expected by bin, as they are kept on disk. */
export const askedShiftState = z.object({ expected: packed, sum: z.number() });
type AskedShiftState = z.infer<typeof askedShiftState>;

/** Disagreement test by CUSUM: whether what scores below the threshold, and is asked anyway, disagrees more than it did. */
export class AskedShift {
  /** By bin, frozen. */
  readonly #expected: Float64Array;
  #sum: number;

  constructor({ losses, asked }: Pick<ScoreGrid, 'losses' | 'asked'>, state?: AskedShiftState) {
    this.#expected = state ? unpackNumbers(state.expected) : isotonic(losses, asked);
    this.#sum = state?.sum ?? 0;
  }

  get state(): AskedShiftState {
    return { expected: pack(this.#expected), sum: this.#sum };
  }

  /** @returns whether more should be audited for a while */
  settle(bin: number, loss: number): boolean {
    const usual = Math.min(CLOSE_TO_CERTAIN, Math.max(CLOSE_TO_NEVER, this.#expected[bin] ?? 0));
    const raised = (2 * usual) / (1 + usual);
    const step = loss * Math.log(raised / usual) + (1 - loss) * Math.log((1 - raised) / (1 - usual));
    this.#sum = Math.max(0, this.#sum + step);
    if (this.#sum <= ASKED_ALARM) return false;
    this.#sum = 0;
    return true;
  }
}
