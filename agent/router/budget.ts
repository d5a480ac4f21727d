/**
 * How much may be asked: token buckets, and a price that paces them (docs/design/router.md 2.9; dual mirror descent,
 * arXiv:2011.10124).
 *
 * A bucket holds a tenth of its period's budget and is refilled with the other nine tenths, evenly: no period of that length, wherever
 * it begins, sees more than the budget. A tenth of the bucket is kept for audits: without them nobody would know what the budget costs.
 */
import { TokenBucket } from '../../shared/runtime/token-bucket.ts';

/** Caps on what a pipeline may ask of the cloud; one that is left out does not bind. */
export interface BudgetLimits {
  readonly requestsPerHour?: number | undefined;
  /** Of inputs, as they are sent. */
  readonly bytesPerDay?: number | undefined;
}

/** `plenty`: anything; `audits`: only audits; `none`: nothing. */
export type Room = 'plenty' | 'audits' | 'none';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const BURST_SHARE = 0.1;
const AUDIT_SHARE = 0.1;
/** How fast the price follows: a few hundred requests (docs/design/router.md 4.5). */
const PRICE_STEP = 0.005;
/** Requests over which a usual one is averaged. */
const USUAL_OVER = 100;

/** Tokens of one kind, and what they are worth. */
class PacedBucket {
  readonly #capacity: number;
  readonly #bucket: TokenBucket;
  /** Expected loss below which a usual request is not worth its tokens. */
  #price = 0;
  #usual = 0;
  /** Tokens that have come since the price was last moved. */
  #come = 0;

  constructor(budget: number, periodMs: number, smallest: number, nowMonoMs: number) {
    this.#capacity = Math.max(smallest, BURST_SHARE * budget);
    const perSecond = (Math.max(0, budget - this.#capacity) / periodMs) * 1_000;
    this.#bucket = new TokenBucket({ burst: this.#capacity, perSecond }, nowMonoMs);
  }

  refill(nowMonoMs: number): void {
    this.#come += this.#bucket.refill(nowMonoMs);
  }

  room(cost: number): Room {
    // One that is larger than the bucket may go when it is full, and is paid off before the next.
    const needed = Math.min(cost, (1 - AUDIT_SHARE) * this.#capacity);
    const { level } = this.#bucket;
    if (level < needed) return 'none';
    return level - needed < AUDIT_SHARE * this.#capacity ? 'audits' : 'plenty';
  }

  /** Less goes than comes: everything is worth its tokens. */
  get isFree(): boolean {
    return this.#price === 0;
  }

  isWorth(expectedLoss: number, cost: number): boolean {
    return this.isFree || expectedLoss > (this.#price * cost) / this.#usual;
  }

  take(cost: number): void {
    this.#bucket.take(cost);
  }

  /** Moves the price: up where more is wanted than comes. */
  pace(cost: number, isWanted: boolean): void {
    this.#usual += (cost - this.#usual) / (this.#usual === 0 ? 1 : USUAL_OVER);
    if (this.#usual === 0) return;
    const over = ((isWanted ? cost : 0) - this.#come) / this.#usual;
    this.#come = 0;
    // A quiet night is no reason to give everything away: the bucket holds no more than it does.
    this.#price = Math.min(1, Math.max(0, this.#price + PRICE_STEP * Math.max(-1, over)));
  }
}

/** Budget of one pipeline: whether there is room for a request, and whether it is worth its price. */
export class Budget {
  readonly #nowMonoMs: () => number;
  readonly #requests: PacedBucket | undefined;
  readonly #bytes: PacedBucket | undefined;

  constructor({ requestsPerHour, bytesPerDay }: BudgetLimits, nowMonoMs: () => number) {
    this.#nowMonoMs = nowMonoMs;
    const now = nowMonoMs();
    this.#requests =
      requestsPerHour === undefined ? undefined : new PacedBucket(requestsPerHour, HOUR_MS, 1, now);
    this.#bytes = bytesPerDay === undefined ? undefined : new PacedBucket(bytesPerDay, DAY_MS, 1, now);
  }

  room(bytes: number): Room {
    const rooms = [this.#requests?.room(1), this.#bytes?.room(bytes)];
    if (rooms.includes('none')) return 'none';
    return rooms.includes('audits') ? 'audits' : 'plenty';
  }

  /** @param expectedLoss 0..1 of the local answer; null where nothing is known of it: then it is worth asking */
  isWorth(expectedLoss: () => number | null, bytes: number): boolean {
    if ((this.#requests?.isFree ?? true) && (this.#bytes?.isFree ?? true)) return true;
    const loss = expectedLoss();
    if (loss === null) return true;
    return (this.#requests?.isWorth(loss, 1) ?? true) && (this.#bytes?.isWorth(loss, bytes) ?? true);
  }

  /** Counts a request that could be asked. @param isWanted it is worth it, whether there is room or not */
  count(
    bytes: number,
    { isWanted, isAsked }: { readonly isWanted: boolean; readonly isAsked: boolean },
  ): void {
    for (const [bucket, cost] of [
      [this.#requests, 1],
      [this.#bytes, bytes],
    ] as const) {
      if (isAsked) bucket?.take(cost);
      bucket?.pace(cost, isWanted);
    }
  }

  /** What was taken for it was too much. */
  giveBack(bytes: number): void {
    this.#bytes?.take(-bytes);
  }

  /** Before a request is looked at. */
  refill(): void {
    const now = this.#nowMonoMs();
    this.#requests?.refill(now);
    this.#bytes?.refill(now);
  }
}
