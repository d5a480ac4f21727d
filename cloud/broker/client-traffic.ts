/**
 * What one client may send and leave unread, over all its connections: a bound of a connection would start afresh with each. Who sends
 * too much is read more slowly, so that nothing of it is lost and TCP slows it down; who does not read is cut off, and nobody waits
 * for it.
 */
import { DEVICE_PACKETS } from '../../shared/contract/limits.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { type BucketLimits, TokenBucket } from '../../shared/runtime/token-bucket.ts';

/** The largest request goes through at once, and another each second. */
const BYTES: BucketLimits = { perSecond: 64 * 1024 * 1024, burst: 128 * 1024 * 1024 };
/** Packets that a new connection counts for: it takes as long as so many, and there may be a hundred a second. */
const CONNECT_COST = 50;
/** An episode is told once, however many connections it has. */
const EPISODE_MS = 10 * 60_000;

/** Whose it is, and who hears of it. */
export interface ClientTrafficOptions {
  readonly id: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Tokens of one client. */
export class ClientTraffic {
  readonly #o: ClientTrafficOptions;
  readonly #packets: TokenBucket;
  readonly #bytes: TokenBucket;
  /** By event of the log. */
  readonly #toldMonoMs = new Map<string, number>();

  constructor(options: ClientTrafficOptions) {
    const nowMonoMs = options.clock.nowMonoMs();
    this.#o = options;
    this.#packets = new TokenBucket(DEVICE_PACKETS, nowMonoMs);
    this.#bytes = new TokenBucket(BYTES, nowMonoMs);
  }

  /** A connection of it has been let in. */
  connected(): void {
    this.#packets.take(CONNECT_COST);
  }

  /** @returns milliseconds until more of it is read; 0: at once */
  took(packets: number, bytes: number): number {
    const nowMonoMs = this.#o.clock.nowMonoMs();
    this.#packets.refill(nowMonoMs);
    this.#bytes.refill(nowMonoMs);
    this.#packets.take(packets);
    this.#bytes.take(bytes);
    const waitMs = Math.ceil(Math.max(this.#packets.delayMs(1), this.#bytes.delayMs(1)));
    if (waitMs > 0) this.#tell('broker.slowed', { waitMs });
    return waitMs;
  }

  /** It has been cut off with so much that it had not read. */
  leftUnread(unreadBytes: number): void {
    this.#tell('broker.slow_reader', { unreadBytes });
  }

  #tell(event: string, facts: Record<string, unknown>): void {
    const nowMonoMs = this.#o.clock.nowMonoMs();
    const isOld = nowMonoMs - (this.#toldMonoMs.get(event) ?? Number.NEGATIVE_INFINITY) < EPISODE_MS;
    this.#toldMonoMs.set(event, nowMonoMs);
    if (!isOld) this.#o.logger.warn(event, { clientId: this.#o.id, ...facts });
  }
}
