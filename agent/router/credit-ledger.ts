/**
 * The credit ledger: an anytime-valid betting test of every threshold of a grid at once (docs/design/router.md 2.3;
 * arXiv:2010.09686, arXiv:2406.10490).
 *
 * For each threshold t, a wealth starts at 1 and bets on "the risk of t is at most alpha": after each request it is multiplied by
 * 1 + bet * (alpha - Z), where Z = loss / probability of having asked, for a request that t keeps and whose loss is known, and 0
 * otherwise. While the risk of t is above alpha no bet can make it grow on average, so it reaches 1 / delta with probability delta
 * at most, at any time (Ville). One reaches it: t is certified.
 *
 * All thresholds make the same bet. Then Z = 0 gives all of them the same growth, one *credit*, and a known loss costs all that
 * keep its score the same *debit*, stored in its bin: ln wealth of threshold k = credit - sum of the debits of bins 0..k. It falls
 * with k, so thresholds are certified from strict to loose, and one certified wrongly means that the strictest wrong one was: no
 * union bound over thresholds or time.
 *
 * Scope `local` promises the share among local answers: Z = (loss - alpha) / probability for known losses, tested against 0. An
 * agreement is credit for the thresholds that keep it (a negative debit); the risk need not fall with k, so thresholds are tested in
 * a fixed sequence, from the first that keeps a tenth of the requests.
 */
import { z } from 'zod';
import type { RouteScope } from '../../shared/contract/routing.ts';
import { pack, packed, unpackNumbers } from './packed.ts';

/** A promise as the test takes it. */
export interface Target {
  /** Share of wrong answers that is allowed, 0..1: one less the agreement. */
  readonly alpha: number;
  /** Probability 0..1 that the promise may be broken: one less the confidence. */
  readonly delta: number;
  readonly scope: RouteScope;
}

/** One settled request. */
export interface Settled {
  readonly bin: number;
  /** 0..1; null: it was not asked. */
  readonly loss: number | null;
  /** That it would be asked, given its score. */
  readonly probability: number;
  /** The largest that 1 / probability could be at that time. */
  readonly weight: number;
}

/** Half of what could be bet without ruin: within a few % of mixtures and of Kelly, and simpler (docs/design/router.md 4.3). */
const STAKE = 0.5;
/** Share of the requests that the first tested threshold of scope `local` keeps. */
const FIRST_LOCAL_SHARE = 0.1;

/** Credit and debits of a ledger, as they are kept on disk. */
export const ledgerState = z.object({ credit: z.number(), certified: z.int(), debits: packed });
type LedgerState = z.infer<typeof ledgerState>;

/** Betting test of all thresholds of a grid at once: which of them are certified. */
export class CreditLedger {
  readonly #target: Target;
  readonly #debits: Float64Array;
  /** Wealth must reach this, as a logarithm. */
  readonly #needed: number;
  readonly #first: number;
  #credit = 0;
  /** Loosest certified threshold; below `#first` there is none. */
  #certified: number;
  /** The growth of one request, kept because the weight changes seldom. */
  #growth = 0;
  #lastWeight = Number.NaN;
  /** Debits of the bins up to the next threshold. */
  #debitsToNext = 0;

  /** @param thresholds how many the grid has */
  constructor(target: Target, thresholds: number) {
    this.#target = target;
    this.#debits = new Float64Array(thresholds);
    this.#needed = -Math.log(target.delta);
    this.#first = target.scope === 'local' ? Math.floor(FIRST_LOCAL_SHARE * thresholds) : 0;
    this.#certified = this.#first - 1;
  }

  static restore(target: Target, { credit, certified, debits }: LedgerState): CreditLedger {
    const known = unpackNumbers(debits);
    const ledger = new CreditLedger(target, known.length);
    ledger.#debits.set(known);
    ledger.#credit = credit;
    ledger.#certified = certified;
    ledger.#debitsToNext = ledger.#sumOfDebits(certified + 1);
    return ledger;
  }

  get state(): LedgerState {
    return { credit: this.#credit, certified: this.#certified, debits: pack(this.#debits) };
  }

  /** Index of the loosest certified threshold; null: none yet. */
  get certified(): number | null {
    return this.#certified < this.#first ? null : this.#certified;
  }

  settle(settled: Settled): void {
    const debit = this.#target.scope === 'all' ? this.#bet(settled) : this.#betOnLocal(settled);
    if (debit !== 0 && settled.bin < this.#debits.length) {
      this.#debits[settled.bin] = (this.#debits[settled.bin] ?? 0) + debit;
      if (settled.bin <= this.#certified + 1) this.#debitsToNext += debit;
    }
    while (this.#certified + 1 < this.#debits.length && this.#credit - this.#debitsToNext >= this.#needed) {
      this.#certified++;
      this.#debitsToNext += this.#debits[this.#certified + 1] ?? 0;
    }
  }

  /** Adds the credit. @returns what the thresholds that keep the request lose of it */
  #bet({ loss, probability, weight }: Settled): number {
    const { alpha } = this.#target;
    // Z is at most `weight`: what is left of the wealth is at least 1 - STAKE.
    const bet = STAKE / (weight - alpha);
    if (weight !== this.#lastWeight) {
      this.#lastWeight = weight;
      this.#growth = Math.log1p(bet * alpha);
    }
    this.#credit += this.#growth;
    return loss === null || loss === 0 ? 0 : this.#growth - Math.log1p(bet * (alpha - loss / probability));
  }

  #betOnLocal({ loss, probability, weight }: Settled): number {
    if (loss === null) return 0;
    const { alpha } = this.#target;
    const bet = STAKE / (weight * (1 - alpha));
    return -Math.log1p((bet * (alpha - loss)) / probability);
  }

  #sumOfDebits(last: number): number {
    return this.#debits.subarray(0, last + 1).reduce((sum, debit) => sum + debit, 0);
  }
}
