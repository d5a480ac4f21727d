/** Results as NDJSON in a file: one line each, rotated so that it cannot fill the disk. */
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Result } from '../../shared/contract/result.ts';
import { AppError, isDiskFull } from '../../shared/runtime/errors.ts';
import type { Sink } from '../ports.ts';

/** The file and its predecessor (`.1`) together hold at most twice this. */
const DEFAULT_MAX_BYTES = 32 * 1024 * 1024;

export class FileSink implements Sink {
  readonly name: string;
  readonly #path: string;
  readonly #maxBytes: number;
  #file: FileHandle | undefined;
  #bytes = 0;
  /** The last write: the next one follows it, whoever asks. */
  #tail: Promise<void> = Promise.resolve();

  constructor(options: { readonly path: string; readonly maxBytes?: number }) {
    this.name = `file:${options.path}`;
    this.#path = options.path;
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  }

  /** @throws DISK_FULL */
  put(value: object): Promise<void> {
    const written = this.#tail.then(() => this.#append(value));
    this.#tail = written.catch(() => undefined);
    return written;
  }

  async close(): Promise<void> {
    await this.#tail;
    await this.#end();
  }

  async #append(value: object): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(value)}\n`, 'utf8');
    try {
      const file = await this.#opened(line.length);
      const { bytesWritten } = await file.write(line, 0, line.length, this.#bytes);
      if (bytesWritten < line.length) throw new AppError('DISK_FULL', `no space for ${this.#path}`);
      this.#bytes += line.length;
    } catch (error) {
      // Written again from the last whole line.
      await this.#end();
      throw isDiskFull(error)
        ? new AppError('DISK_FULL', `no space for ${this.#path}`, { cause: error })
        : error;
    }
  }

  async #end(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.truncate(this.#bytes).catch(() => undefined);
    await file?.close();
  }

  async #opened(nextBytes: number): Promise<FileHandle> {
    if (this.#file && this.#bytes + nextBytes > this.#maxBytes && this.#bytes > 0) {
      await this.#end();
      await rename(this.#path, `${this.#path}.1`);
    }
    if (!this.#file) {
      await mkdir(dirname(this.#path), { recursive: true });
      const file = await open(this.#path, 'a+').then(async (appending) => {
        await appending.close();
        return open(this.#path, 'r+');
      });
      try {
        this.#bytes = await cutTornLine(file);
      } catch (error) {
        await file.close();
        throw error;
      }
      this.#file = file;
    }
    return this.#file;
  }
}

const NEWLINE = 0x0a;
const BLOCK_BYTES = 64 * 1024;

/** What a power cut has torn nobody can read, nor the line that would follow it. @returns the length in bytes */
async function cutTornLine(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  const bytes = await endOfLastLine(file, size);
  if (bytes < size) await file.truncate(bytes);
  return bytes;
}

async function endOfLastLine(file: FileHandle, size: number): Promise<number> {
  const block = Buffer.alloc(Math.min(size, BLOCK_BYTES));
  for (let end = size; end > 0; end -= block.length) {
    const start = Math.max(0, end - block.length);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const at = block.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (at >= 0) return start + at + 1;
  }
  return 0;
}

/** Where results that a sink refused are kept for people. */
export function deadLetterFile(path: string): (sink: string, result: Result) => Promise<void> {
  const file = new FileSink({ path });
  return (sink, result) => file.put({ sink, result });
}
