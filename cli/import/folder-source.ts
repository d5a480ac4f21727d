/**
 * Models that are on this disk: a folder in Hugging Face's layout, or a bare ONNX file with the weights beside it. A folder may come
 * from anybody, and what is pulled is published: no link in it may bring in a file from elsewhere.
 */
import { constants } from 'node:fs';
import { copyFile, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { innerPath } from '../../shared/contract/names.ts';
import { describesGraph, type SourceFile } from '../../shared/release/import/choose-files.ts';
import { externalFilesOf } from '../../shared/release/import/graph-check.ts';
import type { ImportSource } from '../../shared/release/import/import-model.ts';
import { readOnnxGraph } from '../../shared/release/import/onnx-graph.ts';
import { AppError, isDiskFull, unreadable } from '../../shared/runtime/errors.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';

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
        const from = await fileOf(root, path);
        await makeFolder(dirname(to));
        // Shares the bytes where the file system can.
        await copyFile(from, to, constants.COPYFILE_FICLONE);
      } catch (error) {
        if (error instanceof AppError) throw error;
        if (isDiskFull(error)) throw new AppError('DISK_FULL', `no space for ${to}`, { cause: error });
        throw new AppError('FILE_UNREADABLE', `${join(root, path)} cannot be copied`, { cause: error });
      }
      onBytes(bytes);
    },
  };
}

/**
 * Where a file of the model really is. The cache of Hugging Face has links to its own `blobs`; any other link leads within the folder.
 *
 * @throws MODEL_INVALID for one that leads elsewhere, or what the system says
 */
async function fileOf(root: string, path: string): Promise<string> {
  const [folder, file] = await Promise.all([realpath(root), realpath(join(root, path))]);
  const [, cache] = CACHE_SNAPSHOT.exec(folder) ?? [];
  const places = [folder, ...(cache === undefined ? [] : [join(cache, 'blobs')])];
  if (places.some((place) => file.startsWith(`${place}${sep}`))) return file;
  const to = await readlink(join(root, path)).catch(() => file);
  throw new AppError(
    'MODEL_INVALID',
    `${path} is a link to ${to}, outside of the folder: only links into Hugging Face’s own cache are followed; put the file itself there`,
  );
}

/** `…/models--org--name/snapshots/<commit>`, or a folder in it. */
const CACHE_SNAPSHOT = /^(.+\/models--[^/]+)\/snapshots\/[^/]+(?:\/|$)/;

/** Names that cannot travel are passed over: nothing that is needed has one. @throws FILE_UNREADABLE, MODEL_INVALID */
async function list(root: string, prefix: string, depth: number, isChecked = true): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  const entries = await readdir(join(root, prefix), { withFileTypes: true }).catch((error: unknown) => {
    throw unreadable(join(root, prefix), error);
  });
  for (const { name } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = prefix === '' ? name : `${prefix}/${name}`;
    if (name.startsWith('.') || !innerPath.safeParse(path).success) continue;
    const entry = await stat(join(root, path)).catch(() => undefined);
    if (entry && isChecked) await fileOf(root, path);
    if (entry?.isFile()) found.push({ path, bytes: entry.size });
    else if (entry?.isDirectory() && depth > 1) found.push(...(await list(root, path, depth - 1)));
    if (found.length > MAX_FILES)
      throw new AppError('FILE_UNREADABLE', `${root} has over ${MAX_FILES} files: is it a model’s folder?`);
  }
  return found;
}

/** The file, the weights that it names, and what says beside it how it is used. */
async function beside(folder: string, file: string): Promise<SourceFile[]> {
  // Of a folder that is anything, its own files alone are looked at.
  const all = await list(folder, '', 1, false);
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
