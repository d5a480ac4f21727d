/** Brings a hub back from a backup: whole, each file checked, in the place of none; and tells the hub's next start that it was away. */
import { copyFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { readJson, syncFile, syncFolder, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError, isDiskFull, systemCode } from '../../shared/runtime/errors.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { BLOBS_FOLDER, type Manifest, readManifest } from './manifest.ts';

const RESTORED_FILE = 'restored.json';
const restored = z.object({ atMs: z.number() });

/**
 * @param from the folder of a backup
 * @param hub the folder that becomes the hub's own
 * @throws FILE_UNREADABLE (no backup there), CONFLICT (a hub is there), DATA_CORRUPT, MODEL_DIGEST_MISMATCH, DISK_FULL
 */
export async function restoreHub(
  { from, hub }: { readonly from: string; readonly hub: string },
  { nowAtMs, onBlob = () => undefined }: { readonly nowAtMs: number; onBlob?: (bytes: number) => void },
): Promise<Manifest> {
  const manifest = await readManifest(from);
  if (await stat(hub).catch(() => undefined))
    throw new AppError(
      'CONFLICT',
      `there is a hub in ${dirname(hub)} already: move ${hub} away, or name another folder with --data`,
    );
  const made = `${hub}.restoring`;
  try {
    await rm(made, { recursive: true, force: true });
    await copyFiles(join(from, manifest.state), made, manifest.files);
    const [source, store] = [
      new BlobStore(join(from, BLOBS_FOLDER)),
      new BlobStore(join(made, BLOBS_FOLDER)),
    ];
    for (const [sha256, bytes] of Object.entries(manifest.blobs)) {
      await store.takeIn(sha256, source.path(sha256));
      onBlob(bytes);
    }
    await writeJsonAtomic(join(made, RESTORED_FILE), { atMs: nowAtMs }, 0o600);
    await rename(made, hub);
    await syncFolder(dirname(hub));
    return manifest;
  } catch (error) {
    await rm(made, { recursive: true, force: true }).catch(() => undefined);
    if (isDiskFull(error)) throw new AppError('DISK_FULL', `no space for ${made}`, { cause: error });
    if (systemCode(error) === 'ENOENT')
      throw new AppError('DATA_CORRUPT', `the backup in ${from} is not whole`, { cause: error });
    throw error;
  }
}

async function copyFiles(from: string, to: string, files: Manifest['files']): Promise<void> {
  await makeFolder(to, { mode: 0o700 });
  for (const [path, expected] of Object.entries(files)) {
    const target = join(to, path);
    await makeFolder(dirname(target), { mode: 0o700 });
    await copyFile(join(from, path), target);
    await syncFile(target);
    if ((await fileSha256(target)) !== expected)
      throw new AppError('DATA_CORRUPT', `${path} of the backup is not as it was written`);
  }
}

/** Whether this hub has come back from a backup, and has not told devices yet. */
export const wasRestored = async (hub: string): Promise<boolean> =>
  (await readJson(join(hub, RESTORED_FILE), restored)) !== undefined;

/** Devices can go on from what is signed now. */
export const settleRestored = (hub: string): Promise<void> => rm(join(hub, RESTORED_FILE), { force: true });
