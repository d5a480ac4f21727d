/**
 * One direction of one connection through the chaos proxy: what is read from one socket is written to the other, late, slowly,
 * damaged or never. Bytes stay in order, as TCP keeps them; at most `MAX_QUEUED_BYTES` wait here, then the source is paused.
 *
 * state    | event                     -> state
 * carrying | a byte vanishes           -> dead: a stream with a hole in it is no stream, so nothing follows, not even the end
 * carrying | the source has ended      -> ending: what waits goes out first
 * any      | destroy()                 -> gone
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { Random } from '../../../shared/runtime/random.ts';

/** What one direction suffers. */
export interface Faults {
  readonly delayMs: number;
  /** Up to this much more, drawn for each segment. */
  readonly jitterMs: number;
  readonly bytesPerSecond: number;
  /** Share of segments, 0..1, that arrive only after a retransmission, and what follows them too. */
  readonly lossShare: number;
  readonly retransmitMs: number;
  /** One byte in so many is another one. */
  readonly corruptEveryBytes: number;
  /** Nothing arrives, and nobody is told. */
  readonly vanish: boolean;
}

export const NO_FAULTS: Faults = {
  delayMs: 0,
  jitterMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  lossShare: 0,
  retransmitMs: 200,
  corruptEveryBytes: Number.POSITIVE_INFINITY,
  vanish: false,
};

/** As much as a usual TCP segment carries. */
const SEGMENT_BYTES = 1_460;
const MAX_QUEUED_BYTES = 256 * 1024;
/** What the token bucket holds when it is full. */
const BURST_BYTES = 4 * SEGMENT_BYTES;

interface Segment {
  readonly bytes: Buffer;
  dueMonoMs: number;
}

export class Channel {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #random: Random;
  readonly #onBytes: (count: number) => void;
  readonly #clock: Clock;
  readonly #queue: Segment[] = [];
  #faults: Faults;
  #queuedBytes = 0;
  /** Until when the bytes so far keep the line busy; behind the clock by at most the burst. */
  #lineFreeMonoMs = 0;
  #untilCorrupt = Number.POSITIVE_INFINITY;
  #cancelFlush = (): void => undefined;
  #hasEnded = false;
  #isBlocked = false;
  #isDead = false;

  constructor(options: {
    readonly from: Socket;
    readonly to: Socket;
    readonly faults: Faults;
    readonly random: Random;
    readonly onBytes: (count: number) => void;
    readonly clock: Clock;
  }) {
    this.#from = options.from;
    this.#to = options.to;
    this.#random = options.random;
    this.#onBytes = options.onBytes;
    this.#clock = options.clock;
    this.#faults = options.faults;
    this.#untilCorrupt = options.faults.corruptEveryBytes;
    this.#from.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#from.once('end', () => {
      this.#hasEnded = true;
      this.#flush();
    });
    this.#to.on('drain', () => {
      this.#isBlocked = false;
      this.#flush();
    });
  }

  /** Bytes have vanished: this direction never carries anything again. */
  get isDead(): boolean {
    return this.#isDead || this.#faults.vanish;
  }

  /** What waits here. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whatever waits here goes on by the new rules. */
  set(faults: Faults): void {
    this.#faults = faults;
    this.#untilCorrupt = faults.corruptEveryBytes;
    this.#lineFreeMonoMs = 0;
    const waiting = this.#queue.splice(0);
    for (const { bytes } of waiting) this.#schedule(bytes);
    this.#flush();
  }

  destroy(): void {
    this.#cancelFlush();
    this.#queue.length = 0;
  }

  #take(chunk: Buffer): void {
    this.#isDead ||= this.#faults.vanish;
    if (this.#isDead) return;
    for (let start = 0; start < chunk.length; start += SEGMENT_BYTES) {
      const bytes = chunk.subarray(start, start + SEGMENT_BYTES);
      this.#damage(bytes);
      this.#queuedBytes += bytes.length;
      this.#schedule(bytes);
    }
    if (this.#queuedBytes >= MAX_QUEUED_BYTES) this.#from.pause();
    this.#flush();
  }

  /** In place: the chunk is ours. */
  #damage(bytes: Buffer): void {
    let at = this.#untilCorrupt;
    for (; at < bytes.length; at += this.#faults.corruptEveryBytes)
      bytes[at] = (bytes[at] ?? 0) ^ (1 + Math.floor(this.#random.between(0, 255)));
    this.#untilCorrupt = at - bytes.length;
  }

  #schedule(bytes: Buffer): void {
    const { delayMs, jitterMs, bytesPerSecond, lossShare, retransmitMs } = this.#faults;
    const nowMonoMs = this.#clock.nowMonoMs();
    const burstMs = (1_000 * BURST_BYTES) / bytesPerSecond;
    this.#lineFreeMonoMs =
      Math.max(this.#lineFreeMonoMs, nowMonoMs - burstMs) + (1_000 * bytes.length) / bytesPerSecond;
    const lateMs =
      delayMs + this.#random.between(0, jitterMs) + (this.#random.chance(lossShare) ? retransmitMs : 0);
    const dueMonoMs = Math.max(this.#lineFreeMonoMs, nowMonoMs) + lateMs;
    // In order: a late segment holds up those behind it.
    this.#queue.push({ bytes, dueMonoMs: Math.max(dueMonoMs, this.#queue.at(-1)?.dueMonoMs ?? 0) });
  }

  #flush(): void {
    this.#cancelFlush();
    const nowMonoMs = this.#clock.nowMonoMs();
    const ready: Buffer[] = [];
    // Those of one millisecond go together: a timer has no finer grain.
    while (!this.#isBlocked && this.#queue[0] && this.#queue[0].dueMonoMs <= nowMonoMs + 1)
      ready.push((this.#queue.shift() as Segment).bytes);
    if (ready.length > 0) this.#write(Buffer.concat(ready));
    const next = this.#queue[0];
    if (next && !this.#isBlocked)
      this.#cancelFlush = this.#clock.after(Math.max(0, next.dueMonoMs - nowMonoMs), () => this.#flush());
    if (!next && this.#hasEnded && !this.isDead) this.#to.end();
  }

  #write(bytes: Buffer): void {
    this.#queuedBytes -= bytes.length;
    if (this.#queuedBytes < MAX_QUEUED_BYTES) this.#from.resume();
    // Vanished on its way.
    this.#isDead ||= this.#faults.vanish;
    if (this.#isDead || this.#to.destroyed) return;
    this.#onBytes(bytes.length);
    this.#isBlocked = !this.#to.write(bytes);
  }
}
