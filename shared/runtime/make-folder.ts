/** Folders that are made where they are missing, with those above them; and why one cannot be made, as the system says it. */
import { mkdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { systemCode } from './errors.ts';

interface FolderOptions {
  /** Of each that is made; 0o777, less the umask, when left out. */
  readonly mode?: number;
}

/** @throws as the system says */
export async function makeFolder(path: string | Buffer, { mode }: FolderOptions = {}): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
  } catch (error) {
    const first = misnamed(error);
    if (first === undefined) throw error;
    await mkdir(first, mode).catch(unlessThere);
    await mkdir(path, { recursive: true, mode });
  }
}

/** The same, for what must not wait. @throws as the system says */
export function makeFolderSync(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    const first = misnamed(error);
    if (first === undefined) throw error;
    try {
      mkdirSync(first);
    } catch (reason) {
      unlessThere(reason);
    }
    mkdirSync(path, { recursive: true });
  }
}

/**
 * Node says ENOENT of the first folder that could not be made, whatever the system has said (EROFS of a read-only disk): made alone, it
 * gives the true reason.
 */
function misnamed(error: unknown): string | undefined {
  const { path } = error as { path?: unknown };
  return systemCode(error) === 'ENOENT' && typeof path === 'string' ? path : undefined;
}

/** Somebody else has made it meanwhile, or a link of its name leads nowhere: the whole of it says which. */
function unlessThere(reason: unknown): void {
  if (systemCode(reason) !== 'EEXIST') throw reason;
}
