/** Finds in the base what stands in a stretch of bytes, wherever it lies there: by the hashes of its blocks, as rsync does. */
import { ByteWriter } from './format.ts';
import type { OpenFile } from './open-file.ts';

/** How far apart blocks of the base lie at least, and how many are remembered: 3 MB. */
const MIN_BLOCK_BYTES = 64;
const MAX_BLOCKS = 1 << 17;
const SLOTS = 1 << 18;
/** A shorter copy costs as much as its bytes. */
const MIN_COPY_BYTES = 12;
const MULTIPLIER = 0x01000193;

/** Bytes of a stretch, told apart: how to copy, and what cannot be copied. */
export interface Matched {
  /** Bytes of its own, bytes from the base, and how far from the end of the copy before those lie; again and again. */
  readonly instructions: ByteWriter;
  readonly own: Uint8Array;
  /** Where the stretch is in the base as a whole; undefined: it is not. */
  readonly wholeFrom: number | undefined;
}

/** Index of the base's blocks. */
export class Matcher {
  readonly #base: OpenFile;
  readonly #blockBytes: number;
  /** Offsets of blocks in units of the block's length, plus 1; 0: empty. */
  readonly #slots = new Uint32Array(SLOTS);
  readonly #hashes = new Uint32Array(SLOTS);
  readonly #offsets = new Float64Array(MAX_BLOCKS);
  readonly #outgoing: number;
  #count = 0;

  /** @param stretches of the base where something may be found */
  constructor(base: OpenFile, stretches: readonly { readonly offset: number; readonly length: number }[]) {
    this.#base = base;
    const total = stretches.reduce((sum, { length }) => sum + length, 0);
    let blockBytes = MIN_BLOCK_BYTES;
    while (total / blockBytes > MAX_BLOCKS - stretches.length) blockBytes *= 2;
    this.#blockBytes = blockBytes;
    let outgoing = 1;
    for (let i = 0; i < blockBytes; i++) outgoing = Math.imul(outgoing, MULTIPLIER);
    this.#outgoing = outgoing;
    for (const { offset, length } of stretches)
      for (let at = 0; at + blockBytes <= length; at += blockBytes) this.#remember(offset + at);
  }

  #remember(offset: number): void {
    if (this.#count === MAX_BLOCKS) return;
    let hash = 0;
    for (let i = 0; i < this.#blockBytes; i++)
      hash = (Math.imul(hash, MULTIPLIER) + this.#base.byteAt(offset + i) + 1) | 0;
    let slot = slotOf(hash);
    for (; this.#slots[slot] !== 0; slot = (slot + 1) % SLOTS)
      // The first of those that are the same does.
      if (this.#hashes[slot] === hash >>> 0) return;
    this.#offsets[this.#count] = offset;
    this.#slots[slot] = ++this.#count;
    this.#hashes[slot] = hash;
  }

  #find(hash: number): number {
    for (let slot = slotOf(hash); this.#slots[slot] !== 0; slot = (slot + 1) % SLOTS)
      if (this.#hashes[slot] === hash >>> 0)
        return this.#offsets[(this.#slots[slot] as number) - 1] as number;
    return -1;
  }

  /** @param expected where in the base the like of it is looked for first */
  match(bytes: Uint8Array, expected: number | undefined): Matched {
    const instructions = new ByteWriter();
    const own = Buffer.alloc(bytes.length);
    const size = this.#blockBytes;
    let [ownBytes, pending, at, hash, hashedTo] = [0, 0, 0, 0, -1];
    let next = expected ?? 0;
    let first: number | undefined;
    const copy = (from: number, start: number, length: number): void => {
      const literal = start - pending;
      own.set(bytes.subarray(pending, start), ownBytes);
      ownBytes += literal;
      instructions
        .varint(literal)
        .varint(length)
        .signed(from - next);
      if (start === 0 && length === bytes.length) first = from;
      next = from + length;
      pending = start + length;
    };
    while (at < bytes.length) {
      const aligned = next + (at - pending);
      const length = this.#sameFrom(bytes, at, aligned);
      if (length >= MIN_COPY_BYTES || (length > 0 && at + length === bytes.length && pending === at)) {
        copy(aligned, at, length);
        at += length;
        hashedTo = -1;
        continue;
      }
      if (at + size > bytes.length) {
        at++;
        continue;
      }
      hash = hashedTo === at ? hash : hashOf(bytes, at, size);
      const found = this.#find(hash);
      if (found >= 0) {
        let [start, from] = [at, found];
        while (start > pending && this.#base.byteAt(from - 1) === bytes[start - 1]) {
          start--;
          from--;
        }
        const same = this.#sameFrom(bytes, start, from);
        if (same >= size) {
          copy(from, start, same);
          at = start + same;
          hashedTo = -1;
          continue;
        }
      }
      if (at + size < bytes.length) {
        const [out, into] = [(bytes[at] as number) + 1, (bytes[at + size] as number) + 1];
        hash = (Math.imul(hash, MULTIPLIER) + into - Math.imul(out, this.#outgoing)) | 0;
        hashedTo = at + 1;
      }
      at++;
    }
    if (pending < bytes.length) {
      own.set(bytes.subarray(pending), ownBytes);
      ownBytes += bytes.length - pending;
      instructions
        .varint(bytes.length - pending)
        .varint(0)
        .signed(0);
    }
    return { instructions, own: own.subarray(0, ownBytes), wholeFrom: first };
  }

  #sameFrom(bytes: Uint8Array, start: number, from: number): number {
    let length = 0;
    while (start + length < bytes.length && this.#base.byteAt(from + length) === bytes[start + length])
      length++;
    return length;
  }
}

function hashOf(bytes: Uint8Array, at: number, size: number): number {
  let hash = 0;
  for (let i = 0; i < size; i++) hash = (Math.imul(hash, MULTIPLIER) + (bytes[at + i] as number) + 1) | 0;
  return hash;
}

const slotOf = (hash: number): number => (Math.imul(hash, 0x9e3779b1) >>> 14) % SLOTS;
