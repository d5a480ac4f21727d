/**
 * Captures on disk: a log of lines, each on disk before anybody counts on it, and the inputs by their digest.
 *
 * input (fsynced, renamed) -> its line (fsynced)          killed between: an input without a line, swept at the next start
 * line that it is gone     -> its input, its folder       killed between: likewise
 *
 * What is erased leaves the log as well: it is written anew without it, and renamed.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { AppendFile } from '../../shared/runtime/append-file.ts';
import { syncFolder } from '../../shared/runtime/atomic-file.ts';
import { diskPace } from '../../shared/runtime/disk-pace.ts';
import { AppError, isDiskFull } from '../../shared/runtime/errors.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { decodeLine, encodeLine, type Held, heldOf, type LogLine, type StoredCapture } from './record.ts';

const LOG_FILE = 'captures.ndjson';

/** The log and the inputs of captures. Calls must not overlap. */
export class CaptureFiles {
  readonly #folder: string;
  readonly #log: AppendFile;
  readonly #inputs: BlobStore;

  constructor(folder: string) {
    this.#folder = folder;
    this.#inputs = new BlobStore(join(folder, 'inputs'));
    this.#log = new AppendFile({
      path: this.#path,
      maxBytes: Number.MAX_SAFE_INTEGER,
      mode: 0o600,
      isDurable: true,
    });
  }

  get #path(): string {
    return join(this.#folder, LOG_FILE);
  }

  /** Bytes of the log, with lines that say nothing any more. */
  get logBytes(): number {
    return this.#log.bytes;
  }

  /**
   * What an earlier run has left: whole captures, in the order in which they came.
   *
   * @returns how many lines could not be read
   */
  async load(
    take: (held: Held) => void,
    drop: (id: string) => void,
    recount: (line: Extract<LogLine, { seen: unknown }>['seen']) => void,
  ): Promise<number> {
    await makeFolder(this.#folder, { mode: 0o700 });
    await rm(`${this.#path}.new`, { force: true });
    await this.#log.open();
    let [offset, unreadable] = [0, 0];
    for await (const text of linesOf(this.#path)) {
      const length = text.length + 1;
      const line = decodeLine(text.toString('utf8'));
      if (!line) unreadable++;
      else if ('put' in line) take(heldOf(line.put, { offset, length }));
      else if ('gone' in line) for (const id of line.gone) drop(id);
      else recount(line.seen);
      offset += length;
    }
    return unreadable;
  }

  /** Removes inputs that no capture needs. @returns the digests that are there */
  async sweep(isNeeded: (sha256: string) => boolean): Promise<Set<string>> {
    const there = await this.#inputs.list();
    const needed = new Set(there.filter(isNeeded));
    await this.#inputs.sweep(needed);
    return needed;
  }

  /** On disk under their digests when it returns; several cost hardly more than one. @throws DISK_FULL */
  async putInputs(inputs: ReadonlyMap<string, Uint8Array>): Promise<void> {
    if (inputs.size === 0) return;
    const paths = Array.from(inputs, ([sha256, body]) => ({ path: this.#inputs.path(sha256), body }));
    try {
      await Promise.all(paths.map(({ path, body }) => writeInput(path, body)));
      await Promise.all([...new Set(paths.map(({ path }) => dirname(path)))].map(syncFolder));
      await syncFolder(join(this.#folder, 'inputs'));
    } catch (error) {
      throw isDiskFull(error) ? new AppError('DISK_FULL', undefined, { cause: error }) : error;
    }
  }

  /** All on disk when it returns. @returns where each is @throws DISK_FULL */
  async append(lines: readonly LogLine[]): Promise<Held['at'][]> {
    const encoded = lines.map(encodeLine);
    const all = Buffer.concat(encoded);
    await this.#log.append(all);
    let offset = this.#log.bytes - all.length;
    return encoded.map(({ length }) => {
      offset += length;
      return { offset: offset - length, length };
    });
  }

  /** Its bytes are gone when it returns. */
  async removeInput(sha256: string): Promise<void> {
    await this.#inputs.remove(sha256);
    await syncFolder(dirname(this.#inputs.path(sha256))).catch(() => undefined);
  }

  inputPath(sha256: string): string {
    return this.#inputs.path(sha256);
  }

  /** @throws DATA_CORRUPT */
  async read({ at: { offset, length }, record: { id } }: Held): Promise<StoredCapture> {
    const file = await open(this.#path, 'r');
    try {
      const line = decodeLine((await piece(file, offset, length)).toString('utf8'));
      if (line && 'put' in line && line.put.id === id) return line.put;
    } finally {
      await file.close();
    }
    throw new AppError('DATA_CORRUPT', 'the log of captures is damaged');
  }

  /** Writes the log anew with these alone; the old one stays as it is until the new one is on disk. @throws DISK_FULL */
  async rewrite(kept: Iterable<Held>): Promise<void> {
    const path = `${this.#path}.new`;
    const places: [Held, Held['at']][] = [];
    let offset = 0;
    try {
      const from = await open(this.#path, 'r');
      const to = await open(path, 'w', 0o600);
      try {
        for (const held of kept) {
          const line = decodeLine((await piece(from, held.at.offset, held.at.length)).toString('utf8'));
          if (!line || !('put' in line)) continue;
          const bytes = encodeLine({
            put: { ...line.put, seen: held.record.seen, weight: held.record.weight },
          });
          await to.appendFile(bytes);
          places.push([held, { offset, length: bytes.length }]);
          offset += bytes.length;
        }
        await diskPace.timed(() => to.sync());
      } finally {
        await Promise.all([from.close(), to.close()]);
      }
      await this.#log.close();
      await rename(path, this.#path);
      await syncFolder(this.#folder);
      await this.#log.open();
    } catch (error) {
      await rm(path, { force: true });
      throw isDiskFull(error) ? new AppError('DISK_FULL', undefined, { cause: error }) : error;
    }
    for (const [held, at] of places) held.at = at;
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}

async function piece(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
  return buffer.subarray(0, bytesRead);
}

/** Whole and fsynced before it has its name. */
async function writeInput(path: string, body: Uint8Array): Promise<void> {
  await makeFolder(dirname(path), { mode: 0o700 });
  const file = await open(`${path}.part`, 'w', 0o600);
  try {
    await file.writeFile(body);
    await diskPace.timed(() => file.datasync());
  } finally {
    await file.close();
  }
  await rename(`${path}.part`, path);
}

const NEWLINE = 0x0a;

/** Lines of a file, without their ends. Of bytes: a text may have ends of lines of its own (U+2028). */
async function* linesOf(path: string): AsyncGenerator<Buffer> {
  let begun: Buffer[] = [];
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      yield Buffer.concat([...begun, chunk.subarray(from, end)]);
      begun = [];
      from = end + 1;
    }
    if (from < chunk.length) begun.push(chunk.subarray(from));
  }
}
