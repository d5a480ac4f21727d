/**
 * Watches whether the threshold in use still keeps the promise: e-CUSUM (docs/design/router.md 2.5; e-detectors of Shin, Ramdas
 * and Rinaldo). Three bets on a risk of 1.5, 3 and 8 times what is allowed, each starting again from 1 whenever it has lost.
 * While the promise holds, an alarm comes once in 10,000 requests on average at the earliest.
 */
import type { Settled, Target } from './credit-ledger.ts';

const RISK_RATIOS = [1.5, 3, 8];
const LN_ALARM = Math.log(10_000);
/** Of what could be bet without ruin. */
const MAX_STAKE = 0.9;

/** What one request says about the threshold in use. */
interface Sight extends Omit<Settled, 'bin'> {
  /** The threshold keeps it. */
  readonly isKept: boolean;
}

/** Drift test by e-CUSUM: whether the threshold in use still keeps the promise. */
export class DriftMonitor {
  readonly #target: Target;
  /** Logarithms of the three wealths. */
  readonly #wealths: number[];
  #evidence: number;

  constructor(target: Target, wealths: readonly number[] = RISK_RATIOS.map(() => 0)) {
    this.#target = target;
    this.#wealths = [...wealths];
    this.#evidence = this.#sum();
  }

  get state(): readonly number[] {
    return this.#wealths;
  }

  /** Logarithm of the evidence that the promise is broken; 0 and less: none. */
  get evidence(): number {
    return this.#evidence;
  }

  get isAlarm(): boolean {
    return this.#evidence >= LN_ALARM;
  }

  settle({ isKept, loss, probability, weight }: Sight): void {
    const { alpha, scope } = this.#target;
    const isKnown = isKept && loss !== null;
    const excess =
      scope === 'all'
        ? (isKnown ? loss / probability : 0) - alpha
        : isKnown
          ? (loss - alpha) / probability
          : 0;
    // The least that `excess` can be, so that no bet loses everything.
    const worst = scope === 'all' ? alpha : alpha * weight;
    for (const [index, ratio] of RISK_RATIOS.entries()) {
      const bet = Math.min(MAX_STAKE / worst, (ratio - 1) / (weight - alpha));
      this.#wealths[index] = Math.max(0, this.#wealths[index] ?? 0) + Math.log1p(bet * excess);
    }
    this.#evidence = this.#sum();
  }

  #sum(): number {
    return Math.log(this.#wealths.reduce((sum, wealth) => sum + Math.exp(wealth), 0) / RISK_RATIOS.length);
  }
}
