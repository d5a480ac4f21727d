/**
 * A TIFF without what says where, when, by whom and with what it was taken: TIFF 6.0 section 2. Its offsets are absolute, so nothing
 * moves: entries that are not of the picture leave their directory, and what they point to becomes zeros.
 */

const HEADER_BYTES = 8;
const ENTRY_BYTES = 12;
/** Baseline, colours, strips, tiles, compression, pages (TIFF 6.0 and its supplements), and the colour profile: what decoders need. */
const KEPT = new Set([
  254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284,
  286, 287, 290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 326, 327, 328,
  330, 332, 334, 336, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531,
  532, 34675,
]);
/** EXIF, GPS and interoperability: directories of their own. */
const DIRECTORIES = new Set([34665, 34853, 40965]);
/** By type, TIFF 6.0 section 2 and its supplements. */
const BYTES_OF_TYPE = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4];
const MAX_DIRECTORIES = 1_000;

/** @returns undefined where nothing is to be taken out, or the file is damaged */
export function bareTiff(body: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(body);
  const tiff = new Tiff(bytes);
  try {
    tiff.clean(tiff.u32(4));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // It points past its end: nobody can decode it, and what was found is gone.
  }
  return tiff.isChanged ? bytes : undefined;
}

class Tiff {
  isChanged = false;
  readonly #bytes: Buffer;
  readonly #isLittle: boolean;
  readonly #seen = new Set<number>();
  /** Values do not overlap: more than all of it is nobody's file. */
  #wipedBytes = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#isLittle = bytes.toString('latin1', 0, 2) === 'II';
  }

  u16 = (at: number): number =>
    this.#isLittle ? this.#bytes.readUInt16LE(at) : this.#bytes.readUInt16BE(at);
  u32 = (at: number): number =>
    this.#isLittle ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);

  /** @param first of the directories of its pages */
  clean(first: number): void {
    for (let at = first; this.#isNew(at); ) {
      const count = this.u16(at);
      const end = at + 2 + count * ENTRY_BYTES;
      const next = this.u32(end);
      let to = at + 2;
      for (let entry = at + 2; entry < end; entry += ENTRY_BYTES) {
        const tag = this.u16(entry);
        if (!KEPT.has(tag)) {
          if (DIRECTORIES.has(tag)) this.#wipeDirectory(this.u32(entry + 8));
          this.#wipeValue(entry);
          continue;
        }
        if (tag === 330) this.#cleanBelow(entry);
        this.#bytes.copy(this.#bytes, to, entry, entry + ENTRY_BYTES);
        to += ENTRY_BYTES;
      }
      if (to !== end) {
        this.isChanged = true;
        const kept = (to - at - 2) / ENTRY_BYTES;
        if (this.#isLittle) this.#bytes.writeUInt16LE(kept, at);
        else this.#bytes.writeUInt16BE(kept, at);
        this.#bytes.fill(0, to, end + 4);
        if (this.#isLittle) this.#bytes.writeUInt32LE(next, to);
        else this.#bytes.writeUInt32BE(next, to);
      }
      at = next;
    }
  }

  #isNew(at: number): boolean {
    if (at < HEADER_BYTES || this.#seen.has(at) || this.#seen.size >= MAX_DIRECTORIES) return false;
    this.#seen.add(at);
    return true;
  }

  /** Pictures below a page: smaller ones, masks. */
  #cleanBelow(entry: number): void {
    const count = this.u32(entry + 4);
    const list = count === 1 ? entry + 8 : this.u32(entry + 8);
    for (let index = 0; index < Math.min(count, MAX_DIRECTORIES); index++)
      this.clean(this.u32(list + 4 * index));
  }

  #wipeDirectory(at: number): void {
    if (!this.#isNew(at)) return;
    const end = at + 2 + this.u16(at) * ENTRY_BYTES;
    for (let entry = at + 2; entry < end; entry += ENTRY_BYTES) {
      if (DIRECTORIES.has(this.u16(entry))) this.#wipeDirectory(this.u32(entry + 8));
      this.#wipeValue(entry);
    }
    this.#bytes.fill(0, at, end + 4);
  }

  #wipeValue(entry: number): void {
    const bytes = (BYTES_OF_TYPE[this.u16(entry + 2)] ?? 1) * this.u32(entry + 4);
    if (bytes <= 4) return;
    const from = this.u32(entry + 8);
    const to = Math.min(from + bytes, this.#bytes.length);
    if (from < HEADER_BYTES || from >= to) return;
    this.#wipedBytes += to - from;
    if (this.#wipedBytes > this.#bytes.length) throw new RangeError('values overlap');
    this.#bytes.fill(0, from, to);
  }
}
