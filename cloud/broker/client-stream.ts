/**
 * Stands between the stream of a connection and aedes, which reads as fast as it can, waits for each reader, and has no maximum packet
 * size. `read` and `write` are the two ways in which aedes uses a stream; another stream in between would cost a copy of each
 * connection's buffers.
 *
 *   read:  each chunk goes past the packet guard; then it is paid for, and nothing is read until there is enough again. Of small
 *          packets a turn takes about a hundred, so that others have theirs soon
 *   write: to a device always at once, as if it read; what it has not read is counted, and too much ends the connection
 *
 * A hub is trusted with both. Where it is slow, aedes waits for it, and so does who sends to it.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { ClientTraffic } from './client-traffic.ts';
import { PacketGuard } from './packet-guard.ts';
import { MAX_QUEUED_BYTES } from './session-store.ts';

/** A whole queue goes out at once when a device is back; this much may come meanwhile. */
export const MAX_UNREAD_BYTES = MAX_QUEUED_BYTES + 16 * 1024 * 1024;
/** Less than this in front of a socket is not worth counting. */
const UNCOUNTED_BYTES = 64 * 1024;
/** Packets that are read in one turn, as long as they are what they were before; each takes 0.05 ms. */
const PACKETS_A_TURN = 100;
const MIN_READ_BYTES = 512;
/** The first read of a device: acknowledgements have four bytes. */
const FIRST_READ_BYTES = 2 * 1024;
/** What a write costs that waits, whatever its size; measured: 96 to 130 bytes on Node 20 and 24. */
const WRITE_BYTES = 128;

/** The stream of one connection. */
export class ClientStream {
  readonly #stream: Duplex;
  readonly #clock: Clock;
  readonly #guard = new PacketGuard();
  #traffic: ClientTraffic | undefined;
  #unreadBytes = 0;
  #isPaused = false;
  #cancelPause = () => {};
  /** Of the next read: what holds about so many packets. */
  #readBytes = Number.POSITIVE_INFINITY;

  constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
    stream.once('close', () => this.#cancelPause());
    this.#watchReads();
  }

  /** Its client is known. @param traffic of a device */
  trust(traffic: ClientTraffic | undefined): void {
    this.#guard.trust();
    if (!traffic) return;
    traffic.connected();
    this.#traffic = traffic;
    this.#readBytes = FIRST_READ_BYTES;
    this.#watchWrites();
  }

  #watchReads(): void {
    const stream = this.#stream;
    const read = stream.read.bind(stream);
    stream.read = (size?: number) => {
      // Node's own way of asking for more to come; what it returned would be lost.
      if (size === 0) return read(0);
      if (this.#isPaused) return null;
      const isPart = stream.readableLength > this.#readBytes;
      const chunk: unknown = read(isPart ? this.#readBytes : size);
      // The stream announces what is new, and not what it has still.
      if (isPart) setImmediate(() => this.#announce());
      if (!(chunk instanceof Uint8Array)) return chunk;
      if (!this.#guard.accepts(chunk)) {
        stream.destroy(new AppError('INPUT_TOO_LARGE', 'a packet is over the size limit'));
        return null;
      }
      this.#pay(chunk.length);
      return chunk;
    };
  }

  #pay(bytes: number): void {
    if (!this.#traffic) return;
    const packets = this.#guard.takeCost();
    this.#readBytes = Math.max(MIN_READ_BYTES, Math.floor((bytes * PACKETS_A_TURN) / Math.max(1, packets)));
    const waitMs = this.#traffic.took(packets, bytes);
    if (waitMs === 0) return;
    this.#isPaused = true;
    this.#cancelPause = this.#clock.after(waitMs, () => {
      this.#isPaused = false;
      this.#announce();
    });
  }

  #announce(): void {
    if (!this.#stream.destroyed) this.#stream.emit('readable');
  }

  #watchWrites(): void {
    const stream = this.#stream;
    const write: (chunk: Buffer, encoding: BufferEncoding, done?: () => void) => boolean =
      stream.write.bind(stream);
    const writeAtOnce = (chunk: Buffer, encoding: BufferEncoding = 'utf8'): boolean => {
      if (stream.writableLength < UNCOUNTED_BYTES) write(chunk, encoding);
      else this.#writeCounted(write, chunk, encoding);
      return true;
    };
    stream.write = writeAtOnce as Duplex['write'];
  }

  #writeCounted(
    write: (chunk: Buffer, encoding: BufferEncoding, done: () => void) => boolean,
    chunk: Buffer,
    encoding: BufferEncoding,
  ): void {
    const cost = chunk.length + WRITE_BYTES;
    this.#unreadBytes += cost;
    write(chunk, encoding, () => {
      this.#unreadBytes -= cost;
    });
    if (this.#unreadBytes <= MAX_UNREAD_BYTES || this.#stream.destroyed) return;
    this.#traffic?.leftUnread(this.#unreadBytes);
    this.#stream.destroy(new AppError('QUEUE_FULL', 'the client does not read what it is sent'));
  }
}
