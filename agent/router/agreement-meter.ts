/**
 * The agreement that the local answers have had, from the audits: an estimate, and a bound that holds whatever drifts, depends on
 * or decides what (docs/design/router.md 2.6). It looks back; the ledger's certificate looks forward.
 */
import { z } from 'zod';
import type { RouteScope } from '../../shared/contract/routing.ts';

/** Sums behind the measured agreement, as they are kept on disk. */
export const meterState = z.object({
  requests: z.int().nonnegative(),
  local: z.int().nonnegative(),
  /** Sum over the local ones of loss / probability of having asked. */
  weighted: z.number().nonnegative(),
  /** The smallest of those probabilities. */
  least: z.number().positive().max(1),
});
export type MeterState = z.infer<typeof meterState>;

/** Fixed beforehand, each with its part of the error; which one serves best depends on how rarely is asked. */
const STAKES = [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512];

/** Estimate of the past agreement of local answers, with a lower bound. */
export class AgreementMeter {
  readonly #state: MeterState;

  constructor(state: MeterState = { requests: 0, local: 0, weighted: 0, least: 1 }) {
    this.#state = { ...state };
  }

  get state(): MeterState {
    return { ...this.#state };
  }

  countCloud(): void {
    this.#state.requests++;
  }

  /** @param loss 0..1; 0 where it was not asked */
  countLocal(loss: number, probability: number): void {
    this.#state.requests++;
    this.#state.local++;
    this.#state.weighted += loss / probability;
    this.#state.least = Math.min(this.#state.least, probability);
  }

  /** @returns agreement 0..1 of all requests, or of the local ones; `atLeast` with probability 1 - delta; null before the first */
  estimate(scope: RouteScope, delta: number): { agreement: number; atLeast: number } | null {
    const { requests, local, weighted, least } = this.#state;
    const of = scope === 'all' ? requests : local;
    if (of === 0) return null;
    // For each stake: stake * (sum of expected losses) * (1 - stake / (2 * least)) <= stake * weighted + ln(stakes / delta).
    const bounds = STAKES.filter((stake) => stake < 2 * least).map(
      (stake) => (weighted + Math.log(STAKES.length / delta) / stake) / (1 - stake / (2 * least)),
    );
    return {
      agreement: Math.max(0, 1 - weighted / of),
      atLeast: Math.max(0, 1 - Math.min(...bounds) / of),
    };
  }
}
