/**
 * The thresholds that are tested, and how the requests spread over them. Bin k holds the scores from threshold k up to the one
 * above it, so that "kept at threshold k" is "in a bin up to k". The grid follows the first scores that come: all thresholds
 * share their bets, so it may depend on the data (docs/design/router.md 2.3).
 */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../../shared/tasks/classification.ts';
import { pack, packed, unpackCounts, unpackNumbers } from './packed.ts';

/** Thresholds of a grid; with 50 scores to draw them from, more would say nothing new. */
const THRESHOLDS = 200;
/** Scores that the grid is drawn from. */
export const GRID_SCORES = 50;
/** Keeps everything but what is as unsure as can be: nothing that a model could not read stays local. */
const LOWEST_THRESHOLD = ROUTE_SCORE_FLOOR / 2;

/** Thresholds and the counts by bin, as they are kept on disk. */
export const gridState = z.object({ thresholds: packed, all: packed, asked: packed, losses: packed });
type GridState = z.infer<typeof gridState>;

/** Histogram of requests over the tested thresholds. */
export class ScoreGrid {
  /** Descending; the last keeps everything that has a score. */
  readonly thresholds: Float64Array;
  /** Requests by bin. The last bin is below every threshold. */
  readonly all: Uint32Array;
  /** Those with a known loss, and the sum of their losses. */
  readonly asked: Uint32Array;
  readonly losses: Float64Array;

  constructor(thresholds: Float64Array) {
    this.thresholds = thresholds;
    this.all = new Uint32Array(thresholds.length + 1);
    this.asked = new Uint32Array(thresholds.length + 1);
    this.losses = new Float64Array(thresholds.length + 1);
  }

  /** Interpolated order statistics of the scores. */
  static from(scores: readonly number[]): ScoreGrid {
    const sorted = Float64Array.from(scores).sort().reverse();
    const thresholds: number[] = [];
    for (let step = 0; step < THRESHOLDS - 1; step++) {
      const rank = ((step + 0.5) / (THRESHOLDS - 1)) * (sorted.length - 1);
      const [above = 0, below = above] = sorted.subarray(Math.floor(rank), Math.floor(rank) + 2);
      const value = above + (rank - Math.floor(rank)) * (below - above);
      if (value > LOWEST_THRESHOLD && value < (thresholds.at(-1) ?? Number.POSITIVE_INFINITY))
        thresholds.push(value);
    }
    return new ScoreGrid(Float64Array.from([...thresholds, LOWEST_THRESHOLD]));
  }

  static restore({ thresholds, all, asked, losses }: GridState): ScoreGrid {
    const grid = new ScoreGrid(unpackNumbers(thresholds));
    grid.all.set(unpackCounts(all));
    grid.asked.set(unpackCounts(asked));
    grid.losses.set(unpackNumbers(losses));
    return grid;
  }

  get state(): GridState {
    const { thresholds, all, asked, losses } = this;
    return { thresholds: pack(thresholds), all: pack(all), asked: pack(asked), losses: pack(losses) };
  }

  /** The first threshold that keeps the score; `thresholds.length` where none does. */
  binOf(score: number): number {
    let [low, high] = [0, this.thresholds.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (score >= (this.thresholds[middle] ?? 0)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** @param loss null: it was not asked */
  count(bin: number, loss: number | null): void {
    this.all[bin] = (this.all[bin] ?? 0) + 1;
    if (loss === null) return;
    this.asked[bin] = (this.asked[bin] ?? 0) + 1;
    this.losses[bin] = (this.losses[bin] ?? 0) + loss;
  }

  /** Share 0..1 of the requests so far that score below a threshold. */
  shareBelow(threshold: number): number {
    const last = this.binOf(threshold);
    let [kept, total] = [0, 0];
    for (const [bin, count] of this.all.entries()) {
      total += count;
      if (bin <= last) kept += count;
    }
    return total === 0 ? 1 : 1 - kept / total;
  }
}
