/**
 * Files that others write: what one looks like now, and its bytes where it is a regular file that did not change while it was read.
 * Nothing here waits for a writer: a pipe is opened without waiting, and never read.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { AppError, systemCode } from '../../shared/runtime/errors.ts';

type Path = string | Buffer;

/** What a file looked like. */
export interface Look {
  readonly kind: 'file' | 'folder' | 'other';
  readonly bytes: number;
  /** Another one: the content may be another. */
  readonly mark: string;
  /** Another one: what the file system says of it is another (rights, names). */
  readonly changedAtMs: number;
  readonly writtenAtMs: number;
  /** Which file it is, whatever it is called. */
  readonly inode: string;
}

/** @returns undefined where there is nothing @throws as the system says */
export async function lookAt(path: Path): Promise<Look | undefined> {
  try {
    return lookOf(await stat(path));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * The whole file.
 *
 * @returns undefined when it is gone, or somebody wrote to it meanwhile
 * @throws INPUT_TOO_LARGE, NOT_A_FILE, or as the system says
 */
export async function readWhole(
  path: Path,
  maxBytes: number,
): Promise<{ readonly body: Buffer; readonly look: Look } | undefined> {
  const file = await openRegular(path);
  if (!file) return undefined;
  try {
    const before = lookOf(await file.stat());
    if (before.bytes > maxBytes) throw new AppError('INPUT_TOO_LARGE', `${path} is over ${maxBytes} bytes`);
    const body = Buffer.alloc(before.bytes);
    let bytes = 0;
    while (bytes < body.length) {
      const { bytesRead } = await file.read(body, bytes, body.length - bytes, bytes);
      if (bytesRead === 0) return undefined;
      bytes += bytesRead;
    }
    const after = lookOf(await file.stat());
    return after.mark === before.mark ? { body, look: after } : undefined;
  } finally {
    await file.close();
  }
}

/** @returns undefined where there is nothing @throws NOT_A_FILE, or as the system says */
export async function openRegular(path: Path): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return undefined;
    // A socket. open(2)
    if (code === 'ENXIO' || code === 'EISDIR') throw new AppError('NOT_A_FILE', `${path} is no file`);
    throw error;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new AppError('NOT_A_FILE', `${path} is no file`);
}

/** Marks of a file by which a change of it is seen. */
export function lookOf(stats: Stats): Look {
  return {
    kind: stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other',
    bytes: stats.size,
    mark: `${stats.size}:${stats.mtimeMs}`,
    changedAtMs: stats.ctimeMs,
    writtenAtMs: stats.mtimeMs,
    inode: `${stats.dev}:${stats.ino}`,
  };
}
