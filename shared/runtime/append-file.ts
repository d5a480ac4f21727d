/**
 * A file that records are appended to. What a crash or a full disk has torn is cut off before the next record, since nobody could
 * read it, nor what would follow it; a full file is put aside. Appends follow each other in the order in which they were asked for.
 * Others may rename, delete or truncate the file (logrotate): each record goes to the file that has the name when it is written.
 * A pipe or a device of that name is written to without waiting: where nobody reads, the record is not taken.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { diskPace } from './disk-pace.ts';
import { AppError, isDiskFull, systemCode } from './errors.ts';
import { makeFolder } from './make-folder.ts';
import { SerialQueue } from './serial-queue.ts';

/** File that records go to, its size, and how its whole records are found again. */
export interface AppendFileOptions {
  readonly path: string;
  /** Of one file; a record that is larger has one of its own. */
  readonly maxBytes: number;
  /** Of a new file; 0o666, less the umask, when left out. */
  readonly mode?: number;
  /** Waits for the disk at each append. */
  readonly isDurable?: true;
  /** Where the last whole record ends, in bytes; the last line when left out. */
  readonly wholeBytes?: (file: FileHandle) => Promise<number>;
  /** Frees the path; to `{path}.1`, over the one before, when left out. */
  readonly putAside?: (path: string) => Promise<void>;
}

/** Append-only file of records, repaired after a torn write and put aside when it is full. */
export class AppendFile {
  readonly #o: AppendFileOptions;
  readonly #queue = new SerialQueue();
  #file: FileHandle | undefined;
  #bytes = 0;
  /** A record that failed may still be in the file, as a whole, and comes again: known bytes hold, whatever is found. */
  #isTorn = false;
  /** Which file it is, whatever it is called. */
  #inode = '';
  /** No regular file: nothing of it can be read, cut off or put aside. */
  #isStream = false;
  /** A stream has taken a part of a record, and nobody can take that back: what comes next begins a line of its own. */
  #endsWithin = false;

  constructor(options: AppendFileOptions) {
    this.#o = options;
  }

  /** Of whole records. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Makes the file and its folder where they are missing. @throws DISK_FULL, or as the system says */
  open(): Promise<void> {
    return this.#queue.run(async () => {
      await this.#opened();
    });
  }

  /** @param bytes whole records @throws DISK_FULL, or as the system says: then nothing of it is in the file */
  append(bytes: Uint8Array): Promise<void> {
    return this.#queue.run(() => this.#append(bytes));
  }

  /** Puts the file aside, where it has a record. */
  rotate(): Promise<void> {
    return this.#queue.run(() => this.#rotate());
  }

  /** The next append opens it again. */
  close(): Promise<void> {
    return this.#queue.run(() => this.#close());
  }

  async #append(bytes: Uint8Array): Promise<void> {
    try {
      await this.#lookForOthers();
      await this.#opened();
      // Before the record, not after it: what is written must not fail any more, or it would come again.
      if (this.#bytes + bytes.length > this.#o.maxBytes) await this.#rotate();
      const file = await this.#opened();
      this.#isTorn = true;
      await (this.#isStream ? this.#pour(file, bytes) : file.appendFile(bytes));
      if (this.#o.isDurable) await diskPace.timed(() => file.datasync());
      this.#bytes += bytes.length;
      this.#isTorn = false;
    } catch (error) {
      await this.#close().catch(() => undefined);
      throw isDiskFull(error)
        ? new AppError('DISK_FULL', `no space for ${this.#o.path}`, { cause: error })
        : error;
    }
  }

  /** @throws CONNECTION_LOST where it did not take all */
  async #pour(file: FileHandle, bytes: Uint8Array): Promise<void> {
    const rest = this.#endsWithin ? Buffer.concat([NEWLINE_BYTES, bytes]) : bytes;
    // As much of a line as a pipe takes at once is whole, or not taken. pipe(7)
    const { bytesWritten } = await file.write(rest);
    this.#endsWithin = bytesWritten < rest.length;
    if (this.#endsWithin)
      throw new AppError('CONNECTION_LOST', `${this.#o.path}: it is not read fast enough`);
  }

  /** Another file may have the name by now, or none, or this one may be shorter. */
  async #lookForOthers(): Promise<void> {
    if (!this.#file) return;
    const named = await stat(this.#o.path).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (!named || inodeOf(named) !== this.#inode) await this.#close();
    else this.#bytes = Math.min(this.#bytes, named.size);
  }

  async #rotate(): Promise<void> {
    if (this.#bytes === 0) return;
    await this.#close();
    const { path, putAside = (from) => rename(from, `${from}.1`) } = this.#o;
    await putAside(path);
    this.#bytes = 0;
    await this.#opened();
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (this.#isTorn && file) {
      // Never longer: somebody else may have cut it, and what lay between would be NULs.
      const { size } = await file.stat();
      if (size > this.#bytes) await file.truncate(this.#bytes).catch(() => undefined);
    }
    await file?.close();
  }

  async #opened(): Promise<FileHandle> {
    if (this.#file) return this.#file;
    const { path, mode, wholeBytes = endOfLastLine } = this.#o;
    await makeFolder(dirname(path));
    const file = await openAppending(path, mode);
    try {
      const now = await file.stat();
      const inode = inodeOf(now);
      this.#isStream = !now.isFile();
      if (this.#isStream) {
        this.#endsWithin &&= inode === this.#inode;
        this.#inode = inode;
        this.#bytes = 0;
        this.#isTorn = false;
        this.#file = file;
        return file;
      }
      const found = await wholeBytes(file);
      this.#bytes = this.#isTorn && inode === this.#inode ? Math.min(found, this.#bytes) : found;
      this.#inode = inode;
      if ((await file.stat()).size > this.#bytes) await file.truncate(this.#bytes);
      this.#isTorn = false;
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#file = file;
    return file;
  }
}

const inodeOf = ({ dev, ino }: { readonly dev: number; readonly ino: number }): string => `${dev}:${ino}`;

/** Not even a pipe that nobody reads is waited for. @throws as the system says (ENXIO: nobody reads the pipe) */
async function openAppending(path: string, mode: number | undefined): Promise<FileHandle> {
  const found = await stat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  const { O_APPEND, O_CREAT, O_RDWR, O_WRONLY } = constants;
  const access = found === undefined || found.isFile() ? O_RDWR | O_CREAT : O_WRONLY;
  return open(path, access | O_APPEND | (constants.O_NONBLOCK ?? 0), mode);
}

const NEWLINE = 0x0a;
const NEWLINE_BYTES = Uint8Array.of(NEWLINE);
const BLOCK_BYTES = 64 * 1024;

async function endOfLastLine(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  const block = Buffer.alloc(Math.min(size, BLOCK_BYTES));
  for (let end = size; end > 0; end -= block.length) {
    const start = Math.max(0, end - block.length);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const at = block.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (at >= 0) return start + at + 1;
  }
  return 0;
}
