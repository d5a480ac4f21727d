/**
 * Fetches the files of a signed version: what has come before is gone on with, length and digest of the signed metadata are the
 * law, and a source that trickles is given up (docs/design/link.md 4: a time-out for the whole would kill an honest slow link).
 */
import { statfs } from 'node:fs/promises';
import type { VersionFile } from '../../shared/contract/admin.ts';
import type { BlobStore } from '../../shared/release/blob-store.ts';
import { consistentPath, type Release, targetPath } from '../../shared/release/release.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { steady } from '../../shared/runtime/steady.ts';
import type { UpdateSource } from '../ports.ts';

/** Source, place and end of a download; `onBytes` hears of progress. */
export interface DownloadParts {
  readonly source: Pick<UpdateSource, 'open'>;
  readonly blobs: BlobStore;
  /** On the same disk as the blobs. */
  readonly folder: string;
  readonly clock: Clock;
  /** Bytes that have just come. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** The files, and as much again for whatever else the device writes meanwhile. */
const SPACE_FACTOR = 2;

/** How much of the version has come before, in bytes. */
export async function presentBytes(files: readonly VersionFile[], blobs: BlobStore): Promise<number> {
  let present = 0;
  for (const { sha256 } of files) present += (await blobs.size(sha256)) ?? (await blobs.partialBytes(sha256));
  return present;
}

/**
 * Downloads a version: all of its files are there, checked, when it returns.
 *
 * @throws DISK_FULL, DOWNLOAD_INCOMPLETE, MODEL_DIGEST_MISMATCH, HUB_UNREACHABLE, STOPPING
 */
export async function download(release: Release, parts: DownloadParts): Promise<void> {
  const { blobs, folder } = parts;
  const total = release.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const missing = total - (await presentBytes(release.files, blobs));
  const { bavail, bsize } = await statfs(folder);
  if (missing * SPACE_FACTOR > bavail * bsize)
    throw new AppError(
      'DISK_FULL',
      `${missing} bytes are to come, and ${bavail * bsize} are free; twice as many are needed`,
    );
  for (const file of release.files) await fetchFile(release, file, parts);
}

async function fetchFile(release: Release, file: VersionFile, parts: DownloadParts): Promise<void> {
  const { blobs, source, signal } = parts;
  const { sha256, bytes } = file;
  if ((await blobs.size(sha256)) !== undefined) return;
  let offset = await blobs.partialBytes(sha256);
  // Longer than what is signed: not of this file.
  if (offset > bytes) offset = 0;
  if (offset < bytes || bytes === 0) {
    const path = consistentPath(targetPath(release.ref, file.path), sha256);
    const came = await source.open(path, offset, signal);
    const now = await blobs.append(sha256, offset, steady(came, parts), bytes).catch((error: unknown) => {
      throw error instanceof AppError && error.code === 'INPUT_TOO_LARGE'
        ? new AppError('MODEL_DIGEST_MISMATCH', `${file.path} is longer than its signed ${bytes} bytes`)
        : error;
    });
    if (now < bytes)
      throw new AppError('DOWNLOAD_INCOMPLETE', `${file.path} broke off after ${now} of ${bytes} bytes`);
  }
  await blobs.finish(sha256).catch((error: unknown) => {
    throw error instanceof AppError && error.code === 'MODEL_DIGEST_MISMATCH'
      ? new AppError('MODEL_DIGEST_MISMATCH', `${file.path}: ${error.message}`, { cause: error })
      : error;
  });
}
