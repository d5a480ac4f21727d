/**
 * The numbers of a tensor as their difference to those of another. Numbers are subtracted as the integers that their bits are, modulo 2^width:
 * a small change of a float is a small change of that integer. Of each difference, made unsigned (0, -1, 1, -2, …), the length in bits is
 * coded by what is usual, then the two bits after its first one, and the rest, which is noise, as it is.
 *
 * What is usual depends on how far the numbers before it have moved (`Guess`; measured: docs/decisions/0043).
 */
import type { ElementForm } from './format.ts';
import { refusedDelta } from './format.ts';
import { Odds, RangeDecoder, RangeEncoder } from './range-coder.ts';

/** Contexts of one length: whether it is 0, and a tree of 32 lengths above. */
const PER_LENGTH = 1 + 32;
/** Half bits of a guess, or the lengths of four differences. */
const LENGTH_CONTEXTS = 256;
/** After the first bit of a number: two more, by its length and by the first of the two. */
const PER_HEAD = 3;
const HEAD_BITS = 2;

/** What has been learnt of one form of numbers. */
interface Usual {
  readonly lengths: Odds;
  readonly heads: Odds;
}

const fresh = (): Usual => ({
  lengths: new Odds(LENGTH_CONTEXTS * PER_LENGTH),
  heads: new Odds(33 * PER_HEAD),
});

/** Numbers of 1, 2 or 4 bytes, lowest byte first as in the file: on a machine with another order a delta makes a wrong file, and the whole one is fetched. */
type Numbers = Uint8Array | Uint16Array | Uint32Array;

function numbersIn(bytes: Uint8Array, { width }: ElementForm): Numbers {
  const { buffer, byteOffset, length } = bytes;
  if (width === 1) return bytes;
  return width === 2
    ? new Uint16Array(buffer, byteOffset, length / 2)
    : new Uint32Array(buffer, byteOffset, length / 4);
}

/**
 * Guesses the length of the next difference. Weights of one layer have moved by about as much: the steps that this is of a float follow from its
 * exponent, so their sum is what is remembered, in 256ths of a bit and as a mean over some 16 numbers. Of integers the last four lengths are.
 */
class Guess {
  readonly #form: ElementForm;
  #moved = -1;
  #last = 0;

  constructor(form: ElementForm) {
    this.#form = form;
  }

  /** Context of the difference to this number. */
  contextOf(before: number): number {
    const { exponentShift, exponentMask = 0 } = this.#form;
    if (exponentShift === undefined) return this.#last;
    if (this.#moved < 0) return 0;
    const halfBits = (this.#moved - (((before >>> exponentShift) & exponentMask) << 8)) >> 7;
    return Math.max(0, Math.min(LENGTH_CONTEXTS - 1, halfBits));
  }

  /** The difference to it had so many bits. */
  note(before: number, length: number): void {
    const { exponentShift, exponentMask = 0 } = this.#form;
    if (exponentShift === undefined) {
      this.#last = ((this.#last << 2) | Math.min(length, 3)) & (LENGTH_CONTEXTS - 1);
      return;
    }
    const moved = (((before >>> exponentShift) & exponentMask) + length) << 8;
    if (this.#moved < 0) this.#moved = moved;
    else this.#moved += (moved - this.#moved) >> 4;
  }
}

/** Encoder of differences: learns from block to block. */
export class NumberEncoder {
  readonly #usual = new Map<number, Usual>();
  readonly #range = new RangeEncoder();
  #kept: Usual | undefined;
  #rest = new Uint32Array(0);

  /**
   * @param bytes both of one length, aligned to 4 bytes, a multiple of the form's width
   * @param out written over from its beginning, aligned to 4 bytes; at least twice their length
   * @returns bytes of the coded part, and of the rest behind it; undefined where that is not less than `maxBytes`: then nothing was learnt
   */
  encode(
    { bytes, base }: { readonly bytes: Uint8Array; readonly base: Uint8Array },
    form: ElementForm,
    out: Uint8Array,
    maxBytes: number,
  ): { readonly coded: number; readonly rest: number } | undefined {
    const usual = this.#usual.get(form.code) ?? fresh();
    this.#usual.set(form.code, usual);
    this.#kept ??= fresh();
    this.#kept.lengths.set(usual.lengths);
    this.#kept.heads.set(usual.heads);
    const restBytes = this.#encode(numbersIn(bytes, form), numbersIn(base, form), { form, usual, out });
    const coded = this.#range.finish();
    if (coded + restBytes < maxBytes && coded + restBytes <= out.length) {
      out.set(new Uint8Array(this.#rest.buffer, 0, restBytes), coded);
      return { coded, rest: restBytes };
    }
    usual.lengths.set(this.#kept.lengths);
    usual.heads.set(this.#kept.heads);
    return undefined;
  }

  #encode(
    numbers: Numbers,
    before: Numbers,
    { form, usual, out }: { readonly form: ElementForm; readonly usual: Usual; readonly out: Uint8Array },
  ): number {
    const range = this.#range;
    const { lengths, heads } = usual;
    const unused = 32 - 8 * form.width;
    if (this.#rest.length < numbers.length + 1) this.#rest = new Uint32Array(numbers.length + 1);
    const rest = this.#rest;
    const guess = new Guess(form);
    let [held, heldBits, at] = [0, 0, 0];
    range.begin(out);
    for (let i = 0; i < numbers.length; i++) {
      const old = before[i] as number;
      // Signed, of the form's width.
      const step = (((numbers[i] as number) - old) << unused) >> unused;
      const value = ((step << 1) ^ (step >> 31)) >>> 0;
      const length = 32 - Math.clz32(value);
      const context = guess.contextOf(old) * PER_LENGTH;
      guess.note(old, length);
      if (length === 0) {
        range.encode(lengths, context, 0);
        continue;
      }
      range.encode(lengths, context, 1);
      let node = 1;
      for (let shift = 4; shift >= 0; shift--) {
        const bit = ((length - 1) >>> shift) & 1;
        range.encode(lengths, context + node, bit);
        node = (node << 1) | bit;
      }
      let left = length - 1;
      for (let head = 0, seen = 0; head < HEAD_BITS && left > 0; head++) {
        const bit = (value >>> --left) & 1;
        range.encode(heads, length * PER_HEAD + (head === 0 ? 0 : 1 + seen), bit);
        seen = bit;
      }
      if (left === 0) continue;
      const tail = value & ((1 << left) - 1);
      held |= tail << heldBits;
      heldBits += left;
      if (heldBits < 32) continue;
      rest[at++] = held;
      heldBits -= 32;
      held = heldBits === 0 ? 0 : tail >>> (left - heldBits);
    }
    rest[at] = held;
    return at * 4 + Math.ceil(heldBits / 8);
  }
}

/** Decoder of differences: learns as its encoder did. */
export class NumberDecoder {
  readonly #usual = new Map<number, Usual>();
  readonly #range = new RangeDecoder();

  /**
   * Turns the base's numbers into the result's, in place.
   *
   * @param bytes of the base, aligned to 4 bytes
   * @throws DELTA_INVALID
   */
  decode(bytes: Uint8Array, form: ElementForm, coded: Uint8Array, rest: Uint8Array): void {
    const usual = this.#usual.get(form.code) ?? fresh();
    this.#usual.set(form.code, usual);
    const { lengths, heads } = usual;
    const range = this.#range;
    const numbers = numbersIn(bytes, form);
    const widest = 8 * form.width;
    const guess = new Guess(form);
    let [held, heldBits, at] = [0, 0, 0];
    range.begin(coded);
    for (let i = 0; i < numbers.length; i++) {
      const old = numbers[i] as number;
      const context = guess.contextOf(old) * PER_LENGTH;
      if (range.decode(lengths, context) === 0) {
        guess.note(old, 0);
        continue;
      }
      let node = 1;
      for (let shift = 4; shift >= 0; shift--) node = (node << 1) | range.decode(lengths, context + node);
      const length = node - 32 + 1;
      if (length > widest) throw refusedDelta('it has a number that is wider than its kind');
      guess.note(old, length);
      let value = 1;
      let left = length - 1;
      for (let head = 0, seen = 0; head < HEAD_BITS && left > 0; head++, left--) {
        seen = range.decode(heads, length * PER_HEAD + (head === 0 ? 0 : 1 + seen));
        value = (value << 1) | seen;
      }
      if (left > 0) {
        // Bits come lowest first.
        let [tail, have] = [0, 0];
        while (have < left) {
          if (heldBits === 0) {
            if (at >= rest.length) throw refusedDelta('its numbers end too early');
            held = rest[at++] as number;
            heldBits = 8;
          }
          const take = Math.min(left - have, heldBits);
          tail |= (held & ((1 << take) - 1)) << have;
          held >>>= take;
          heldBits -= take;
          have += take;
        }
        value = (value << left) | tail;
      }
      const step = (value >>> 1) ^ -(value & 1);
      numbers[i] = old + step;
    }
  }
}
