/**
 * Replies come in any order; the ledger takes them in the order of the requests. One that is long in coming holds up those behind
 * it, up to a bound; then it counts as a disagreement, because what is lost may not look like agreement
 * (docs/design/router.md 2.8).
 */
import type { Ticket } from './learner.ts';

/** Requests behind one that waits, and how long it may, while there is a link. */
export const MAX_HELD = 4_096;
/** Longest wait for a reply, in time online, before it is taken as a disagreement. */
export const MAX_WAIT_MS = 10 * 60_000;

/** One decision on its way to the ledger. */
export interface Pending {
  readonly id: string;
  readonly group: string;
  readonly ticket: Ticket;
  /** When it was decided, in time online. */
  readonly atOnlineMs: number;
  /** 0..1; null: there is no answer; undefined while it is not known. */
  loss?: number | null;
}

/** Reordering queue: replies in any order in, settled decisions in the order of the requests out. */
export class Settlement {
  readonly #settle: (entry: Pending, isAssumed: boolean) => void;
  /** In the order of the requests; those before `#head` are settled. */
  #queue: Pending[] = [];
  #head = 0;
  readonly #asked = new Map<string, Pending>();

  constructor(settle: (entry: Pending, isAssumed: boolean) => void) {
    this.#settle = settle;
  }

  /** In the order of the requests. */
  get waiting(): readonly Pending[] {
    return this.#queue.slice(this.#head);
  }

  add(entry: Pending): void {
    this.#queue.push(entry);
    if (entry.ticket.isAsked && entry.loss === undefined) this.#asked.set(entry.id, entry);
    this.drain(entry.atOnlineMs);
  }

  /**
   * @param loss null: no answer will come
   * @returns the entry; undefined where it is not waited for (any more)
   */
  answered(id: string, loss: number | null, nowOnlineMs: number): Pending | undefined {
    const entry = this.#asked.get(id);
    if (!entry) return undefined;
    this.#asked.delete(id);
    entry.loss = loss;
    this.drain(nowOnlineMs);
    return entry;
  }

  /** Settles what can be, from the oldest. */
  drain(nowOnlineMs: number): void {
    for (let entry = this.#queue[this.#head]; entry !== undefined; entry = this.#queue[this.#head]) {
      const isKnown = !entry.ticket.isAsked || entry.loss !== undefined;
      const isTooLong =
        this.#queue.length - this.#head > MAX_HELD || nowOnlineMs - entry.atOnlineMs > MAX_WAIT_MS;
      if (!isKnown && !isTooLong) break;
      this.#head++;
      this.#asked.delete(entry.id);
      this.#settle(entry, !isKnown);
    }
    // Cut off now and then: shifting one by one costs as much as the queue is long.
    if (this.#head < MAX_HELD) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }
}
