/** A release on this machine, as an archive or unpacked: each file checked against the manifest before anything of it is installed. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { ROOT } from '../../shared/runtime/installation.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import { mustRun } from './system-command.ts';

/** A name below the release's folder: no way out of it. */
const innerPath = z
  .string()
  .min(1)
  .max(1_024)
  .refine(
    (path) =>
      !path.startsWith('/') && !path.split('/').some((one) => one === '' || one === '..' || one === '.'),
  );

/** `manifest.json`, as `outrider release` writes it. */
const manifest = z.object({
  name: z.literal('outrider'),
  version: z.string().regex(/^\d+\.\d+\.\d+[0-9A-Za-z.+-]{0,40}$/),
  platform: z.string(),
  /** Version of the Node that came with it. */
  node: z.string().nullable(),
  models: z.array(z.string()).max(1_000),
  bytes: z.number(),
  files: z
    .array(
      z.object({ path: innerPath, bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
    )
    .min(1)
    .max(100_000),
});

/** Release whose files are what its manifest says. */
export interface Release extends z.infer<typeof manifest> {
  readonly folder: string;
  /** Of its manifest: two of one version with another content differ in it. */
  readonly digest: string;
}

/** No file that an installation needs is missing from an honest release. */
const NEEDED = ['bin/outrider', 'bin/outrider.mjs', 'package.json', 'deploy/systemd/outrider-agent.service'];
const UNPACK_WITHIN_MS = 10 * 60_000;

/** The release that this program is part of. */
export const OWN_RELEASE = fileURLToPath(ROOT);

/**
 * Opens a release, unpacked first where it is an archive.
 *
 * @param source a folder or a `.tar.gz`
 * @param unpackIn folder for what is unpacked, on the file system where it will stay
 * @throws RELEASE_INVALID, INSTALL_IMPOSSIBLE (no tar)
 */
export async function openRelease(
  source: string,
  unpackIn: string,
): Promise<Release & { readonly cleanUp: () => Promise<void> }> {
  const path = resolve(source);
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new AppError('RELEASE_INVALID', `there is no release at ${path}`);
  if (found.isDirectory()) return { ...(await readRelease(path)), cleanUp: async () => undefined };
  await checkBesideDigest(path);
  await makeFolder(unpackIn);
  const folder = await mkdtemp(join(unpackIn, '.incoming-'));
  const cleanUp = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await mustRun('tar', ['-xzf', path, '-C', folder, '--no-same-owner'], UNPACK_WITHIN_MS).catch(
      (error: unknown) => {
        throw new AppError('RELEASE_INVALID', `${path} cannot be unpacked`, { cause: error });
      },
    );
    const [only, ...others] = await readdir(folder);
    if (only === undefined || others.length > 0)
      throw new AppError('RELEASE_INVALID', `${path} is no archive of outrider release`);
    return { ...(await readRelease(join(folder, only))), cleanUp };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** Where the digest lies beside the archive, as it does where `outrider release` has written both. */
async function checkBesideDigest(path: string): Promise<void> {
  const beside = (await readIfThere(`${path}.sha256`))?.toString('utf8').slice(0, 64);
  if (beside !== undefined && (await fileSha256(path)) !== beside)
    throw new AppError('RELEASE_INVALID', `${path} differs from the digest in ${path}.sha256`);
}

/** Reads an unpacked release and checks all of its files. @throws RELEASE_INVALID naming the first that is wrong */
export async function readRelease(folder: string): Promise<Release> {
  const path = join(folder, 'manifest.json');
  const text = await readIfThere(path);
  if (!text)
    throw new AppError(
      'RELEASE_INVALID',
      `${folder} is no release, it has no manifest.json: make one with outrider release, and unpack that`,
    );
  const read = await readJson(path, manifest).catch(() => undefined);
  if (!read) throw new AppError('RELEASE_INVALID', `${path} is no manifest of this program`);
  const missing = NEEDED.find((name) => !read.files.some((file) => file.path === name));
  if (missing !== undefined)
    throw new AppError('RELEASE_INVALID', `${folder} has no ${missing}: it cannot be installed`);
  for (const file of read.files) await checkFile(folder, file);
  return { ...read, folder, digest: sha256Hex(text) };
}

async function checkFile(folder: string, file: Release['files'][number]): Promise<void> {
  const path = join(folder, file.path);
  const digest = await fileSha256(path).catch(() => undefined);
  if (digest === file.sha256) return;
  const what = digest === undefined ? 'cannot be read' : 'differs from its manifest';
  throw new AppError('RELEASE_INVALID', `${path} ${what}: unpack the release again`);
}
