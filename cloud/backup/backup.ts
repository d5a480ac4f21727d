/**
 * Copies what a hub knows while it runs. Nothing has to hold still: each file of the hub is replaced whole or only appended to, and
 * they are copied in an order in which what comes later may know more, never less:
 *
 * signed metadata and keys -> records -> all else -> blobs
 *
 * A version that is recorded and not listed in the copy is listed again when a hub starts on it; one that were listed and not recorded
 * would have its number given to another.
 */
import { copyFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { digest } from '../../shared/contract/names.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { readJson, syncFile, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError, isDiskFull, systemCode } from '../../shared/runtime/errors.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import {
  BLOBS_FOLDER,
  filesBelow,
  MANIFEST_FILE,
  type Manifest,
  RECORDS_FILE,
  readManifest,
} from './manifest.ts';

/** What was backed up. */
export interface Backup {
  readonly hubId: string;
  /** The hub's own files. */
  readonly files: number;
  /** Of model versions. */
  readonly blobs: {
    readonly count: number;
    readonly bytes: number;
    readonly copiedBytes: number;
    /** Recorded, and not there on the hub either. */
    readonly missing: number;
  };
}

/** First what must not know more than the records do. */
const FIRST = ['tuf/', RECORDS_FILE];
/**
 * Left out: what is made again from the rest (`models`, `deltas`), what belongs to a run (`address.json`), and inputs and answers of requests
 * (`replies`, `set-aside`), which a device asks for again, or which must be gone once they are erased (`captures`, `training`).
 */
const LEFT_OUT =
  /^(models|blobs|deltas|replies|set-aside|captures|training)\/|^(address|restored)\.json$|\.(bak|tmp|part)$/;
/** A file that the hub has removed since it was listed: what takes its place is in the next try. */
const TRIES = 5;

/** Of the records only what a backup has to know. */
const records = z.object({
  hubId: z.string(),
  models: z.record(
    z.string(),
    z.array(
      z.object({ files: z.array(z.object({ sha256: digest, bytes: z.int().nonnegative() })).default([]) }),
    ),
  ),
});

/**
 * @param hub the hub's own folder
 * @param to made where it is missing; one that holds a backup of this hub is brought up to date
 * @throws FILE_UNREADABLE (no hub there), CONFLICT (`to` holds something else), DATA_CORRUPT, DISK_FULL
 */
export async function backUp(
  { hub, to }: { readonly hub: string; readonly to: string },
  { nowAtMs, onBlob = () => undefined }: { readonly nowAtMs: number; onBlob?: (bytes: number) => void },
): Promise<Backup> {
  const before = await previous(to);
  await makeFolder(to, { mode: 0o700 });
  const state = `state-${nowAtMs}`;
  const copy = await copyState(hub, join(to, state));
  if (before && before.hubId !== copy.hubId)
    throw new AppError('CONFLICT', `${to} holds a backup of ${before.hubId}, and this is ${copy.hubId}`);
  const { there, ...blobs } = await copyBlobs(hub, to, copy.blobs, onBlob);
  const manifest: Manifest = {
    ...{ schema: 1, outrider: VERSION, hubId: copy.hubId, createdAtMs: nowAtMs, state },
    files: copy.files,
    blobs: Object.fromEntries(there),
  };
  await writeJsonAtomic(join(to, MANIFEST_FILE), manifest, 0o600);
  await forgetOlder(to, manifest);
  return { hubId: copy.hubId, files: Object.keys(copy.files).length, blobs };
}

/** The backup that is there. @throws CONFLICT where something else is */
async function previous(to: string): Promise<Manifest | undefined> {
  const names = await readdir(to).catch((error: unknown): string[] => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  if (names.includes(MANIFEST_FILE)) return readManifest(to);
  // What is left of one that was cut off is none of a stranger's.
  if (names.every((name) => name === BLOBS_FOLDER || name.startsWith('state-'))) return undefined;
  throw new AppError('CONFLICT', `${to} is not empty, and holds no backup: choose a folder of its own`);
}

interface StateCopy {
  readonly hubId: string;
  readonly files: Record<string, string>;
  readonly blobs: ReadonlyMap<string, number>;
}

async function copyState(hub: string, to: string): Promise<StateCopy> {
  for (let tried = 1; ; tried++) {
    await rm(to, { recursive: true, force: true });
    try {
      return await tryToCopyState(hub, to);
    } catch (error) {
      if (isDiskFull(error)) throw new AppError('DISK_FULL', `no space for ${to}`, { cause: error });
      if (systemCode(error) !== 'ENOENT' || tried === TRIES) throw error;
    }
  }
}

async function tryToCopyState(hub: string, to: string): Promise<StateCopy> {
  const found = (await filesBelow(hub)).filter((path) => !LEFT_OUT.test(path));
  if (!found.includes(RECORDS_FILE))
    throw new AppError('FILE_UNREADABLE', `there is no hub in ${dirname(hub)}: name its folder with --data`);
  const rank = (path: string): number => {
    const index = FIRST.findIndex((first) => path.startsWith(first));
    return index === -1 ? FIRST.length : index;
  };
  const files: Record<string, string> = {};
  for (const path of found.sort((a, b) => rank(a) - rank(b))) {
    const target = join(to, path);
    await makeFolder(dirname(target), { mode: 0o700 });
    await copyFile(join(hub, path), target);
    await syncFile(target);
    files[path] = await fileSha256(target);
  }
  const { hubId, models } = await recordsIn(join(to, RECORDS_FILE));
  const versions = Object.values(models).flat();
  const blobs = new Map(versions.flatMap((one) => one.files.map(({ sha256, bytes }) => [sha256, bytes])));
  return { hubId, files, blobs };
}

/** @throws DATA_CORRUPT */
async function recordsIn(path: string): Promise<z.infer<typeof records>> {
  const found = await readJson(path, records);
  if (!found) throw new AppError('INVARIANT_BROKEN', `${path} was copied, and is not there`);
  return found;
}

async function copyBlobs(
  hub: string,
  to: string,
  wanted: ReadonlyMap<string, number>,
  onBlob: (bytes: number) => void,
): Promise<Backup['blobs'] & { readonly there: ReadonlyMap<string, number> }> {
  const [from, store] = [new BlobStore(join(hub, BLOBS_FOLDER)), new BlobStore(join(to, BLOBS_FOLDER))];
  const there = new Map<string, number>();
  let [bytes, copiedBytes] = [0, 0];
  for (const [sha256, size] of wanted) {
    if ((await store.size(sha256)) === undefined) {
      if ((await from.size(sha256)) === undefined) continue;
      await store.takeIn(sha256, from.path(sha256));
      copiedBytes += size;
    }
    there.set(sha256, size);
    bytes += size;
    onBlob(size);
  }
  return { count: there.size, bytes, copiedBytes, missing: wanted.size - there.size, there };
}

/** What the backups before this one had, and this one has not. */
async function forgetOlder(to: string, { state, blobs }: Manifest): Promise<void> {
  for (const name of await readdir(to))
    if (name.startsWith('state-') && name !== state)
      await rm(join(to, name), { recursive: true, force: true });
  await new BlobStore(join(to, BLOBS_FOLDER)).sweep(new Set(Object.keys(blobs)));
}
