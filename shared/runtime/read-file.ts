/** Files that may be missing. */
import { readFile } from 'node:fs/promises';
import { systemCode, unreadable } from './errors.ts';

/** @returns undefined when there is no such file @throws FILE_UNREADABLE */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw unreadable(path, error);
  }
}
