/** File systems: which one a path is on, how large it is and what is free of it. */
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from '../../shared/runtime/errors.ts';

/** A file system, as an account without privileges may fill it. */
export interface Room {
  /** Which one: the same for all paths on it. */
  readonly id: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** The file system on which a path is, or would be. @throws as the system says */
export async function roomOf(path: string): Promise<Room> {
  for (let at = path; ; at = dirname(at)) {
    try {
      const [{ dev }, { bavail, blocks, bsize }] = await Promise.all([stat(at), statfs(at)]);
      return { id: String(dev), freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '') || at === dirname(at)) throw error;
    }
  }
}
