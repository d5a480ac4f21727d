/** A file that is read here and there by pieces, in memory that is used again. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { BLOCK_BYTES, refusedDelta } from './format.ts';

const PAGE_BYTES = 64 * 1024;

/** Open file with a block and a page of it in memory. */
export class OpenFile {
  readonly bytes: number;
  readonly #file: number;
  /** Of its own memory: numbers in it are aligned. */
  #block = Buffer.alloc(0);
  readonly #page = Buffer.alloc(PAGE_BYTES);
  #pageAt = 0;
  #pageEnd = 0;

  /** @throws what the system says */
  constructor(path: string) {
    this.#file = openSync(path, 'r');
    this.bytes = fstatSync(this.#file).size;
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Bytes of it, good until the next `read`. @param length at most BLOCK_BYTES @throws DELTA_INVALID where there are none */
  read(offset: number, length: number): Buffer {
    if (offset < 0 || offset + length > this.bytes)
      throw refusedDelta('it reaches beyond the file that it is based on');
    if (this.#block.length < length)
      this.#block = Buffer.from(new ArrayBuffer(Math.min(BLOCK_BYTES, Math.max(PAGE_BYTES, 2 * length))));
    const block = this.#block.subarray(0, length);
    this.#fill(block, offset);
    return block;
  }

  /** One byte, -1 outside: near ones cost no read. */
  byteAt(offset: number): number {
    if (offset < this.#pageAt || offset >= this.#pageEnd) {
      if (offset < 0 || offset >= this.bytes) return -1;
      // What is compared backwards is at hand as well.
      this.#pageAt = Math.max(0, offset - PAGE_BYTES / 4);
      this.#pageEnd = Math.min(this.bytes, this.#pageAt + PAGE_BYTES);
      this.#fill(this.#page.subarray(0, this.#pageEnd - this.#pageAt), this.#pageAt);
    }
    return this.#page[offset - this.#pageAt] as number;
  }

  #fill(into: Buffer, offset: number): void {
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#file, into, done, into.length - done, offset + done);
      if (count === 0) throw refusedDelta('the file that it is based on became shorter');
      done += count;
    }
  }
}
