/**
 * A backup as it lies on disk, readable by nobody but its owner, because the hub's keys are in it:
 *
 * backup.json   what belongs to the backup, each with its digest; written last, so that a backup is whole or the one before
 * state-<ms>/   the hub's small files, as they were
 * blobs/        files of model versions by their SHA-256, as on the hub: a later backup into the same folder adds what is new
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { deviceId, digest, innerPath } from '../../shared/contract/names.ts';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import { AppError, systemCode } from '../../shared/runtime/errors.ts';

/** File that says what belongs to a backup. */
export const MANIFEST_FILE = 'backup.json';
/** Folder of blobs, in a backup and in a hub. */
export const BLOBS_FOLDER = 'blobs';
/** The hub's records among its files. */
export const RECORDS_FILE = 'hub.json';

/** What belongs to a backup. */
const manifest = z.object({
  schema: z.literal(1),
  /** Version of Outrider that made it. */
  outrider: z.string(),
  hubId: deviceId,
  createdAtMs: z.number(),
  /** Name of the folder that holds the small files. */
  state: z.string().regex(/^state-\d+$/),
  /** SHA-256 of each, by its path there. */
  files: z.record(innerPath, digest),
  /** Sizes in bytes of the blobs, by SHA-256. */
  blobs: z.record(digest, z.int().nonnegative()),
});
export type Manifest = z.infer<typeof manifest>;

/** @throws FILE_UNREADABLE where there is no backup, DATA_CORRUPT */
export async function readManifest(folder: string): Promise<Manifest> {
  const found = await readJson(join(folder, MANIFEST_FILE), manifest);
  if (found) return found;
  throw new AppError('FILE_UNREADABLE', `there is no backup in ${folder}: it has no ${MANIFEST_FILE}`);
}

/** Files below a folder, by their paths there; none where there is no folder. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();
}
