/**
 * Walks a file of Protocol Buffers by pieces: what is not asked for is passed over and never read, so that a graph with gigabytes of
 * weights costs what its structure has. Nothing of the file is trusted. A field counts only in the wire type that its schema gives
 * it, as every other reader of the format does: who reads it in another would see another file than ONNX Runtime.
 *
 * Source: https://protobuf.dev/programming-guides/encoding/
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { AppError } from '../../runtime/errors.ts';

/** What is read of each message, by field number. */
export interface Fields {
  /** Each time that it comes; the last one counts in Protocol Buffers, unless it is repeated. */
  readonly strings?: Readonly<Record<number, (value: string) => void>>;
  /** Signed, of up to 53 bits. */
  readonly varints?: Readonly<Record<number, (value: number) => void>>;
  /** Messages, which `read` walks, and packed numbers; `end` is where they end. */
  readonly messages?: Readonly<Record<number, (reader: WireReader, end: number) => void>>;
}

/** Where the bytes are. */
interface ByteSource {
  readonly size: number;
  /** As many as there are from `position`, at most `piece.length`. @returns how many */
  read(piece: Uint8Array, position: number): number;
}

const PIECE_BYTES = 64 * 1024;
const MAX_VARINT_BYTES = 10;
/** 49 bits, which a number holds. */
const EXACT_VARINT_BYTES = 7;
/** Of names and of what an exporter notes; class names of a large detector have some 30 KB. */
const MAX_STRING_BYTES = 4 * 1024 * 1024;
/** Of all of them together; those of a language model of a thousand layers have some 20 MB. */
const MAX_STRINGS_BYTES = 64 * 1024 * 1024;
/** A language model of a thousand layers has some 300,000. */
const MAX_FIELDS = 4_000_000;

/** Wire types of the format. */
const [VARINT, FIXED64, DELIMITED, FIXED32] = [0, 1, 2, 5];

const broken = (why: string): AppError => new AppError('MODEL_INVALID', why);

/** Reads fields one after another, within the message that is walked. */
export class WireReader {
  readonly #source: ByteSource;
  #piece = new Uint8Array(0);
  #pieceAt = 0;
  #at = 0;
  #fields = 0;
  #stringBytes = 0;

  private constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Walks what lies in memory. @throws MODEL_INVALID */
  static ofBytes(bytes: Uint8Array, fields: Fields): void {
    const read = (piece: Uint8Array, position: number): number => {
      const part = bytes.subarray(position, position + piece.length);
      piece.set(part);
      return part.length;
    };
    new WireReader({ size: bytes.length, read }).walk(bytes.length, fields);
  }

  /** Walks a file. @throws MODEL_INVALID, or what the system says */
  static ofFile(path: string, fields: Fields): void {
    const file = openSync(path, 'r');
    try {
      const { size } = fstatSync(file);
      const read = (piece: Uint8Array, position: number): number =>
        readSync(file, piece, 0, piece.length, position);
      new WireReader({ size, read }).walk(size, fields);
    } finally {
      closeSync(file);
    }
  }

  /** Where in the file it is: for a handler of `messages`, where its part begins. */
  get position(): number {
    return this.#at;
  }

  /** One message up to `end`. @throws MODEL_INVALID */
  walk(end: number, { strings = {}, varints = {}, messages = {} }: Fields): void {
    while (this.#at < end) {
      if (++this.#fields > MAX_FIELDS) throw broken(`its graph has over ${MAX_FIELDS} parts`);
      const tag = this.varint();
      const [field, wireType] = [Math.floor(tag / 8), tag % 8];
      if (field < 1) throw broken('a field has no number');
      if (wireType === VARINT) {
        const value = this.varint();
        varints[field]?.(value);
      } else if (wireType === FIXED64) this.#at += 8;
      else if (wireType === FIXED32) this.#at += 4;
      else if (wireType === DELIMITED) {
        const length = this.varint();
        const to = this.#at + length;
        if (length < 0 || to > end) throw broken('a part of it reaches into the next');
        if (messages[field]) messages[field](this, to);
        else strings[field]?.(this.#string(length));
        // A handler that reads only the head of a part leaves the rest.
        this.#at = to;
      } else throw broken('it has a part of an unknown kind');
      if (this.#at > end) throw broken('a part of it reaches into the next');
    }
  }

  /** Packed numbers up to `end`, one after another. @throws MODEL_INVALID */
  packed(end: number, each: (value: number) => void): void {
    while (this.#at < end) {
      if (++this.#fields > MAX_FIELDS) throw broken(`its graph has over ${MAX_FIELDS} parts`);
      each(this.varint());
    }
  }

  /** Whether one of the bytes up to `end` is 0. @throws MODEL_INVALID */
  hasZero(end: number): boolean {
    while (this.#at < end) {
      const from = this.#at - this.#pieceAt;
      if (from < 0 || from >= this.#piece.length) {
        this.#load();
        if (this.#piece.length === 0) throw broken('it ends in the middle');
        continue;
      }
      const found = this.#piece.indexOf(0, from);
      if (found >= 0 && this.#pieceAt + found < end) return true;
      this.#at = Math.min(end, this.#pieceAt + this.#piece.length);
    }
    return false;
  }

  /** @throws MODEL_INVALID */
  varint(): number {
    let [low, scale, high] = [0, 1, 0n];
    for (let count = 0; count < MAX_VARINT_BYTES; count++) {
      const byte = this.#byte();
      if (count < EXACT_VARINT_BYTES) {
        low += (byte & 0x7f) * scale;
        scale *= 128;
      } else high += BigInt(byte & 0x7f) << BigInt(7 * count);
      if (byte < 0x80) return high === 0n ? low : Number(BigInt.asIntN(64, high + BigInt(low)));
    }
    throw broken('it has a number that does not end');
  }

  #byte(): number {
    const offset = this.#at - this.#pieceAt;
    if (offset < 0 || offset >= this.#piece.length) this.#load();
    const byte = this.#piece[this.#at - this.#pieceAt];
    if (byte === undefined) throw broken('it ends in the middle');
    this.#at++;
    return byte;
  }

  #load(): void {
    const piece = new Uint8Array(PIECE_BYTES);
    const count = this.#at < this.#source.size ? this.#source.read(piece, this.#at) : 0;
    this.#piece = piece.subarray(0, count);
    this.#pieceAt = this.#at;
  }

  #string(length: number): string {
    if (length > MAX_STRING_BYTES)
      throw broken(`it has a name of ${length} bytes, the limit is ${MAX_STRING_BYTES}`);
    this.#stringBytes += length;
    if (this.#stringBytes > MAX_STRINGS_BYTES) throw broken(`its names have over ${MAX_STRINGS_BYTES} bytes`);
    const bytes = new Uint8Array(length);
    if (this.#at + length > this.#source.size) throw broken('it ends in the middle');
    const from = this.#at - this.#pieceAt;
    if (from >= 0 && from + length <= this.#piece.length)
      bytes.set(this.#piece.subarray(from, from + length));
    else this.#source.read(bytes, this.#at);
    return Buffer.from(bytes.buffer).toString('utf8');
  }
}
