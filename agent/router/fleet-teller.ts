/**
 * Which of what the routers have seen the hub is told with the next counters: what has grown by a tenth, begun anew, or not been told for an
 * hour. A message that is lost is made good by the next one: each says all.
 */
import type { PairEvidence } from '../../shared/contract/fleet-evidence.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { LearningRouter } from './router.ts';

/** Fewer say nothing to anybody. */
const TOLD_FROM = 100;
const GROWN_TENTHS = 11;
const TOLD_AGAIN_AFTER_MS = 60 * 60_000;
/** With one message: each takes some 2 KB. */
const MAX_AT_ONCE = 3;
/** Pairs that are remembered to have been told: more than a device has in a day. */
const MAX_TOLD = 200;

/** Tells the hub what the routers of this device have seen of their pairs of models. */
export class FleetTeller {
  readonly #routers: ReadonlyMap<string, Pick<LearningRouter, 'fleetEvidence'>>;
  readonly #clock: Clock;
  /** By pair. */
  readonly #told = new Map<string, { readonly requests: number; readonly monoMs: number }>();

  /** @param routers by pipeline; asked whenever something is to be told */
  constructor(routers: ReadonlyMap<string, Pick<LearningRouter, 'fleetEvidence'>>, clock: Clock) {
    this.#routers = routers;
    this.#clock = clock;
  }

  /** What is to be told now; it counts as told. */
  next(): PairEvidence[] {
    const now = this.#clock.nowMonoMs();
    const due = [...this.#all()]
      .filter(([key, one]) => this.#isDue(key, one, now))
      .sort(([one], [other]) => this.#toldAt(one) - this.#toldAt(other))
      .slice(0, MAX_AT_ONCE);
    for (const [key, { requests }] of due) {
      this.#told.delete(key);
      this.#told.set(key, { requests, monoMs: now });
    }
    for (const [oldest] of [...this.#told].slice(0, Math.max(0, this.#told.size - MAX_TOLD)))
      this.#told.delete(oldest);
    return due.map(([, one]) => one);
  }

  #toldAt(key: string): number {
    return this.#told.get(key)?.monoMs ?? Number.NEGATIVE_INFINITY;
  }

  #isDue(key: string, { requests }: PairEvidence, now: number): boolean {
    const told = this.#told.get(key);
    if (!told) return requests >= TOLD_FROM;
    return (
      requests < told.requests ||
      (requests >= TOLD_FROM && 10 * requests >= GROWN_TENTHS * told.requests) ||
      now - told.monoMs >= TOLD_AGAIN_AFTER_MS
    );
  }

  /** By pair; pipelines that run the same models are one. */
  #all(): ReadonlyMap<string, PairEvidence> {
    const found = new Map<string, PairEvidence>();
    for (const { fleetEvidence: one } of this.#routers.values()) {
      if (!one) continue;
      const key = `${one.edgeDigest} ${one.cloudDigest} ${one.comparedBy}`;
      const known = found.get(key);
      found.set(key, known ? together(known, one) : one);
    }
    return found;
  }
}

/** How the scores spread is said of the one that has seen more. */
function together(one: PairEvidence, other: PairEvidence): PairEvidence {
  const places = new Map(one.places);
  for (const [place, loss] of other.places) places.set(place, (places.get(place) ?? 0) + loss);
  return {
    ...(one.requests >= other.requests ? one : other),
    requests: one.requests + other.requests,
    asked: one.asked + other.asked,
    weights: one.weights + other.weights,
    loss: one.loss + other.loss,
    places: [...places].sort(([a], [b]) => a - b),
  };
}
