/** Files that may be missing. */
import { readFile } from 'node:fs/promises';
import { AppError, systemCode } from './errors.ts';

/** @returns undefined when there is no such file @throws FILE_UNREADABLE */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new AppError('FILE_UNREADABLE', `${path} cannot be read`, { cause: error });
  }
}
