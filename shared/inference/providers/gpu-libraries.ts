/**
 * ONNX Runtime's CUDA libraries of exactly our version, in a folder of their own below the data folder: `outrider gpu install` puts them
 * there, and runners find them by the loader's search path. The npm package has everything but them.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { digest } from '../../contract/names.ts';
import { readJson } from '../../runtime/atomic-file.ts';
import { AppError, toAppError } from '../../runtime/errors.ts';
import { ROOT } from '../../runtime/installation.ts';

/** File in the folder that lists what was put there; written last. */
export const GPU_MANIFEST = 'libraries.json';

/** What was put there, of which packages. */
const gpuManifest = z.object({
  onnxruntime: z.string(),
  platform: z.literal('linux-x64'),
  packages: z.array(z.object({ name: z.string(), version: z.string(), sha256: digest })),
  files: z.array(z.object({ name: z.string().regex(/^[\w.+-]+$/), bytes: z.int().min(0), sha256: digest })),
});
export type GpuManifest = z.infer<typeof gpuManifest>;

/** Libraries that are there and whole. */
export interface GpuLibraries {
  readonly folder: string;
  readonly manifest: GpuManifest;
}

/** Where they are, or why there are none that could be used. */
export type FoundLibraries = GpuLibraries | { readonly problem: string };

/** The folder for libraries of one version of ONNX Runtime. */
export const gpuFolder = (dataDir: string, version: string): string =>
  join(dataDir, 'gpu', `onnxruntime-${version}`);

/** Version of the npm package that runs graphs here. @throws FILE_UNREADABLE */
export async function runtimeVersion(): Promise<string> {
  const path = fileURLToPath(new URL('node_modules/onnxruntime-node/package.json', ROOT));
  const found = await readJson(path, z.object({ version: z.string() }));
  if (!found) throw new AppError('FILE_UNREADABLE', 'onnxruntime-node is not installed');
  return found.version;
}

/** ONNX Runtime's own library in the npm package, which has to lie beside its providers. */
export const runtimeLibrary = (): string =>
  fileURLToPath(new URL('node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1', ROOT));

/** Whether every file of the manifest is there in its size; their digests were checked when they were put there. */
export async function findGpuLibraries(dataDir: string): Promise<FoundLibraries> {
  try {
    const version = await runtimeVersion();
    const folder = gpuFolder(dataDir, version);
    const manifest = await readJson(join(folder, GPU_MANIFEST), gpuManifest);
    if (!manifest) return { problem: await whyNone(dataDir, version) };
    for (const { name, bytes } of manifest.files) {
      const found = await stat(join(folder, name)).catch(() => undefined);
      if (found?.size !== bytes) return { problem: `${join(folder, name)} is not whole` };
    }
    return { folder, manifest };
  } catch (error) {
    return { problem: toAppError(error).message };
  }
}

/** Another version's may be there: then this program has been upgraded since. */
async function whyNone(dataDir: string, version: string): Promise<string> {
  const others = (await readdir(join(dataDir, 'gpu')).catch(() => []))
    .map((name) => /^onnxruntime-([\d.]+)$/.exec(name)?.[1])
    .filter((one) => one !== undefined);
  return others.length === 0
    ? 'they are not installed'
    : `those of ONNX Runtime ${others.join(', ')} are installed, and this is ${version}`;
}
