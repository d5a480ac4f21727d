/** Small state files: written whole to a temporary name, fsynced, renamed; a reader sees the old or the new one, never a torn one. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ZodType } from 'zod';
import { diskPace } from './disk-pace.ts';
import { AppError, isDiskFull, systemCode } from './errors.ts';
import { makeFolder } from './make-folder.ts';
import { readIfThere } from './read-file.ts';

/**
 * Replaces a file atomically and durably.
 *
 * @throws DISK_FULL (the old file stays as it was)
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  mode = 0o644,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(4).toString('hex')}.tmp`);
  try {
    await makeFolder(folder);
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(content);
      await diskPace.timed(() => file.sync());
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw isDiskFull(error)
      ? new AppError('DISK_FULL', `no space to write ${path}`, { cause: error })
      : error;
  }
}

/** Makes the content of a file that is there durable. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await diskPace.timed(() => file.sync());
  } finally {
    await file.close();
  }
}

/** Makes names in a folder durable (after create, rename, delete). Not every platform can; those lose only the name. */
export async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    const opened = await open(folder, 'r');
    handle = opened;
    await diskPace.timed(() => opened.sync());
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EINVAL', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error;
  } finally {
    await handle?.close();
  }
}

/** Writes a JSON state file atomically. */
export async function writeJsonAtomic(path: string, value: unknown, mode?: number): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`, mode);
}

/**
 * Reads a JSON state file through its schema.
 *
 * @returns undefined when there is no such file
 * @throws FILE_UNREADABLE; DATA_CORRUPT when it is not JSON or not of the schema
 */
export async function readJson<T>(path: string, schema: ZodType<T>): Promise<T | undefined> {
  const bytes = await readIfThere(path);
  if (!bytes) return undefined;
  try {
    return schema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    throw new AppError('DATA_CORRUPT', `${path} is not a valid state file`, { cause: error });
  }
}
