/**
 * A waiting line in which priorities share by weight, callers of one priority take turns, and one caller's requests go by their deadlines.
 *
 * Start-time fair queueing (Goyal, Vin, Cheng 1996), on two levels and with requests of equal cost: whoever is served moves on by the
 * inverse of its weight, the one that is least far is next, and who comes new begins where the others are, so that nobody saves up turns
 * while it does not ask. Of equals the earlier deadline is first. So nobody starves: a background request waits for 20 others at most.
 */
import type { Priority } from '../ports.ts';
import { DeadlineLine } from './deadline-line.ts';

interface Queued {
  readonly priority: Priority;
  readonly caller: string;
  readonly deadlineMonoMs: number;
}

/** Shares of the runs while requests of all three wait. */
const WEIGHTS: Readonly<Record<Priority, number>> = { interactive: 16, device: 4, background: 1 };

/** Requests of one caller. */
interface Flow<T extends Queued> {
  readonly line: DeadlineLine<T>;
  /** How far it has been served. */
  at: number;
}

/** Requests of one priority. */
interface Level<T extends Queued> {
  readonly weight: number;
  /** By caller; an emptied one stays until the others have come as far, so that it cannot come back ahead of its turn. */
  readonly flows: Map<string, Flow<T>>;
  at: number;
  /** How far the flow that was served last had been served. */
  nowAt: number;
  length: number;
}

/** A line for many callers. */
export class FairLine<T extends Queued> {
  readonly #levels: Readonly<Record<Priority, Level<T>>> = {
    interactive: levelOf(WEIGHTS.interactive),
    device: levelOf(WEIGHTS.device),
    background: levelOf(WEIGHTS.background),
  };
  #nowAt = 0;

  get length(): number {
    return this.#all().reduce((sum, { length }) => sum + length, 0);
  }

  /** In no order. */
  *[Symbol.iterator](): Iterator<T> {
    for (const { flows } of this.#all()) for (const { line } of flows.values()) yield* line;
  }

  put(item: T): void {
    const level = this.#levels[item.priority];
    if (level.length === 0) level.at = Math.max(level.at, this.#nowAt);
    let flow = level.flows.get(item.caller);
    if (flow === undefined) {
      flow = { line: new DeadlineLine(), at: level.nowAt };
      level.flows.set(item.caller, flow);
    }
    if (flow.line.length === 0) flow.at = Math.max(flow.at, level.nowAt);
    flow.line.put(item);
    level.length += 1;
  }

  /** Takes those whose turn it is, of those that fit, at most `max`. */
  take(max: number, fits?: (item: T) => boolean): T[] {
    const taken: T[] = [];
    while (taken.length < max) {
      const next = this.#next(fits);
      if (next === undefined) break;
      this.#serve(next);
      taken.push(next.item);
    }
    return taken;
  }

  /** Takes the one whose turn it is, of callers that fit. */
  takeOf(fitsCaller: (caller: string) => boolean): T[] {
    const next = this.#next(undefined, fitsCaller);
    if (next === undefined) return [];
    this.#serve(next);
    return [next.item];
  }

  /** Whose turn it is; it stays. */
  first(fits?: (item: T) => boolean): T | undefined {
    return this.#next(fits)?.item;
  }

  /** Takes an item out of turn. @returns whether it was there */
  remove(item: T): boolean {
    const level = this.#levels[item.priority];
    const flow = level.flows.get(item.caller);
    if (flow?.line.remove(item) !== true) return false;
    level.length -= 1;
    this.#tidy(level);
    return true;
  }

  #all(): Level<T>[] {
    return Object.values(this.#levels);
  }

  #next(
    fits?: (item: T) => boolean,
    fitsCaller?: (caller: string) => boolean,
  ): { level: Level<T>; flow: Flow<T>; item: T } | undefined {
    const levels = this.#all()
      .filter(({ length }) => length > 0)
      .sort((a, b) => a.at - b.at || b.weight - a.weight);
    for (const level of levels) {
      const found = firstOf(level, fits, fitsCaller);
      if (found !== undefined) return { level, ...found };
    }
    return undefined;
  }

  #serve({ level, flow, item }: { level: Level<T>; flow: Flow<T>; item: T }): void {
    flow.line.remove(item);
    level.length -= 1;
    level.nowAt = Math.max(level.nowAt, flow.at);
    flow.at += 1;
    this.#nowAt = Math.max(this.#nowAt, level.at);
    level.at += 1 / level.weight;
    this.#tidy(level);
  }

  /** Forgets callers of whom nothing waits, once it makes no difference to their turn. */
  #tidy(level: Level<T>): void {
    for (const [caller, { line, at }] of level.flows)
      if (line.length === 0 && (level.length === 0 || at <= level.nowAt)) level.flows.delete(caller);
  }
}

const levelOf = <T extends Queued>(weight: number): Level<T> => ({
  ...{ weight, at: 0, nowAt: 0, length: 0 },
  flows: new Map(),
});

function firstOf<T extends Queued>(
  { flows }: Level<T>,
  fits?: (item: T) => boolean,
  fitsCaller: (caller: string) => boolean = () => true,
): { flow: Flow<T>; item: T } | undefined {
  let best: { flow: Flow<T>; item: T } | undefined;
  for (const [caller, flow] of flows) {
    if (flow.line.length === 0 || !fitsCaller(caller) || (best !== undefined && flow.at > best.flow.at))
      continue;
    const item = flow.line.first(fits);
    if (item === undefined) continue;
    const isFirst =
      best === undefined || flow.at < best.flow.at || item.deadlineMonoMs < best.item.deadlineMonoMs;
    if (isFirst) best = { flow, item };
  }
  return best;
}
