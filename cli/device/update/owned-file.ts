/**
 * Reads files of the agent's user as root, who could be led anywhere: only a plain file, of that user, of a bounded size counts. What such
 * a path leads to by links is then nothing that this user could not read himself; what is waited for (a FIFO) is never opened for long.
 */
import { constants, type FileHandle, open } from 'node:fs/promises';
import type { z } from 'zod';
import { AppError, systemCode } from '../../../shared/runtime/errors.ts';

/** Who has to own it, and how large it may be, in bytes. */
export interface OwnedBy {
  readonly uid: number;
  readonly maxBytes: number;
}

/** @returns undefined where there is none @throws RELEASE_INVALID (not a file of this user, too large) */
export async function openOwned(path: string, { uid, maxBytes }: OwnedBy): Promise<FileHandle | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined;
    throw new AppError('RELEASE_INVALID', `${path} is no plain file`, { cause: error });
  });
  if (!file) return undefined;
  const found = await file.stat();
  if (found.isFile() && found.uid === uid && found.size <= maxBytes) return file;
  await file.close();
  throw new AppError(
    'RELEASE_INVALID',
    found.size > maxBytes
      ? `${path} is over ${maxBytes} bytes`
      : `${path} is no plain file of the agent’s user`,
  );
}

/** Its bytes; undefined where there is none. @throws RELEASE_INVALID */
export async function readOwned(path: string, by: OwnedBy): Promise<Buffer | undefined> {
  const file = await openOwned(path, by);
  if (!file) return undefined;
  try {
    const bytes = Buffer.alloc(by.maxBytes + 1);
    let at = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, at);
      at += bytesRead;
      if (bytesRead === 0) return bytes.subarray(0, at);
      // It may grow while it is read.
      if (at > by.maxBytes) throw new AppError('RELEASE_INVALID', `${path} is over ${by.maxBytes} bytes`);
    }
  } finally {
    await file.close();
  }
}

/** JSON in it; undefined where there is none. @throws RELEASE_INVALID */
export async function readOwnedJson<T>(
  path: string,
  schema: z.ZodType<T>,
  by: OwnedBy,
): Promise<T | undefined> {
  const bytes = await readOwned(path, by);
  if (!bytes) return undefined;
  try {
    return schema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw new AppError('RELEASE_INVALID', `${path} is not of the expected form`, { cause });
  }
}
