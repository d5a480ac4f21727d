/**
 * One large request on its way to the hub, in chunks (docs/design/link.md 2): the first goes to whichever hub takes it, the
 * rest to the hub process that answered, in a window that follows the link's delay, so that small requests are not held up
 * behind it.
 *
 * state     | event                              -> state
 * offered   | ack                                -> sending, to that hub
 * sending   | ack of some                        -> sending, more of them
 * sending   | ack of all                         -> delivered (the body is let go)
 * any       | ack of none: unknown or broken     -> over, to be offered again
 * any       | link back, or silence              -> asks where to go on
 */
import { createHash } from 'node:crypto';
import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import { CHUNK_WINDOW } from '../../shared/contract/limits.ts';
import type { ChunkAck, ChunkHeader, RequestHeader } from '../../shared/contract/messages.ts';
import type { Clock } from '../../shared/runtime/clock.ts';

/** Body to send in chunks, and the ways to any hub and to the one that took it. */
export interface TransferOptions {
  readonly id: string;
  readonly body: Uint8Array;
  readonly chunkBytes: number;
  /** Chunks under way to begin with: what the link carried well the last time. */
  readonly window: number;
  readonly clock: Clock;
  /** To whichever hub takes it. */
  readonly offer: (frame: Buffer) => Promise<void>;
  /** To the one that took it. */
  readonly send: (hubId: string, frame: Buffer) => Promise<void>;
  /** Something could not be sent; the link tells when it is back. */
  readonly onFailure: (error: unknown) => void;
}

/** An acknowledgement that takes this much longer than the fastest means that chunks queue up somewhere. */
const QUEUEING_MS = 30;

/** Chunked sending of one large request, to the hub process that took its first chunk. */
export class Transfer {
  readonly #o: TransferOptions;
  readonly #count: number;
  #body: Uint8Array | undefined;
  /** The first chunk that has not been acknowledged. */
  #next = 0;
  /** The first that has not been sent. */
  #unsent = 1;
  #window: number;
  #fastestMs = Number.POSITIVE_INFINITY;
  readonly #sentMonoMs = new Map<number, number>();
  #hubId: string | undefined;

  constructor(options: TransferOptions) {
    this.#o = options;
    this.#body = options.body;
    this.#window = options.window;
    this.#count = Math.ceil(options.body.length / options.chunkBytes);
  }

  /** The hub process that took the first chunk. */
  get hubId(): string | undefined {
    return this.#hubId;
  }

  /** Chunks that may be under way now. */
  get window(): number {
    return this.#window;
  }

  /** The hub has all of it. */
  get isDelivered(): boolean {
    return this.#next === this.#count;
  }

  /** Sends the first chunk. @throws BROKER_UNREACHABLE … */
  async offer(header: RequestHeader): Promise<void> {
    const body = this.#body;
    if (!body) return;
    const sha256 = createHash('sha256').update(body).digest('hex');
    const chunk = { count: this.#count, bytes: body.length, sha256 };
    await this.#o.offer(encodeEnvelope({ ...header, chunk }, this.#chunk(body, 0)));
  }

  /** @returns 'over' when the hub does not know it, or got it broken: it must be offered again */
  onAck({ hubId, next }: ChunkAck): 'on' | 'over' {
    if (this.#hubId !== undefined && hubId !== this.#hubId) return 'on';
    // Before the first one is acknowledged it can only be about chunks of an earlier try.
    if (next === 0) return this.#hubId === undefined ? 'on' : 'over';
    this.#hubId = hubId;
    this.#adaptWindow(next - 1);
    this.#next = Math.max(this.#next, Math.min(next, this.#count));
    this.#unsent = Math.max(this.#unsent, this.#next);
    if (this.isDelivered) this.#body = undefined;
    this.#pump();
    return 'on';
  }

  /** Asks the hub where to go on, after a reconnect or when it has fallen silent. */
  resume(): void {
    if (this.#hubId === undefined) return;
    // What was under way may be lost: it is sent again from where the hub says.
    this.#unsent = Math.max(1, this.#next);
    this.#sentMonoMs.clear();
    this.#send({ id: this.#o.id, resume: true }, new Uint8Array(0));
  }

  #pump(): void {
    const body = this.#body;
    if (!body) return;
    const end = Math.min(this.#next + this.#window, this.#count);
    for (; this.#unsent < end; this.#unsent++) {
      this.#sentMonoMs.set(this.#unsent, this.#o.clock.nowMonoMs());
      this.#send({ id: this.#o.id, index: this.#unsent }, this.#chunk(body, this.#unsent));
    }
  }

  #send(header: ChunkHeader, chunk: Uint8Array): void {
    if (this.#hubId === undefined) return;
    this.#o.send(this.#hubId, encodeEnvelope(header, chunk)).catch(this.#o.onFailure);
  }

  /** As in delay-based congestion control (RFC 6817): a queue that builds up anywhere shows in the delay. */
  #adaptWindow(index: number): void {
    const sentMonoMs = this.#sentMonoMs.get(index);
    if (sentMonoMs === undefined) return;
    for (const sent of this.#sentMonoMs.keys()) if (sent <= index) this.#sentMonoMs.delete(sent);
    const tookMs = this.#o.clock.nowMonoMs() - sentMonoMs;
    this.#fastestMs = Math.min(this.#fastestMs, tookMs);
    const isQueueing = tookMs > 2 * this.#fastestMs + QUEUEING_MS;
    this.#window = isQueueing
      ? Math.max(1, Math.floor(this.#window / 2))
      : Math.min(CHUNK_WINDOW, this.#window + 1);
  }

  #chunk(body: Uint8Array, index: number): Uint8Array {
    const { chunkBytes } = this.#o;
    return body.subarray(index * chunkBytes, (index + 1) * chunkBytes);
  }
}
