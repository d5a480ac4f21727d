/**
 * What this device has seen of a pair of models, in the form in which the evidence of many devices is put together: sums of losses by the
 * place of the route score. They begin anew when the router sees a drift: what was before it would start others wrongly.
 */
import { z } from 'zod';
import {
  LAST_SCORE_PLACE,
  type PairEvidence,
  scorePlace,
  TWENTIETHS,
} from '../../shared/contract/fleet-evidence.ts';
import { pack, packed, unpackCounts, unpackNumbers } from './packed.ts';

/** One more than there are: the first is for what is below all of them. */
const PLACES = 2 * LAST_SCORE_PLACE + 2;
const LOWEST = -LAST_SCORE_PLACE - 1;
/** The hub reads no more into a sum. */
const DIGITS = 5;

/** Sums as they are kept on disk. */
export const fleetSumsState = z.object({
  requests: z.int().nonnegative(),
  asked: z.int().nonnegative(),
  weights: z.number().nonnegative(),
  loss: z.number().nonnegative(),
  /** Losses and requests by place. */
  places: packed,
  all: packed,
});
type FleetSumsState = z.infer<typeof fleetSumsState>;

/** Sums of one pair of models. */
export class FleetSums {
  #requests = 0;
  #asked = 0;
  #weights = 0;
  #loss = 0;
  readonly #places = new Float64Array(PLACES);
  readonly #all = new Uint32Array(PLACES);

  constructor(state?: FleetSumsState) {
    if (!state) return;
    this.#requests = state.requests;
    this.#asked = state.asked;
    this.#weights = state.weights;
    this.#loss = state.loss;
    this.#places.set(unpackNumbers(state.places).subarray(0, PLACES));
    this.#all.set(unpackCounts(state.all).subarray(0, PLACES));
  }

  get state(): FleetSumsState {
    return {
      ...{ requests: this.#requests, asked: this.#asked, weights: this.#weights, loss: this.#loss },
      places: pack(this.#places),
      all: pack(this.#all),
    };
  }

  /** Requests that were counted. */
  get requests(): number {
    return this.#requests;
  }

  /** What the hub is told. */
  get told(): Omit<PairEvidence, 'edgeDigest' | 'cloudDigest' | 'comparedBy'> {
    return {
      ...{ requests: this.#requests, asked: this.#asked },
      ...{ weights: rounded(this.#weights), loss: rounded(this.#loss) },
      places: Array.from(this.#places, (sum, index): [number, number] => [
        index + LOWEST,
        rounded(sum),
      ]).filter(([place, sum]) => sum > 0 && place > LOWEST),
      twentieths: this.#twentieths,
    };
  }

  get #twentieths(): number[] {
    const found: number[] = [];
    let above = 0;
    for (let index = PLACES - 1; index >= 0; index--) {
      above += this.#all[index] ?? 0;
      while (found.length < TWENTIETHS && above >= ((found.length + 1) * this.#requests) / (TWENTIETHS + 1))
        found.push(index + LOWEST);
    }
    return found;
  }

  /** @param loss 0..1 of one that was asked; null: it was not @param probability that it would be asked */
  count(score: number, loss: number | null, probability: number): void {
    const index = (scorePlace(score) ?? LOWEST) - LOWEST;
    this.#requests++;
    this.#all[index] = (this.#all[index] ?? 0) + 1;
    if (loss === null) return;
    this.#asked++;
    this.#weights += 1 / probability ** 2;
    this.#loss += loss / probability;
    this.#places[index] = (this.#places[index] ?? 0) + loss / probability;
  }

  /** The world has changed: what was counted tells nothing of it. */
  begin(): void {
    this.#requests = 0;
    this.#asked = 0;
    this.#weights = 0;
    this.#loss = 0;
    this.#places.fill(0);
    this.#all.fill(0);
  }
}

const rounded = (value: number): number => Number(value.toPrecision(DIGITS));
