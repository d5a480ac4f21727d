/**
 * Stands between a socket and aedes, which has no maximum packet size and takes a CONNECT of 200 MB from anybody
 * (measured: docs/design/link.md 2). Reads only the fixed headers, [MQTT-2.2], and ends the connection at the first
 * packet that announces too much, before a byte of it is kept.
 */
import type { Duplex } from 'node:stream';
import { AppError } from '../../shared/runtime/errors.ts';

/** Eight of our largest messages; holds for everything, hub included. */
export const MAX_PACKET_BYTES = 1024 * 1024;
/** A CONNECT of ours, with id, secret and last will, is below 1 KiB. */
export const MAX_UNAUTHENTICATED_BYTES = 8 * 1024;

/** [MQTT-2.2.3]: the remaining length takes at most four bytes. */
const MAX_LENGTH_BYTES = 4;

/** The guard of one connection. */
export class PacketGuard {
  #maxBytes = MAX_UNAUTHENTICATED_BYTES;
  /** Bytes of the current packet's body that are still to come. */
  #bodyLeftBytes = 0;
  #isTypeRead = false;
  #remainingLength = 0;
  #lengthBytes = 0;

  /** Lifts the limit from an unknown client's to a known one's. */
  trust(): void {
    this.#maxBytes = MAX_PACKET_BYTES;
  }

  /** Follows the stream. @returns false when the connection must end */
  accepts(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#bodyLeftBytes > 0) {
        const taken = Math.min(this.#bodyLeftBytes, chunk.length - at);
        this.#bodyLeftBytes -= taken;
        at += taken;
      } else if (!this.#isTypeRead) {
        this.#isTypeRead = true;
        at += 1;
      } else if (!this.#takeLengthByte(chunk[at++] ?? 0)) {
        return false;
      }
    }
    return true;
  }

  #takeLengthByte(byte: number): boolean {
    if (++this.#lengthBytes > MAX_LENGTH_BYTES) return false;
    this.#remainingLength += (byte & 0x7f) * 128 ** (this.#lengthBytes - 1);
    if (this.#remainingLength > this.#maxBytes) return false;
    if (byte >= 0x80) return true;
    this.#bodyLeftBytes = this.#remainingLength;
    this.#isTypeRead = false;
    this.#remainingLength = 0;
    this.#lengthBytes = 0;
    return true;
  }
}

/**
 * Lets the guard see each chunk that is read from the connection. `read` is the one way in which aedes takes bytes;
 * a stream in between would cost a copy of each connection's buffers.
 */
export function guardReads(stream: Duplex, guard: PacketGuard): void {
  const read = stream.read.bind(stream);
  stream.read = (size?: number) => {
    const chunk: unknown = read(size);
    if (!(chunk instanceof Uint8Array) || guard.accepts(chunk)) return chunk;
    stream.destroy(new AppError('INPUT_TOO_LARGE', 'a packet is over the size limit'));
    return null;
  };
}
