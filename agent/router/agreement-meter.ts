/**
 * The agreement that the local answers have had, from the audits: an estimate, and a bound that holds whatever drifts, depends on
 * or decides what (ROUTER.md 2.6). It looks back; the ledger's certificate looks forward.
 */
import { z } from 'zod';
import type { Scope } from './ledger.ts';

export const meterState = z.object({
  requests: z.int().nonnegative(),
  local: z.int().nonnegative(),
  /** Sum over the local ones of loss / probability of having asked. */
  weighted: z.number().nonnegative(),
});
export type MeterState = z.infer<typeof meterState>;

/** Stakes, in units of the smallest probability: the best of them counts, and each takes its part of the error. */
const STAKES = [0.1, 0.2, 0.4, 0.8];

export class AgreementMeter {
  #state: MeterState;

  constructor(state: MeterState = { requests: 0, local: 0, weighted: 0 }) {
    this.#state = state;
  }

  get state(): MeterState {
    return this.#state;
  }

  /** @param weighted loss / probability of having asked, 0 where it was not asked; null: answered by the cloud */
  count(weighted: number | null): void {
    const { requests, local, weighted: before } = this.#state;
    this.#state = {
      requests: requests + 1,
      local: local + (weighted === null ? 0 : 1),
      weighted: before + (weighted ?? 0),
    };
  }

  /**
   * @param leastProbability that a local one was asked, ever
   * @returns agreement 0..1 of all requests, or of the local ones; `atLeast` with probability 1 - delta; null before the first
   */
  estimate(
    scope: Scope,
    delta: number,
    leastProbability: number,
  ): { agreement: number; atLeast: number } | null {
    const { requests, local, weighted } = this.#state;
    const of = scope === 'all' ? requests : local;
    if (of === 0) return null;
    const bounds = STAKES.map((stake) => {
      const bet = stake * leastProbability;
      return (weighted + Math.log(STAKES.length / delta) / bet) / (1 - stake / 2);
    });
    return {
      agreement: Math.max(0, 1 - weighted / of),
      atLeast: Math.max(0, 1 - Math.min(...bounds) / of),
    };
  }
}
