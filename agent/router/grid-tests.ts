/**
 * The tests that run over one grid of thresholds: of the promise made, and of weaker ones beside it, for when it cannot be kept
 * (docs/design/router.md 2.8). They share the counts of the grid; each has its own ledger.
 */
import { z } from 'zod';
import { CreditLedger, ledgerState, type Target } from './credit-ledger.ts';
import { isotonic } from './isotonic.ts';
import { gridState, ScoreGrid } from './score-grid.ts';

/** Lesson of one settled request: its score, its loss, and how likely it was to be asked. */
export const lesson = z.object({
  score: z.number(),
  /** 0..1; null: it was not asked. */
  loss: z.number().nullable(),
  /** That it would be asked, given its score. */
  probability: z.number(),
  /** The largest that 1 / probability could be at that time. */
  weight: z.number(),
});
export type Lesson = z.infer<typeof lesson>;

/** Grid and its ledgers, as they are kept on disk; `others` are of weaker promises. */
export const gridTestsState = z.object({
  grid: gridState,
  ledger: ledgerState,
  others: z.array(ledgerState.extend({ agreement: z.number() })),
});
type GridTestsState = z.infer<typeof gridTestsState>;

const OTHER_AGREEMENTS = [0.99, 0.98, 0.95, 0.9, 0.8];
/** Fitting takes 4 µs; a hundredth more evidence changes little. */
const FITTED_AGAIN_AT = 1.01;

/** Ledgers over one grid: of the promise made, and of weaker ones for comparison. */
export class GridTests {
  readonly grid: ScoreGrid;
  readonly #ledger: CreditLedger;
  /** By agreement, strictest first. */
  readonly #others: ReadonlyMap<number, CreditLedger>;
  /** Requests in the grid. */
  #count: number;
  /** Expected loss by bin, and the count that it is of. */
  #fit: { readonly losses: Float64Array; readonly count: number } | undefined;

  constructor(grid: ScoreGrid, ledger: CreditLedger, others: ReadonlyMap<number, CreditLedger>) {
    this.grid = grid;
    this.#ledger = ledger;
    this.#others = others;
    this.#count = grid.all.reduce((sum, count) => sum + count, 0);
  }

  /** With the grid that the first requests draw. */
  static open(target: Target, first: readonly Lesson[]): GridTests {
    const grid = ScoreGrid.from(first.map(({ score }) => score));
    const { length } = grid.thresholds;
    const weaker = OTHER_AGREEMENTS.filter((agreement) => 1 - agreement > 1.001 * target.alpha);
    const others = weaker.map(
      (agreement) => [agreement, new CreditLedger({ ...target, alpha: 1 - agreement }, length)] as const,
    );
    const tests = new GridTests(grid, new CreditLedger(target, length), new Map(others));
    // In a fixed sequence the grid must not know the requests that it is tested on: there they only count.
    for (const one of first) tests.#take(one, target.scope === 'all');
    return tests;
  }

  static restore(target: Target, { grid, ledger, others }: GridTestsState): GridTests {
    const weaker = others.map(
      (other) =>
        [other.agreement, CreditLedger.restore({ ...target, alpha: 1 - other.agreement }, other)] as const,
    );
    return new GridTests(ScoreGrid.restore(grid), CreditLedger.restore(target, ledger), new Map(weaker));
  }

  get state(): GridTestsState {
    return {
      grid: this.grid.state,
      ledger: this.#ledger.state,
      others: Array.from(this.#others, ([agreement, { state }]) => ({ agreement, ...state })),
    };
  }

  /** The loosest threshold that is certified to keep the promise; null: none yet. */
  get threshold(): number | null {
    return this.#thresholdOf(this.#ledger);
  }

  /** The tightest of the weaker promises that is certified, and the share 0..1 that it would escalate. */
  get reachable(): { readonly agreement: number; readonly escalated: number } | null {
    for (const [agreement, ledger] of this.#others) {
      const threshold = this.#thresholdOf(ledger);
      if (threshold !== null) return { agreement, escalated: this.grid.shareBelow(threshold) };
    }
    return null;
  }

  /** Expected loss 0..1 of a local answer of this score; nothing is certain. */
  expectedLoss(score: number): number {
    if (!this.#fit || this.#count > FITTED_AGAIN_AT * this.#fit.count)
      this.#fit = { losses: fitted(this.grid), count: this.#count };
    return this.#fit.losses[this.grid.binOf(score)] ?? 1;
  }

  /** @returns its bin */
  settle(one: Lesson): number {
    return this.#take(one, true);
  }

  #take({ score, loss, probability, weight }: Lesson, isTested: boolean): number {
    const settled = { bin: this.grid.binOf(score), loss, probability, weight };
    this.#count++;
    this.grid.count(settled.bin, loss);
    if (isTested) {
      this.#ledger.settle(settled);
      for (const other of this.#others.values()) other.settle(settled);
    }
    return settled.bin;
  }

  #thresholdOf({ certified }: CreditLedger): number | null {
    return certified === null ? null : (this.grid.thresholds[certified] ?? null);
  }
}

function fitted({ losses, asked }: ScoreGrid): Float64Array {
  const least = 0.5 / (asked.reduce((sum, count) => sum + count, 0) + 1);
  return isotonic(losses, asked).map((loss) => Math.max(loss, least));
}
