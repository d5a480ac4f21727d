/**
 * The file that makes one version's file out of another's: `format-version, sizes, blocks, end`. Each block makes the next bytes of the result:
 *
 * COPY length offset              as they stand in the base
 * MIX  length instructions bytes  copies from the base and bytes of its own, in turn
 * DIFF length offset kind numbers the numbers of a tensor, as their difference to those at `offset` of the base
 * STEPS length offset row group steps the same of numbers of 8 bits, by how they lie; a delta that has one is of the kind `steps` (contract/deltas.ts)
 * END                             nothing comes after it
 *
 * All numbers of the frame are varints. A block but COPY makes at most BLOCK_BYTES, so that both sides work in constant memory.
 */
import { AppError } from '../../runtime/errors.ts';

/** First bytes of a delta. */
export const MAGIC = Buffer.from('ORDELTA\x01', 'latin1');
/** Bytes of the result that one block makes at most; COPY alone may make more. */
export const BLOCK_BYTES = 4 * 1024 * 1024;
/** Kinds of block. */
export const [END, COPY, MIX, DIFF, STEPS] = [0, 1, 2, 3, 4] as const;
/** What is known of the columns of a tensor stays in memory. */
export const MAX_ROW = 256 * 1024;
/** Sizes and offsets: 49 bits, which a number holds. */
const MAX_VARINT_BYTES = 7;

/** Form of a tensor's elements, by the number that a delta has for it. */
export interface ElementForm {
  readonly code: number;
  /** Of one element. */
  readonly width: 1 | 2 | 4;
  /** Where the exponent of a floating-point number begins; undefined: it has none. */
  readonly exponentShift?: number;
  readonly exponentMask?: number;
}

/** All that there are; what is none of them is taken for bytes. */
export const FORMS = {
  bytes: { code: 0, width: 1 },
  integers16: { code: 1, width: 2 },
  integers32: { code: 2, width: 4 },
  float16: { code: 3, width: 2, exponentShift: 10, exponentMask: 0x1f },
  bfloat16: { code: 4, width: 2, exponentShift: 7, exponentMask: 0xff },
  float32: { code: 5, width: 4, exponentShift: 23, exponentMask: 0xff },
} as const satisfies Record<string, ElementForm>;

/** How a tensor lies: numbers of one row (an output), and how many of them belong together (the kernel of an input). */
export interface Rows {
  /** 1 to MAX_ROW. */
  readonly row: number;
  /** 1 to `row`. */
  readonly group: number;
}

/** How the delta is refused: whatever is wrong with it, the whole file is fetched. */
export const refusedDelta = (why: string): AppError => new AppError('DELTA_INVALID', why);

/** @throws DELTA_INVALID for a number that no encoder writes */
export function formOf(code: number): ElementForm {
  const form = Object.values(FORMS).find((one) => one.code === code);
  if (!form) throw refusedDelta(`it has numbers of an unknown kind, ${code}`);
  return form;
}

/** What a delta says of itself before its blocks. */
export interface DeltaSizes {
  readonly baseBytes: number;
  readonly resultBytes: number;
}

/** Collects the bytes of a frame; grows as it needs to. */
export class ByteWriter {
  #bytes = Buffer.alloc(1_024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What has been written; good until the next `clear`. */
  get written(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** @param value 0 and above, below 2^49 */
  varint(value: number): this {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.#byte((rest % 128) | 0x80);
    this.#byte(rest);
    return this;
  }

  /** A number of either sign, small ones short. */
  signed(value: number): this {
    return this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  put(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = Buffer.alloc(Math.max(2 * this.#bytes.length, this.#length + more));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** Reads what `ByteWriter` has written, and believes nothing of it. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** @throws DELTA_INVALID */
  varint(): number {
    return readVarint(() => {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw refusedDelta('it ends in the middle of a number');
      return byte;
    });
  }

  /** @throws DELTA_INVALID */
  signed(): number {
    const value = this.varint();
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
  }
}

/** @param next the byte that follows @throws DELTA_INVALID */
export function readVarint(next: () => number): number {
  let [value, scale] = [0, 1];
  for (let count = 0; count < MAX_VARINT_BYTES; count++, scale *= 128) {
    const byte = next();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
  }
  throw refusedDelta('it has a number that does not end');
}
