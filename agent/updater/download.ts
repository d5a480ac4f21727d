/**
 * Fetches the files of a signed version: what is here or has come before is gone on with, a difference to what is here is taken where that is
 * less, length and digest of the signed metadata are the law, and a source that trickles is given up (docs/design/link.md 4: a time-out for
 * the whole would kill an honest slow link).
 */
import { statfs } from 'node:fs/promises';
import type { VersionFile } from '../../shared/contract/admin.ts';
import type { BlobStore } from '../../shared/release/blob-store.ts';
import {
  consistentPath,
  type Delta,
  deltaPath,
  type Release,
  targetPath,
} from '../../shared/release/release.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import { steady } from '../../shared/runtime/steady.ts';
import type { UpdateSource } from '../ports.ts';
import type { FileRoute } from './fetch-plan.ts';

/** Makes a file of a delta, in a process of its own. @throws DELTA_INVALID, DISK_FULL, STOPPING */
export type ApplyDelta = (
  files: {
    readonly base: string;
    readonly delta: string;
    readonly out: string;
    readonly resultBytes: number;
  },
  limits: { readonly signal: AbortSignal; readonly timeoutMs: number },
) => Promise<void>;

/** Source, place and end of a download. */
export interface DownloadParts {
  readonly source: Pick<UpdateSource, 'open'>;
  readonly blobs: BlobStore;
  /** On the same disk as the blobs. */
  readonly folder: string;
  readonly applyDelta: ApplyDelta;
  /** Where content that is here lies. */
  readonly held: ReadonlyMap<string, string>;
  readonly clock: Clock;
  /** Bytes that have just come over the link. */
  readonly onBytes: (bytes: number) => void;
  /** Slows down what comes. */
  readonly pace: (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
  /** A delta has made what it is for. */
  readonly onApplied: (delta: Delta) => void;
  /** A delta is of no use: the whole file comes in its place. */
  readonly onRefused: (delta: Delta, error: AppError) => Promise<void>;
  readonly signal: AbortSignal;
}

/** The files, and as much again for whatever else the device writes meanwhile. */
const SPACE_FACTOR = 2;
/** A device that is busy with other things makes 1 MB a second; a minute for a short one. */
const applyMs = ({ resultBytes }: Delta): number => 60_000 + resultBytes / 1_000;

/** How much of the version has come before, in bytes. */
export async function presentBytes(files: readonly VersionFile[], blobs: BlobStore): Promise<number> {
  let present = 0;
  for (const { sha256 } of files) present += (await blobs.size(sha256)) ?? (await blobs.partialBytes(sha256));
  return present;
}

/**
 * Downloads what is missing of a version: all of its files are there, checked, when it returns.
 *
 * @throws DISK_FULL, DOWNLOAD_INCOMPLETE, MODEL_DIGEST_MISMATCH, HUB_UNREACHABLE, STOPPING
 */
export async function download(
  release: Release,
  routes: readonly FileRoute[],
  parts: DownloadParts,
): Promise<void> {
  const missing = routes.reduce((sum, route) => sum + bytesOf(route), 0);
  const { bavail, bsize } = await statfs(parts.folder);
  if (missing * SPACE_FACTOR > bavail * bsize)
    throw new AppError(
      'DISK_FULL',
      `${missing} bytes are to come, and ${bavail * bsize} are free; twice as many are needed`,
    );
  const byDigest = new Map(routes.map((route) => [route.file.sha256, route]));
  for (const file of release.files) {
    const { deltas = [] } = byDigest.get(file.sha256) ?? {};
    if ((await parts.blobs.size(file.sha256)) !== undefined) continue;
    if (deltas.length > 0 && (await makeOf(deltas, file, parts))) continue;
    await fetchWhole(whole(release, file), parts);
  }
}

/** On the disk: the file, and what it is made of. */
const bytesOf = ({ file, deltas }: FileRoute): number =>
  deltas.slice(0, -1).reduce((sum, { resultBytes }) => sum + resultBytes, file.bytes) +
  deltas.reduce((sum, { bytes }) => sum + bytes, 0);

/** A signed target. */
export interface Target {
  readonly name: string;
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
}

const whole = ({ ref }: Release, { path, sha256, bytes }: VersionFile): Target => ({
  ...{ name: path, sha256, bytes },
  path: consistentPath(targetPath(ref, path), sha256),
});

const differenceOf = (delta: Delta): Target => ({
  name: `the difference ${delta.sha256.slice(0, 12)}`,
  path: consistentPath(deltaPath(delta), delta.sha256),
  sha256: delta.sha256,
  bytes: delta.bytes,
});

/** Makes the file of what is here. @returns whether it is there now; a delta that fails is refused, and told */
async function makeOf(deltas: readonly Delta[], file: VersionFile, parts: DownloadParts): Promise<boolean> {
  const { blobs, held, applyDelta, signal } = parts;
  const between = deltas.slice(0, -1).map(({ result }) => result);
  for (const delta of deltas) {
    let came = 0;
    try {
      const base = held.get(delta.base) ?? blobs.path(delta.base);
      await fetchWhole(differenceOf(delta), {
        ...parts,
        onBytes: (bytes) => {
          came += bytes;
          parts.onBytes(bytes);
        },
      });
      await blobs.produce(delta.result, (out) =>
        applyDelta(
          { base, delta: blobs.path(delta.sha256), out, resultBytes: delta.resultBytes },
          { signal, timeoutMs: applyMs(delta) },
        ),
      );
      await blobs.remove(delta.sha256);
      parts.onApplied(delta);
    } catch (thrown) {
      const error = toAppError(thrown);
      // A link that is away, or broke off on the way, comes again, and the delta goes on where it ended.
      const isLinks =
        isAppError(error, 'HUB_UNREACHABLE') ||
        isAppError(error, 'NAME_UNRESOLVED') ||
        isAppError(error, 'STOPPING') ||
        (isAppError(error, 'DOWNLOAD_INCOMPLETE') && came > 0);
      if (isLinks || isAppError(error, 'DISK_FULL')) throw error;
      for (const sha256 of [delta.sha256, ...between]) await blobs.remove(sha256);
      await parts.onRefused(delta, error);
      return false;
    }
  }
  for (const sha256 of between) await blobs.remove(sha256);
  return (await blobs.size(file.sha256)) !== undefined;
}

/** Brings one target whole; goes on where it ended. @throws as `download` */
export async function fetchWhole(
  target: Target,
  parts: Pick<DownloadParts, 'source' | 'blobs' | 'clock' | 'onBytes' | 'pace' | 'signal'>,
): Promise<void> {
  const { blobs, source, pace, signal } = parts;
  const { name, path, sha256, bytes } = target;
  if ((await blobs.size(sha256)) !== undefined) return;
  let offset = await blobs.partialBytes(sha256);
  // Longer than what is signed: not of this file.
  if (offset > bytes) offset = 0;
  if (offset < bytes || bytes === 0) {
    const came = steady(await source.open(path, offset, signal), parts);
    const now = await blobs.append(sha256, offset, pace(came), bytes).catch((error: unknown) => {
      throw isAppError(error, 'INPUT_TOO_LARGE')
        ? new AppError('MODEL_DIGEST_MISMATCH', `${name} is longer than its signed ${bytes} bytes`)
        : error;
    });
    if (now < bytes)
      throw new AppError('DOWNLOAD_INCOMPLETE', `${name} broke off after ${now} of ${bytes} bytes`);
  }
  await blobs.finish(sha256).catch((error: unknown) => {
    throw error instanceof AppError && error.code === 'MODEL_DIGEST_MISMATCH'
      ? new AppError('MODEL_DIGEST_MISMATCH', `${name}: ${error.message}`, { cause: error })
      : error;
  });
}
