/** Models that are on this disk: a folder in Hugging Face's layout, or a bare ONNX file with the weights beside it. */
import { constants } from 'node:fs';
import { copyFile, mkdir, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { innerPath } from '../../shared/contract/names.ts';
import { describesGraph, type SourceFile } from '../../shared/release/import/choose-files.ts';
import { externalFilesOf } from '../../shared/release/import/graph-check.ts';
import type { ImportSource } from '../../shared/release/import/import-model.ts';
import { readOnnxGraph } from '../../shared/release/import/onnx-graph.ts';
import { AppError, isDiskFull } from '../../shared/runtime/errors.ts';

/** Nobody's model is deeper; a home folder is. */
const MAX_DEPTH = 4;
const MAX_FILES = 5_000;

/** @throws FILE_UNREADABLE */
export async function folderSource(path: string): Promise<ImportSource> {
  const found = await stat(path).catch((error: unknown) => {
    throw new AppError('FILE_UNREADABLE', `there is no ${path}`, { cause: error });
  });
  if (found.isDirectory())
    return source(path, resolve(path), basename(resolve(path)), () => list(resolve(path), '', MAX_DEPTH));
  if (!path.toLowerCase().endsWith('.onnx'))
    throw new AppError('FILE_UNREADABLE', `${path} is neither a folder nor an .onnx file`);
  const folder = dirname(resolve(path));
  return source(path, folder, basename(path).replace(/\.onnx$/i, ''), () => beside(folder, basename(path)));
}

function source(
  title: string,
  root: string,
  suggestedName: string,
  files: () => Promise<SourceFile[]>,
): ImportSource {
  return {
    title,
    suggestedName,
    list: files,
    async fetch({ path, bytes }, folder, onBytes) {
      const to = join(folder, path);
      try {
        await mkdir(dirname(to), { recursive: true });
        // Shares the bytes where the file system can; follows links, as those of the hub's cache.
        await copyFile(join(root, path), to, constants.COPYFILE_FICLONE);
      } catch (error) {
        if (isDiskFull(error)) throw new AppError('DISK_FULL', `no space for ${to}`, { cause: error });
        throw new AppError('FILE_UNREADABLE', `${join(root, path)} cannot be copied`, { cause: error });
      }
      onBytes(bytes);
    },
  };
}

/** Names that cannot travel are passed over: nothing that is needed has one. */
async function list(root: string, prefix: string, depth: number): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  const entries = await readdir(join(root, prefix), { withFileTypes: true }).catch((error: unknown) => {
    throw new AppError('FILE_UNREADABLE', `${join(root, prefix)} cannot be read`, { cause: error });
  });
  for (const { name } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = prefix === '' ? name : `${prefix}/${name}`;
    if (name.startsWith('.') || !innerPath.safeParse(path).success) continue;
    const entry = await stat(join(root, path)).catch(() => undefined);
    if (entry?.isFile()) found.push({ path, bytes: entry.size });
    else if (entry?.isDirectory() && depth > 1) found.push(...(await list(root, path, depth - 1)));
    if (found.length > MAX_FILES)
      throw new AppError('FILE_UNREADABLE', `${root} has over ${MAX_FILES} files: is it a model’s folder?`);
  }
  return found;
}

/** The file, the weights that it names, and what says beside it how it is used. */
async function beside(folder: string, file: string): Promise<SourceFile[]> {
  const all = await list(folder, '', 1);
  const own = all.filter(({ path }) => path === file || describesGraph(path));
  if (own.some(({ path }) => path === file)) return [...own, ...(await weightsOf(folder, file))];
  throw new AppError('FILE_UNREADABLE', `“${file}” is a name that cannot travel; call it model.onnx`);
}

/** Those that are there; what is missing, the import says. @throws MODEL_INVALID */
async function weightsOf(folder: string, file: string): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  for (const path of externalFilesOf(file, await readOnnxGraph(join(folder, file)))) {
    const entry = await stat(join(folder, path)).catch(() => undefined);
    if (entry?.isFile()) found.push({ path, bytes: entry.size });
  }
  return found;
}
