/**
 * Adaptive binary range coder: writes a decision in as many bits as it surprises, by how often it has come before. Counts of 15 bits, each the
 * mean of a quick and a slow one: the quick one follows a tensor, the slow one gets an even zero for next to nothing.
 *
 * Source: G. N. N. Martin, Range encoding (1979); the carry as LZMA does it. State lies in typed arrays: fields of an object that hold
 * numbers above 2^30 cost an allocation each time.
 */
import { refusedDelta } from './format.ts';

const PROBABILITY_BITS = 15;
const HALF = 1 << (PROBABILITY_BITS - 1);
const TOP = 2 ** 24;
const [QUICK, SLOW] = [4, 7];
const ONE = 1 << PROBABILITY_BITS;
/** What is flushed at the end, and read at the beginning. */
const STATE_BYTES = 5;

/** How likely each decision is to be 0, by its context. */
export class Odds {
  readonly quick: Uint16Array;
  readonly slow: Uint16Array;

  constructor(contexts: number) {
    this.quick = new Uint16Array(contexts).fill(HALF);
    this.slow = new Uint16Array(contexts).fill(HALF);
  }

  /** Takes over what others have learnt. */
  set(other: Odds): void {
    this.quick.set(other.quick);
    this.slow.set(other.slow);
  }

  learn(context: number, bit: number): void {
    const quick = this.quick[context] as number;
    const slow = this.slow[context] as number;
    if (bit === 0) {
      this.quick[context] = quick + ((ONE - quick) >> QUICK);
      this.slow[context] = slow + ((ONE - slow) >> SLOW);
    } else {
      this.quick[context] = quick - (quick >> QUICK);
      this.slow[context] = slow - (slow >> SLOW);
    }
  }

  /** 1..2^15-1, of 0 */
  of(context: number): number {
    const mean = ((this.quick[context] as number) + (this.slow[context] as number)) >> 1;
    return Math.max(1, Math.min(ONE - 1, mean));
  }
}

/** Writes decisions; `bytes` is written over from its beginning, and what has no room is counted, not written. */
export class RangeEncoder {
  #bytes: Uint8Array = new Uint8Array(0);
  /** Length, bytes that may still carry, the byte before them. */
  readonly #small = new Int32Array(3);
  readonly #low = new Float64Array(1);
  readonly #range = new Uint32Array(1);

  begin(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#small.set([0, 1, 0]);
    this.#low[0] = 0;
    this.#range[0] = 0xffffffff;
  }

  encode(odds: Odds, context: number, bit: number): void {
    this.encodeAt(odds.of(context), bit);
    odds.learn(context, bit);
  }

  /** @param chance 1..2^15-1, of 0 */
  encodeAt(chance: number, bit: number): void {
    const range = this.#range[0] as number;
    const bound = (range >>> PROBABILITY_BITS) * chance;
    if (bit === 0) this.#range[0] = bound;
    else {
      this.#low[0] = (this.#low[0] as number) + bound;
      this.#range[0] = range - bound;
    }
    while ((this.#range[0] as number) < TOP) {
      this.#range[0] = (this.#range[0] as number) * 256;
      this.#shift();
    }
  }

  /** @returns bytes in all; more than there was room for: they are not whole */
  finish(): number {
    for (let i = 0; i < STATE_BYTES; i++) this.#shift();
    return this.#small[0] as number;
  }

  #shift(): void {
    const low = this.#low[0] as number;
    if (low < 0xff000000 || low >= 2 ** 32) {
      const carry = low >= 2 ** 32 ? 1 : 0;
      let byte = this.#small[2] as number;
      for (let left = this.#small[1] as number; left > 0; left--) {
        const at = this.#small[0] as number;
        if (at < this.#bytes.length) this.#bytes[at] = byte + carry;
        this.#small[0] = at + 1;
        byte = 0xff;
      }
      this.#small[1] = 0;
      this.#small[2] = Math.floor(low / TOP) % 256;
    }
    this.#small[1] = (this.#small[1] as number) + 1;
    this.#low[0] = (low % TOP) * 256;
  }
}

/** Reads the same decisions back; never more bytes than it was given. */
export class RangeDecoder {
  #bytes: Uint8Array = new Uint8Array(0);
  /** Range, and where in it the message lies. */
  readonly #state = new Uint32Array(2);
  readonly #at = new Int32Array(1);

  /** @throws DELTA_INVALID */
  begin(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#at[0] = 1;
    this.#state.set([0xffffffff, 0]);
    for (let i = 1; i < STATE_BYTES; i++) this.#next();
  }

  /** @throws DELTA_INVALID */
  decode(odds: Odds, context: number): number {
    const bit = this.decodeAt(odds.of(context));
    odds.learn(context, bit);
    return bit;
  }

  /** @param chance 1..2^15-1, of 0 @throws DELTA_INVALID */
  decodeAt(chance: number): number {
    const state = this.#state;
    const range = state[0] as number;
    const bound = (range >>> PROBABILITY_BITS) * chance;
    let bit = 0;
    if ((state[1] as number) < bound) state[0] = bound;
    else {
      bit = 1;
      state[1] = (state[1] as number) - bound;
      state[0] = range - bound;
    }
    while ((state[0] as number) < TOP) {
      state[0] = (state[0] as number) * 256;
      this.#next();
    }
    return bit;
  }

  #next(): void {
    const at = this.#at[0] as number;
    if (at >= this.#bytes.length) throw refusedDelta('its numbers end too early');
    this.#state[1] = (((this.#state[1] as number) << 8) | (this.#bytes[at] as number)) >>> 0;
    this.#at[0] = at + 1;
  }
}
