/**
 * Versions of Outrider on a device, each in a folder of its own: `current` and `previous` are links, switched in one step, so that
 * whatever dies in between leaves one whole version that starts. Others are removed.
 */
import { chmod, copyFile, link, lstat, readdir, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { readJson, syncFolder } from '../../shared/runtime/atomic-file.ts';
import { systemCode } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import type { Place } from './place.ts';
import { type Release, readRelease } from './release-folder.ts';
import { hasProgram, runSystem } from './system-command.ts';

const LINKS = ['current', 'previous', 'updater'] as const;

/** @returns folder of a version whose content is this release's, where it lies or is to lie */
async function folderFor({ versions }: Place, { version, digest }: Release): Promise<string> {
  const plain = join(versions, version);
  const there = await readIfThere(join(plain, 'manifest.json')).catch(() => undefined);
  const isOther = there !== undefined ? sha256Hex(there) !== digest : await exists(plain);
  // Made again under the same number: beside the one that may be running.
  return isOther ? join(versions, `${version}+${digest.slice(0, 8)}`) : plain;
}

/**
 * Puts a release into its folder, whole or not at all.
 *
 * @returns false where it lay there already
 */
export async function placeRelease(
  place: Place,
  release: Release,
): Promise<{ folder: string; isNew: boolean }> {
  const folder = await folderFor(place, release);
  if ((await isSame(folder, release)) && (await isWhole(folder, release))) return { folder, isNew: false };
  const part = `${folder}.part`;
  await rm(part, { recursive: true, force: true });
  try {
    await fill(part, release);
    // What is renamed before its content is on disk is an empty file after a power cut.
    if (await hasProgram('sync')) await runSystem('sync', ['-f', part]);
    await rm(folder, { recursive: true, force: true });
    await rename(part, folder);
  } catch (error) {
    await rm(part, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(place.versions);
  return { folder, isNew: true };
}

async function fill(part: string, release: Release): Promise<void> {
  const mayLink = await isSafeToLink(release.folder);
  for (const path of [...release.files.map((file) => file.path), 'manifest.json']) {
    const [from, to] = [join(release.folder, path), join(part, path)];
    await makeFolder(dirname(to), { mode: 0o755 });
    if (!(mayLink && (await linked(from, to)))) await copyFile(from, to);
    await chmod(to, (await stat(from)).mode & 0o111 ? 0o755 : 0o644);
  }
}

/** A card that wears out forgets: then the same release is put there again. */
const isWhole = (folder: string, release: Release): Promise<boolean> =>
  folder === release.folder
    ? Promise.resolve(true)
    : readRelease(folder).then(
        () => true,
        () => false,
      );

/** Points `current` at a version; what it pointed at becomes `previous`. @returns false where it pointed there already */
export async function switchTo(place: Place, folder: string): Promise<boolean> {
  const before = await nameOf(place.current);
  if (before === basename(folder)) return false;
  if (before !== undefined) await pointLink(place.previous, before);
  await pointLink(place.current, basename(folder));
  await syncFolder(place.versions);
  return true;
}

/** @returns where a link of the versions leads; undefined where there is none, or nothing behind it */
export async function versionBehind(
  place: Place,
  which: (typeof LINKS)[number],
): Promise<string | undefined> {
  const name = await nameOf(place[which]);
  const folder = name === undefined ? undefined : join(place.versions, name);
  return folder !== undefined && (await exists(folder)) ? folder : undefined;
}

/** @returns version number that stands in a folder's manifest; its name where that cannot be read */
export async function versionIn(folder: string): Promise<string> {
  const read = await readJson(join(folder, 'manifest.json'), z.object({ version: z.string() })).catch(
    () => undefined,
  );
  return read?.version ?? basename(folder);
}

/** Removes versions that no link leads to, and what broke off. @returns their names */
export async function prune(place: Place): Promise<string[]> {
  const kept = new Set<string>(LINKS);
  for (const which of LINKS) kept.add((await nameOf(place[which])) ?? '');
  const own = resolve(process.argv[1] ?? '/');
  const removed: string[] = [];
  for (const name of await readdir(place.versions)) {
    const folder = join(place.versions, name);
    // What still runs this very command is removed by who has unpacked it.
    if (kept.has(name) || own.startsWith(`${folder}/`)) continue;
    await rm(folder, { recursive: true, force: true });
    if (!name.startsWith('.')) removed.push(name);
  }
  return removed;
}

/** Makes a link lead elsewhere in one step. @param target as it is to stand in the link */
export async function pointLink(path: string, target: string): Promise<boolean> {
  if ((await readlink(path).catch(() => undefined)) === target) return false;
  await makeFolder(dirname(path), { mode: 0o755 });
  const aside = `${path}.part`;
  await rm(aside, { force: true });
  await symlink(target, aside);
  await rename(aside, path);
  return true;
}

const nameOf = async (path: string): Promise<string | undefined> => {
  const target = await readlink(path).catch(() => undefined);
  return target === undefined ? undefined : basename(target);
};

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}

async function isSame(folder: string, { digest }: Release): Promise<boolean> {
  const there = await readIfThere(join(folder, 'manifest.json')).catch(() => undefined);
  return there !== undefined && sha256Hex(there) === digest;
}

/** A file of somebody else's that has two names could be changed by them behind our back. */
async function isSafeToLink(folder: string): Promise<boolean> {
  const { uid, mode } = await stat(folder);
  return uid === process.getuid?.() && (mode & 0o022) === 0;
}

/** @returns false where the two lie on different disks, or their disk has no second names */
async function linked(from: string, to: string): Promise<boolean> {
  const { uid, mode } = await lstat(from);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) return false;
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (['EXDEV', 'EPERM', 'ENOTSUP', 'EMLINK'].includes(systemCode(error) ?? '')) return false;
    throw error;
  }
}
