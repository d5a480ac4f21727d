/**
 * A model folder on disk: reads and checks its `outrider.json`, verifies the recorded digests, and says which version it is.
 * Nothing here loads a model.
 */
import { lstat, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import pMap, { pMapSkip } from 'p-map';
import type { VersionFile } from '../../contract/admin.ts';
import { MAX_BLOB_BYTES, MAX_VERSION_BYTES, MAX_VERSION_FILES } from '../../contract/limits.ts';
import { innerPath } from '../../contract/names.ts';
import { AppError, isAppError, systemCode, unreadable } from '../../runtime/errors.ts';
import { fileSha256 } from '../../runtime/file-digest.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import { type ModelSpec, modelSpec } from './model-spec.ts';

/** File name of our description in a model folder. */
export const SPEC_FILE = 'outrider.json';

/** A checked folder. */
export interface ModelFolder {
  readonly path: string;
  readonly spec: ModelSpec;
  /** SHA-256 over the lines `<hex> <path>\n` of the files that a runner reads, 64 hex digits. */
  readonly digest: string;
  /** SHA-256 of each of those files, 64 hex digits, by its path. */
  readonly digests: ReadonlyMap<string, string>;
  /** Size of those files together. */
  readonly bytes: number;
}

/** Files that travel with a model but do not change what it answers. */
const TRAVELS_ONLY = /^(README|LICENSE|NOTICE)/i;

/**
 * Opens a model folder, reading every file that counts once.
 *
 * @throws MODEL_INVALID (no outrider.json, a bad field, a missing file, a link) or MODEL_DIGEST_MISMATCH
 */
export const openModelFolder = async (path: string): Promise<ModelFolder> =>
  openDescribed(path, await readSpec(path));

async function openDescribed(path: string, spec: ModelSpec): Promise<ModelFolder> {
  const paths = (await listFiles(path, '')).filter((file) => counts(file, spec));
  const bytes = await boundedBytes(path, paths);
  const digests = new Map<string, string>();
  for (const file of paths) digests.set(file, await fileSha256(join(path, file)));
  for (const [file, expected] of Object.entries(spec.files)) {
    const actual = digests.get(file);
    if (actual === undefined)
      throw new AppError('MODEL_INVALID', `${basename(path)}: ${file} is named in ${SPEC_FILE} but missing`);
    if (actual !== expected) {
      throw new AppError(
        'MODEL_DIGEST_MISMATCH',
        `${basename(path)}: ${file} has SHA-256 ${actual}, recorded is ${expected}`,
      );
    }
  }
  for (const graph of [spec.model, ...spec.graphs]) {
    if (!(graph in spec.files))
      throw new AppError('MODEL_INVALID', `${basename(path)}: ${graph} has no SHA-256 in ${SPEC_FILE}`);
  }
  return { path, spec, digest: versionDigest(digests), digests, bytes };
}

/** Looked at before they are read, which takes minutes for what is too large. @returns their bytes together @throws MODEL_INVALID */
async function boundedBytes(folder: string, files: readonly string[]): Promise<number> {
  const tooLarge = (what: string, limit: number) =>
    new AppError('MODEL_INVALID', `${basename(folder)}: ${what}; the limit is ${limit}`);
  if (files.length > MAX_VERSION_FILES)
    throw tooLarge(`it has ${files.length} files that a version would hold`, MAX_VERSION_FILES);
  let bytes = 0;
  for (const file of files) {
    const { size } = await lstat(join(folder, file));
    if (size > MAX_BLOB_BYTES) throw tooLarge(`${file} has ${size} bytes`, MAX_BLOB_BYTES);
    bytes += size;
  }
  if (bytes > MAX_VERSION_BYTES) throw tooLarge(`its files have ${bytes} bytes together`, MAX_VERSION_BYTES);
  return bytes;
}

/**
 * Everything that travels with this version: what a runner reads, and what people read. Hidden files and the variants of other
 * versions stay where they are. A folder that has been opened is not read again.
 *
 * @throws MODEL_INVALID (a file that counts has a name that cannot travel)
 */
export async function versionFilesOf({
  path,
  spec,
  digests,
}: Pick<ModelFolder, 'path' | 'spec'> & Partial<Pick<ModelFolder, 'digests'>>): Promise<VersionFile[]> {
  const files: VersionFile[] = [];
  for (const file of (await listFiles(path, '')).sort()) {
    const isRead = counts(file, spec);
    if (!isRead && !TRAVELS_ONLY.test(basename(file))) continue;
    if (!innerPath.safeParse(file).success) {
      if (!isRead) continue;
      throw new AppError('MODEL_INVALID', `${basename(path)}: ${file} has a name that cannot be published`);
    }
    const { size } = await lstat(join(path, file));
    const sha256 = digests?.get(file) ?? (await fileSha256(join(path, file)));
    files.push({ path: file, sha256, bytes: size });
  }
  return files;
}

/** The digest of the version that these files, as `versionFilesOf` gives them, are. */
export const digestOf = (files: readonly VersionFile[], spec: ModelSpec): string =>
  versionDigest(
    new Map(files.filter(({ path }) => counts(path, spec)).map(({ path, sha256 }) => [path, sha256])),
  );

/** The digest of a version from its files' digests, byte-sorted by path. */
function versionDigest(digests: ReadonlyMap<string, string>): string {
  const lines = [...digests]
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([file, hex]) => `${hex} ${file}\n`);
  return sha256Hex(lines.join(''));
}

/**
 * Reads the `outrider.json` of a folder and checks its form; digests are not looked at.
 *
 * @throws MODEL_INVALID naming each field that is wrong
 */
export async function readSpec(path: string): Promise<ModelSpec> {
  const file = join(path, SPEC_FILE);
  let json: unknown;
  try {
    const { size } = await lstat(file);
    if (size > MAX_SPEC_BYTES)
      throw new AppError('MODEL_INVALID', `${file} has ${size} bytes; the limit is ${MAX_SPEC_BYTES}`);
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (isAppError(error)) throw error;
    throw new AppError('MODEL_INVALID', `${path}: ${whyUnread(error)}`, { cause: error });
  }
  const parsed = modelSpec.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'top'}: ${issue.message}`);
  throw new AppError('MODEL_INVALID', `${path}/${SPEC_FILE}: ${problems.join('; ')}`);
}

/** With hundreds of golden texts in it. */
const MAX_SPEC_BYTES = 16 * 1024 * 1024;

function whyUnread(error: unknown): string {
  if (error instanceof SyntaxError) return `${SPEC_FILE} is no JSON: ${error.message}`;
  return systemCode(error) === 'ENOENT' ? `has no ${SPEC_FILE}` : `${SPEC_FILE} cannot be read`;
}

/** A variant that outrider.json does not name is another version's file, and so are the weights beside it. */
function counts(file: string, spec: Pick<ModelSpec, 'model' | 'graphs'>): boolean {
  if (file.split('/').some((part) => part.startsWith('.'))) return false;
  if (TRAVELS_ONLY.test(basename(file))) return false;
  const graph = EXTERNAL_DATA.exec(file)?.[1] ?? file;
  return !graph.endsWith('.onnx') || graph === spec.model || spec.graphs.includes(graph);
}

/** Weights outside of their graph, as exporters name them: `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`. */
const EXTERNAL_DATA = /^(.+\.onnx)[._]data(?:_\d+)?$/;

/** Of a folder that can be a model's: other versions' variants lie there, too. */
const MAX_LISTED = 10_000;

const refused = (root: string, file: string, why: string): AppError =>
  new AppError('MODEL_INVALID', `${basename(root)}: ${file} ${why}`);

async function listFiles(root: string, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(root, prefix), { withFileTypes: true })) {
    const file = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await listFiles(root, file)));
    else if (entry.isFile()) found.push(file);
    else throw refused(root, file, `is ${entry.isSymbolicLink() ? 'a link' : 'neither a file nor a folder'}`);
    // What Node puts where bytes are no UTF-8: no name of a file by which it can be opened.
    if (entry.name.includes('\ufffd')) throw refused(root, file, 'has a name that is no UTF-8');
    if (found.length > MAX_LISTED) throw refused(root, file, `is one of over ${MAX_LISTED} files`);
  }
  return found;
}

/**
 * Finds the model folders below a directory (each with an outrider.json, at most two levels down), by name.
 * A folder that is not valid is reported, never the reason to miss the others; so is a model of Hugging Face's without our file.
 *
 * @param isWanted by its name; of others only the description is read, which takes no time
 */
export async function findModelFolders(
  root: string,
  onInvalid: (path: string, error: unknown) => void,
  isWanted: (name: string) => boolean = () => true,
): Promise<ModelFolder[]> {
  const openOne = async (path: string): Promise<ModelFolder | typeof pMapSkip> => {
    try {
      const spec = await readSpec(path);
      return isWanted(spec.name) ? await openDescribed(path, spec) : pMapSkip;
    } catch (error) {
      onInvalid(path, error);
      return pMapSkip;
    }
  };
  const paths = await specFolders(root, MAX_DEPTH);
  const opened = await pMap(paths, openOne, { concurrency: FOLDERS_AT_A_TIME });
  return opened.sort((a, b) => a.spec.name.localeCompare(b.spec.name));
}

/** Reading one waits for the disk most of the time. */
export const FOLDERS_AT_A_TIME = 4;
/** `org/name`, as on Hugging Face. */
const MAX_DEPTH = 2;
const HUGGING_FACE_FILE = 'config.json';

async function specFolders(root: string, depth: number): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch((error: unknown) => {
    throw unreadable(`the models folder ${root}`, error);
  });
  const has = (name: string): boolean => entries.some((entry) => entry.name === name);
  if (has(SPEC_FILE) || (depth < MAX_DEPTH && has(HUGGING_FACE_FILE))) return [root];
  if (depth === 0) return [];
  const below = entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => specFolders(join(root, entry.name), depth - 1));
  return (await Promise.all(below)).flat();
}
