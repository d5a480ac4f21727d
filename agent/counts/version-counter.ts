/**
 * Counts what each version of the models does on this device: answers, failures, crashes, times, memory, and how its answers compare
 * with the cloud's. The hub is told often while a version is new and at once when it crashes: a rollout waits for it. Of a version that
 * answers again after many others the counting begins anew, under another `run`.
 */
import type { ModelRef } from '../../shared/contract/names.ts';
import {
  LATENCY_PLACES,
  latencyPlace,
  MAX_JUDGED_WEIGHT,
  type VersionCounts,
} from '../../shared/contract/version-counts.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { RouteMeter, VersionMeter } from '../ports.ts';

/** Told of at most so many, the newest first; as many of the contract. */
const TOLD_VERSIONS = 20;
/** Counted: more models than a device has at once, and what they were before. */
const KEPT_VERSIONS = 100;
const USUALLY_EVERY_MS = 60_000;
/** While a version is new. */
const SOON_EVERY_MS = 10_000;
const NEW_FOR_MS = 10 * 60_000;

interface Counted {
  model: ModelRef;
  readonly run: string;
  answers: number;
  failures: number;
  crashes: number;
  readonly times: number[];
  memoryBytes: number | null;
  readonly judged: { requests: number; asked: number; loss: number; squares: number; weights: number };
  readonly routed: { requests: number; escalated: number };
}

/** Counters of all versions of this device's models. */
export class VersionCounter implements VersionMeter, RouteMeter {
  readonly #clock: Clock;
  readonly #onNews: () => void;
  /** By digest; those that began last come last. */
  readonly #versions = new Map<string, Counted>();
  /** Digests of those that have begun, and whose first answer is still to come. */
  readonly #unheard = new Set<string>();
  readonly #sum = { answers: 0, failures: 0 };
  #newUntilMonoMs = Number.NEGATIVE_INFINITY;

  /** @param onNews the hub should hear of it soon */
  constructor({ clock, onNews }: { readonly clock: Clock; readonly onNews: () => void }) {
    this.#clock = clock;
    this.#onNews = onNews;
  }

  began(model: ModelRef): void {
    const [last] = [...this.#versions.keys()].slice(-1);
    const counted = this.#of(model);
    // The same under another number.
    if (last === model.digest) return;
    this.#versions.delete(model.digest);
    this.#versions.set(model.digest, counted);
    this.#unheard.add(model.digest);
    this.#newUntilMonoMs = this.#clock.nowMonoMs() + NEW_FOR_MS;
  }

  answered(model: ModelRef, ms: number | null): void {
    const counted = this.#of(model);
    this.#sum.answers++;
    counted.answers++;
    if (ms !== null && ms >= 0) {
      const place = latencyPlace(ms);
      counted.times[place] = (counted.times[place] ?? 0) + 1;
    }
    if (this.#unheard.delete(model.digest)) this.#onNews();
  }

  failed(model: ModelRef): void {
    this.#sum.failures++;
    this.#of(model).failures++;
  }

  crashed(model: ModelRef): void {
    this.#of(model).crashes++;
    this.#onNews();
  }

  holds(model: ModelRef, residentBytes: number): void {
    const counted = this.#of(model);
    counted.memoryBytes = Math.max(counted.memoryBytes ?? 0, residentBytes);
  }

  judged(edgeDigest: string, loss: number | null, probability: number): void {
    // One that has not answered in this run, or long ago: nobody asks for it any more.
    const judged = this.#versions.get(edgeDigest)?.judged;
    if (!judged) return;
    judged.requests++;
    if (loss === null) return;
    const weight = Math.min(MAX_JUDGED_WEIGHT, 1 / probability);
    judged.asked++;
    judged.loss += loss * weight;
    judged.squares += (loss * weight) ** 2;
    judged.weights += weight ** 2;
  }

  routed(edgeDigest: string, isEscalated: boolean): void {
    const routed = this.#versions.get(edgeDigest)?.routed;
    if (!routed) return;
    routed.requests++;
    if (isEscalated) routed.escalated++;
  }

  /** Of all versions together, since the agent started. */
  get sum(): { readonly answers: number; readonly failures: number } {
    return { ...this.#sum };
  }

  /** How often the hub should hear of it now. */
  get toldEveryMs(): number {
    return this.#clock.nowMonoMs() < this.#newUntilMonoMs ? SOON_EVERY_MS : USUALLY_EVERY_MS;
  }

  /** The newest versions first. */
  get told(): VersionCounts[] {
    const newest = [...this.#versions.values()].reverse().slice(0, TOLD_VERSIONS);
    return newest.map(({ times, judged, routed, ...counted }) => ({
      ...counted,
      times: [...times.entries()].filter(([, number]) => number > 0),
      judged: { ...judged },
      routed: { ...routed },
    }));
  }

  #of(model: ModelRef): Counted {
    const known = this.#versions.get(model.digest);
    if (known) {
      known.model = model;
      return known;
    }
    const made: Counted = {
      ...{ model, run: newId(), answers: 0, failures: 0, crashes: 0, memoryBytes: null },
      times: new Array<number>(LATENCY_PLACES).fill(0),
      judged: { requests: 0, asked: 0, loss: 0, squares: 0, weights: 0 },
      routed: { requests: 0, escalated: 0 },
    };
    this.#versions.set(model.digest, made);
    const [oldest] = this.#versions.keys();
    if (this.#versions.size > KEPT_VERSIONS && oldest !== undefined) {
      this.#versions.delete(oldest);
      this.#unheard.delete(oldest);
    }
    return made;
  }
}
