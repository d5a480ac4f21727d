/**
 * Makes the result of a base and a delta. Nothing of the delta is believed: it can neither make more than was signed, nor reach outside its
 * base, nor take more memory than a few blocks; whether the result is right, its digest says, and nothing else does.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import {
  BLOCK_BYTES,
  ByteReader,
  COPY,
  type DeltaSizes,
  DIFF,
  END,
  formOf,
  MAGIC,
  MAX_ROW,
  MIX,
  readVarint,
  refusedDelta,
  STEPS,
} from './format.ts';
import { NumberDecoder } from './numbers.ts';
import { OpenFile } from './open-file.ts';
import { unpack } from './packed.ts';
import { StepDecoder } from './steps.ts';

/** Instructions of one block: three numbers for each byte of it would be absurd. */
const MAX_INSTRUCTION_BYTES = BLOCK_BYTES;
const PIECE_BYTES = 64 * 1024;

/**
 * Writes the result to `out`, from its beginning.
 *
 * @param resultBytes as it was signed
 * @throws DELTA_INVALID, or what the system says
 */
export function decodeDelta(
  { base, delta, out }: { readonly base: string; readonly delta: string; readonly out: string },
  resultBytes: number,
): void {
  const opened = new OpenFile(base);
  const reading = new Reading(delta);
  const file = openSync(out, 'w', 0o600);
  try {
    new Decoder(opened, reading, file).run(resultBytes);
  } finally {
    closeSync(file);
    reading.close();
    opened.close();
  }
}

class Decoder {
  readonly #base: OpenFile;
  readonly #reading: Reading;
  readonly #out: number;
  readonly #numbers = new NumberDecoder();
  readonly #steps = new StepDecoder();
  #left = 0;

  constructor(base: OpenFile, reading: Reading, out: number) {
    this.#base = base;
    this.#reading = reading;
    this.#out = out;
  }

  run(resultBytes: number): void {
    const reading = this.#reading;
    if (!MAGIC.equals(reading.bytes(MAGIC.length)))
      throw refusedDelta('it is no delta that this agent knows');
    const sizes: DeltaSizes = { baseBytes: reading.varint(), resultBytes: reading.varint() };
    if (sizes.baseBytes !== this.#base.bytes)
      throw refusedDelta(`it is based on ${sizes.baseBytes} bytes, and there are ${this.#base.bytes}`);
    if (sizes.resultBytes !== resultBytes)
      throw refusedDelta(`it makes ${sizes.resultBytes} bytes, signed are ${resultBytes}`);
    this.#left = resultBytes;
    for (let kind = reading.varint(); kind !== END; kind = reading.varint()) this.#block(kind);
    if (this.#left > 0) throw refusedDelta(`${this.#left} bytes of its result are missing`);
    if (!reading.isAtEnd) throw refusedDelta('something comes after its end');
  }

  #block(kind: number): void {
    const length = this.#reading.varint();
    // One that makes nothing could come for ever.
    if (length === 0 || length > this.#left) throw refusedDelta('it makes more than it says');
    if (kind === COPY) this.#copy(length, this.#reading.varint());
    else if (length > BLOCK_BYTES) throw refusedDelta('a block is too large');
    else if (kind === MIX) this.#mix(length);
    else if (kind === DIFF) this.#difference(length);
    else if (kind === STEPS) this.#stepped(length);
    else throw refusedDelta('it has a block of an unknown kind');
    this.#left -= length;
  }

  #copy(length: number, from: number): void {
    if (from + length > this.#base.bytes)
      throw refusedDelta('it reaches beyond the file that it is based on');
    for (let done = 0; done < length; done += BLOCK_BYTES)
      this.#write(this.#base.read(from + done, Math.min(BLOCK_BYTES, length - done)));
  }

  #mix(length: number): void {
    const reading = this.#reading;
    let next = reading.varint();
    const instructionBytes = reading.varint();
    if (instructionBytes > MAX_INSTRUCTION_BYTES) throw refusedDelta('a block has too many instructions');
    const instructions = new ByteReader(unpack(reading, instructionBytes));
    const copies: { readonly own: number; readonly length: number; readonly from: number }[] = [];
    let [total, ownBytes] = [0, 0];
    while (!instructions.isAtEnd) {
      const [own, copied, step] = [instructions.varint(), instructions.varint(), instructions.signed()];
      if (own + copied === 0) throw refusedDelta('an instruction makes nothing');
      copies.push({ own, length: copied, from: next + step });
      next += step + copied;
      total += own + copied;
      ownBytes += own;
      if (total > length) throw refusedDelta('a block makes more than it says');
    }
    if (total < length) throw refusedDelta('a block makes less than it says');
    const own = unpack(reading, ownBytes);
    const made = Buffer.alloc(length);
    let [at, ownAt] = [0, 0];
    for (const one of copies) {
      made.set(own.subarray(ownAt, ownAt + one.own), at);
      ownAt += one.own;
      at += one.own;
      if (one.length > 0) made.set(this.#base.read(one.from, one.length), at);
      at += one.length;
    }
    this.#write(made);
  }

  #difference(length: number): void {
    const reading = this.#reading;
    const from = reading.varint();
    const form = formOf(reading.varint());
    const [coded, rest] = [reading.varint(), reading.varint()];
    if (length % form.width !== 0) throw refusedDelta('a block ends in the middle of a number');
    if (coded + rest > length) throw refusedDelta('a block is longer than what it makes');
    const block = reading.bytes(coded + rest);
    const numbers = this.#base.read(from, length);
    this.#numbers.decode(numbers, form, block.subarray(0, coded), block.subarray(coded));
    this.#write(numbers);
  }

  #stepped(length: number): void {
    const reading = this.#reading;
    const from = reading.varint();
    const [row, group, coded] = [reading.varint(), reading.varint(), reading.varint()];
    if (row < 1 || row > MAX_ROW || group < 1 || group > row)
      throw refusedDelta('a tensor lies as none does');
    if (coded > length) throw refusedDelta('a block is longer than what it makes');
    const block = reading.bytes(coded);
    const numbers = this.#base.read(from, length);
    this.#steps.decode(numbers, { row, group }, block);
    this.#write(numbers);
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#out, bytes, done);
  }
}

/** The delta, read once from its beginning to its end. */
class Reading {
  readonly #file: number;
  readonly #piece = Buffer.alloc(PIECE_BYTES);
  #at = 0;
  #end = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'r');
  }

  readonly varint = (): number => readVarint(() => this.#byte());

  get isAtEnd(): boolean {
    return this.#at === this.#end && this.#more() === 0;
  }

  /** @param count within what a block may have @throws DELTA_INVALID where there are fewer */
  readonly bytes = (count: number): Buffer => {
    const bytes = Buffer.allocUnsafeSlow(count);
    for (let done = 0; done < count; ) {
      if (this.#at === this.#end && this.#more() === 0) throw refusedDelta('it ends in the middle');
      const part = this.#piece.subarray(this.#at, Math.min(this.#end, this.#at + count - done));
      bytes.set(part, done);
      this.#at += part.length;
      done += part.length;
    }
    return bytes;
  };

  close(): void {
    closeSync(this.#file);
  }

  #byte(): number {
    if (this.#at === this.#end && this.#more() === 0) throw refusedDelta('it ends in the middle');
    return this.#piece[this.#at++] as number;
  }

  #more(): number {
    this.#at = 0;
    this.#end = readSync(this.#file, this.#piece, 0, PIECE_BYTES, null);
    return this.#end;
  }
}
