/**
 * Follows the packets of a connection by their fixed headers, [MQTT-2.2], and stops at the first that announces too much, before a byte
 * of it is kept: aedes has no maximum packet size and takes a CONNECT of 200 MB from anybody (measured: docs/design/link.md 2).
 */

/** Eight of our largest messages; holds for everything, hub included. */
export const MAX_PACKET_BYTES = 1024 * 1024;
/** A CONNECT of ours, with id, secret and last will, is below 1 KiB. */
export const MAX_UNAUTHENTICATED_BYTES = 8 * 1024;
/** Of anything but a PUBLISH: a SUBSCRIBE of ours has seven filters. */
export const MAX_CONTROL_BYTES = 8 * 1024;

/** [MQTT-2.2.1] */
const PUBLISH = 3;
const SUBSCRIBE = 8;
const UNSUBSCRIBE = 10;
/** What a filter costs at least, in bytes of its packet: two of them are as much work as a message. */
const FILTER_BYTES = 8;

/** [MQTT-2.2.3]: the remaining length takes at most four bytes. */
const MAX_LENGTH_BYTES = 4;

/** The guard of one connection. */
export class PacketGuard {
  #maxPublishBytes = MAX_UNAUTHENTICATED_BYTES;
  /** Bytes of the current packet's body that are still to come. */
  #bodyLeftBytes = 0;
  /** Of the packet whose length is being read. */
  #type: number | undefined;
  #cost = 0;
  #remainingLength = 0;
  #lengthBytes = 0;

  /** Lifts the limit from an unknown client's to a known one's. */
  trust(): void {
    this.#maxPublishBytes = MAX_PACKET_BYTES;
  }

  /** Follows the stream. @returns false when the connection must end */
  accepts(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#bodyLeftBytes > 0) {
        const taken = Math.min(this.#bodyLeftBytes, chunk.length - at);
        this.#bodyLeftBytes -= taken;
        at += taken;
      } else if (this.#type === undefined) {
        this.#type = (chunk[at++] ?? 0) >> 4;
      } else if (!this.#takeLengthByte(chunk[at++] ?? 0)) {
        return false;
      }
    }
    return true;
  }

  /** @returns what has come since the last time costs, in messages */
  takeCost(): number {
    const cost = this.#cost;
    this.#cost = 0;
    return cost;
  }

  #takeLengthByte(byte: number): boolean {
    if (++this.#lengthBytes > MAX_LENGTH_BYTES) return false;
    this.#remainingLength += (byte & 0x7f) * 128 ** (this.#lengthBytes - 1);
    if (this.#remainingLength > (this.#type === PUBLISH ? this.#maxPublishBytes : MAX_CONTROL_BYTES))
      return false;
    if (byte >= 0x80) return true;
    const isOfFilters = this.#type === SUBSCRIBE || this.#type === UNSUBSCRIBE;
    this.#cost += isOfFilters ? 1 + this.#remainingLength / FILTER_BYTES : 1;
    this.#bodyLeftBytes = this.#remainingLength;
    this.#type = undefined;
    this.#remainingLength = 0;
    this.#lengthBytes = 0;
    return true;
  }
}
