/**
 * Large requests that are on their way in, chunk by chunk (docs/design/link.md 2). Chunks are taken in order only, so that one
 * number says what has come; bounded in number and bytes, for each device and in all, and given up when they fall silent.
 *
 * transfer | event                          -> state (acknowledged)
 * (none)   | first chunk                    -> coming (1)
 * (none)   | another chunk, or resume       -> (none) (0: start again)
 * coming   | the next chunk                 -> coming (one more)
 * coming   | any other chunk, or resume     -> coming (the same)
 * coming   | the last chunk, digest right   -> (none): handed on (all)
 * coming   | the last chunk, digest wrong   -> (none) (0)
 * coming   | silence, first chunk again     -> (none)
 */
import { createHash, type Hash } from 'node:crypto';
import type { ChunkHeader, ReplyError, RequestHeader } from '../../shared/contract/messages.ts';
import type { Clock } from '../../shared/runtime/clock.ts';

/** How many transfers, bytes and milliseconds there may be. */
export interface TransferLimits {
  /** At a time. */
  readonly maxPerDevice: number;
  readonly maxBytesPerDevice: number;
  /** Of all devices together. */
  readonly maxBytes: number;
  /** Without a word about it after this it is given up. */
  readonly idleMs: number;
}

const DEFAULT_TRANSFER_LIMITS: TransferLimits = {
  maxPerDevice: 4,
  maxBytesPerDevice: 128 * 1024 * 1024,
  maxBytes: 512 * 1024 * 1024,
  idleMs: 60_000,
};
const RETRY_AFTER_MS = 2_000;

/** A request that has come whole. */
export interface Arrived {
  readonly header: RequestHeader;
  readonly body: Uint8Array;
  /** When its first chunk came. */
  readonly arrivedMonoMs: number;
}

interface Coming {
  readonly device: string;
  readonly header: RequestHeader;
  readonly chunk: NonNullable<RequestHeader['chunk']>;
  readonly arrivedMonoMs: number;
  readonly hash: Hash;
  /** As large as was announced; `bytes` of it have come, in `chunks`. */
  readonly body: Buffer;
  bytes: number;
  chunks: number;
  cancelIdle: () => void;
}

/** Large requests on their way in, over all devices. */
export class Transfers {
  readonly #clock: Clock;
  readonly #limits: TransferLimits;
  readonly #coming = new Map<string, Coming>();

  constructor(clock: Clock, limits: TransferLimits = DEFAULT_TRANSFER_LIMITS) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get count(): number {
    return this.#coming.size;
  }

  /** Bytes that are kept for what is not whole yet, as announced. */
  get bytes(): number {
    return this.#announced(() => true);
  }

  /** The first chunk, which starts again what was under way. @returns why it is turned away */
  begin(device: string, header: RequestHeader, first: Uint8Array): ReplyError | undefined {
    const { chunk } = header;
    if (!chunk) return { code: 'MESSAGE_MALFORMED', message: 'this request is not in chunks' };
    this.#forget(keyOf(device, header.id));
    const refused = this.#admit(device, chunk.bytes);
    if (refused) return refused;
    const coming: Coming = {
      device,
      header,
      chunk,
      arrivedMonoMs: this.#clock.nowMonoMs(),
      hash: createHash('sha256'),
      body: Buffer.allocUnsafe(chunk.bytes),
      bytes: 0,
      chunks: 0,
      cancelIdle: () => undefined,
    };
    this.#coming.set(keyOf(device, header.id), coming);
    this.#add(coming, first);
    this.#armIdle(coming);
    return undefined;
  }

  /** @returns what to acknowledge, and the request when it is whole */
  take(device: string, chunk: ChunkHeader, body: Uint8Array): { next: number; arrived?: Arrived } {
    const coming = this.#coming.get(keyOf(device, chunk.id));
    if (!coming) return { next: 0 };
    this.#armIdle(coming);
    if (!('index' in chunk) || chunk.index !== coming.chunks) return { next: coming.chunks };
    this.#add(coming, body);
    const { count, bytes, sha256 } = coming.chunk;
    const isLast = coming.chunks === count;
    if (!isLast && coming.bytes < bytes) return { next: coming.chunks };
    this.#forget(keyOf(device, chunk.id));
    if (!isLast || coming.bytes !== bytes || coming.hash.digest('hex') !== sha256) return { next: 0 };
    const { header, arrivedMonoMs } = coming;
    return { next: count, arrived: { header, body: coming.body, arrivedMonoMs } };
  }

  stop(): void {
    for (const key of [...this.#coming.keys()]) this.#forget(key);
  }

  #admit(device: string, bytes: number): ReplyError | undefined {
    const { maxPerDevice, maxBytesPerDevice, maxBytes } = this.#limits;
    const ofDevice = (one: Coming): boolean => one.device === device;
    const busy = (message: string): ReplyError => ({
      code: 'QUEUE_FULL',
      message,
      retryAfterMs: RETRY_AFTER_MS,
    });
    if ([...this.#coming.values()].filter(ofDevice).length >= maxPerDevice)
      return busy(`${maxPerDevice} large requests of this device are on their way`);
    if (this.#announced(ofDevice) + bytes > maxBytesPerDevice)
      return busy(`large requests of this device may have ${maxBytesPerDevice} bytes together`);
    if (this.#announced(() => true) + bytes > maxBytes)
      return busy('this hub has no room for another large request now');
    return undefined;
  }

  #announced(isWanted: (one: Coming) => boolean): number {
    let sum = 0;
    for (const one of this.#coming.values()) if (isWanted(one)) sum += one.chunk.bytes;
    return sum;
  }

  #add(coming: Coming, body: Uint8Array): void {
    // Bytes over the announced ones fall off the end, and shows in their count.
    const room = coming.chunk.bytes - coming.bytes;
    if (room > 0) coming.body.set(body.subarray(0, room), coming.bytes);
    coming.bytes += body.length;
    coming.chunks++;
    coming.hash.update(body);
  }

  #armIdle(coming: Coming): void {
    coming.cancelIdle();
    const key = keyOf(coming.device, coming.header.id);
    coming.cancelIdle = this.#clock.after(this.#limits.idleMs, () => this.#forget(key));
  }

  #forget(key: string): void {
    this.#coming.get(key)?.cancelIdle();
    this.#coming.delete(key);
  }
}

/** Ids of devices have no slash. */
const keyOf = (device: string, id: string): string => `${device}/${id}`;
