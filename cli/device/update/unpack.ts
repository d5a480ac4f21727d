/**
 * Unpacks an archive of `outrider release` as root, who must not be led out of a folder: plain files and folders below one name, of no more
 * bytes and files than the signed metadata and a manifest allow; a link, a device, a path with `..` ends it. (ustar, POSIX.1-1988.)
 */
import { createReadStream } from 'node:fs';
import { constants, type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { AppError, isDiskFull } from '../../../shared/runtime/errors.ts';
import { makeFolder } from '../../../shared/runtime/make-folder.ts';

const BLOCK = 512;
const MAX_ENTRIES = 100_000;
/** The manifest, and the headers of the archive: beside what the manifest counts. */
const BESIDE_BYTES = 64 * 1024 * 1024;
const FILE_TYPES = ['0', '\0'];
const FOLDER_TYPE = '5';

/** One entry as its header has it. */
interface Entry {
  /** Without the one folder that all are in; empty: that folder itself. */
  readonly path: string;
  readonly type: string;
  readonly size: number;
  readonly isExecutable: boolean;
}

/**
 * @param to an empty folder of root's
 * @param maxBytes of all files together, manifest not counted
 * @throws RELEASE_INVALID, DISK_FULL
 */
export async function unpack(archive: string, to: string, maxBytes: number): Promise<void> {
  const blocks = new Blocks(archive, maxBytes + BESIDE_BYTES);
  try {
    let top: string | undefined;
    for (let entries = 0; ; entries++) {
      const header = await blocks.take(BLOCK);
      // Two empty blocks end it; whatever comes after them is nothing of ours.
      if (!header || header.every((byte) => byte === 0)) return;
      if (entries >= MAX_ENTRIES) throw invalid(`has over ${MAX_ENTRIES} entries`);
      const { name, ...entry } = entryOf(header);
      top ??= name.split('/', 1)[0];
      await put({ ...entry, path: innerOf(name, top ?? '') }, to, blocks);
    }
  } catch (error) {
    if (isDiskFull(error)) throw new AppError('DISK_FULL', undefined, { cause: error });
    throw error instanceof AppError ? error : invalid('cannot be unpacked', error);
  } finally {
    blocks.close();
  }
}

const invalid = (why: string, cause?: unknown): AppError =>
  new AppError('RELEASE_INVALID', `the archive ${why}`, { cause });

async function put({ path, type, size, isExecutable }: Entry, to: string, blocks: Blocks): Promise<void> {
  const target = join(to, path);
  if (type === FOLDER_TYPE) return makeFolder(target, { mode: 0o755 });
  if (!FILE_TYPES.includes(type) || path === '')
    throw invalid(`has ${path || 'an entry'} that is neither file nor folder`);
  await makeFolder(dirname(target), { mode: 0o755 });
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(target, flags, isExecutable ? 0o755 : 0o644);
  try {
    await fill(file, size, blocks);
  } finally {
    await file.close();
  }
}

async function fill(file: FileHandle, size: number, blocks: Blocks): Promise<void> {
  for (let left = size; left > 0; ) {
    const chunk = await blocks.take(Math.min(left, 1 << 16));
    if (!chunk) throw invalid('is torn');
    await file.writeFile(chunk);
    left -= chunk.length;
  }
  await blocks.take((BLOCK - (size % BLOCK)) % BLOCK);
}

function entryOf(block: Buffer): Omit<Entry, 'path'> & { readonly name: string } {
  const text = (from: number, length: number): string =>
    block.toString('utf8', from, from + length).replace(/\0.*$/s, '');
  const number = (from: number, length: number): number =>
    Number.parseInt(text(from, length).trim() || '0', 8);
  let sum = 8 * 32;
  for (const [at, byte] of block.entries()) if (at < 148 || at >= 156) sum += byte;
  const size = number(124, 12);
  if (sum !== number(148, 8) || !Number.isSafeInteger(size) || size < 0) throw invalid('is no tar archive');
  const prefix = text(345, 155);
  return {
    name: prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`,
    type: block.toString('latin1', 156, 157),
    size,
    isExecutable: (number(100, 8) & 0o111) !== 0,
  };
}

/** Path below the one folder that everything is in. @throws RELEASE_INVALID where it would be elsewhere */
function innerOf(name: string, top: string): string {
  const parts = name.replace(/\/$/, '').split('/');
  const isPlain = parts.every(
    (part) => part !== '' && part !== '.' && part !== '..' && !/[\\\p{Cc}]/u.test(part),
  );
  if (!isPlain || parts[0] !== top) throw invalid('has a path out of its folder');
  return parts.slice(1).join('/');
}

/** Bytes of the archive in pieces of a wanted size, up to a bound. */
class Blocks {
  readonly #source: ReturnType<typeof createReadStream>;
  readonly #gunzip = createGunzip();
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #maxBytes: number;
  #held: Buffer = Buffer.alloc(0);
  #seen = 0;

  constructor(path: string, maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#source = createReadStream(path);
    this.#source.on('error', (error) => this.#gunzip.destroy(error)).pipe(this.#gunzip);
    this.#chunks = (this.#gunzip as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** So many bytes; undefined where the archive ends before. */
  async take(bytes: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let has = 0;
    while (has < bytes) {
      if (this.#held.length === 0) {
        const { value, done } = await this.#chunks.next();
        if (done) return undefined;
        this.#seen += value.length;
        if (this.#seen > this.#maxBytes) throw invalid(`unpacks to over ${this.#maxBytes} bytes`);
        this.#held = value;
      }
      const part = this.#held.subarray(0, bytes - has);
      this.#held = this.#held.subarray(part.length);
      parts.push(part);
      has += part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  close(): void {
    this.#source.destroy();
    this.#gunzip.destroy();
  }
}
