/**
 * Folder with archives of `outrider release` for devices, each with its digest beside it. An archive is listed once its content is what
 * the digest says: one that is still being copied, or is torn, is not; a link is nobody's release.
 */
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  newestReleaseFirst,
  type ReleaseRecord,
  releasePlatform,
  releaseRecord,
} from '../../shared/contract/releases.ts';
import { readArchiveManifest } from '../../shared/release/agent/archive-manifest.ts';
import { AppError, systemCode } from '../../shared/runtime/errors.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { ReleaseShelf } from '../ports.ts';

/** More would only be found by a person who has forgotten a folder. */
const MAX_ARCHIVES = 64;
const MAX_DIGEST_FILE_BYTES = 1_024;

interface Looked {
  /** Of both files, when they were looked at. */
  readonly stamp: string;
  /** undefined: it is not to be served. */
  readonly record: ReleaseRecord | undefined;
}

/** Releases in a folder, looked at anew whenever a file of it has changed. */
export class ReleaseFolder implements ReleaseShelf {
  readonly #folder: string;
  readonly #logger: Logger;
  readonly #looked = new Map<string, Looked>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(folder: string, logger: Logger) {
    this.#folder = folder;
    this.#logger = logger;
  }

  async list(): Promise<ReleaseRecord[]> {
    const names = await readdir(this.#folder).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return [];
      throw error;
    });
    const archives = names
      .filter((name) => releaseRecord.shape.file.safeParse(name).success)
      .slice(0, MAX_ARCHIVES);
    for (const name of this.#looked.keys()) if (!archives.includes(name)) this.#looked.delete(name);
    const records = [];
    for (const name of archives) records.push(await this.#recordOf(name));
    return records.filter((one) => one !== undefined).sort(newestFirst);
  }

  async find(file: string): Promise<(ReleaseRecord & { readonly path: string }) | undefined> {
    const found = (await this.list()).find((one) => one.file === file);
    return found && { ...found, path: join(this.#folder, found.file) };
  }

  /** One archive at a time: each is read whole once. */
  #recordOf(name: string): Promise<ReleaseRecord | undefined> {
    const next = this.#last.then(() => this.#look(name));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #look(name: string): Promise<ReleaseRecord | undefined> {
    const path = join(this.#folder, name);
    const stamp = `${await stampOf(path)} ${await stampOf(`${path}.sha256`)}`;
    const before = this.#looked.get(name);
    if (before?.stamp === stamp) return before.record;
    const record = await this.#read(name, path).catch((error: unknown) => {
      this.#logger.failure('releases.not_served', error, { file: name });
      return undefined;
    });
    this.#looked.set(name, { stamp, record });
    return record;
  }

  async #read(file: string, path: string): Promise<ReleaseRecord> {
    for (const one of [path, `${path}.sha256`])
      if (!(await lstat(one)).isFile()) throw new AppError('NOT_A_FILE', `${one} is no file`);
    const { size } = await lstat(`${path}.sha256`);
    const said = size > MAX_DIGEST_FILE_BYTES ? '' : (await readFile(`${path}.sha256`, 'utf8')).slice(0, 64);
    const sha256 = await fileSha256(path);
    if (sha256 !== said)
      throw new AppError(
        'RELEASE_INVALID',
        `${path} differs from ${path}.sha256: it is not whole, or another one`,
      );
    const {
      version,
      platform,
      node,
      bytes,
      dataFormat,
      sha256: manifestSha256,
    } = await readArchiveManifest(path);
    const facts = {
      file,
      version,
      platform,
      bytes: (await lstat(path)).size,
      sha256,
      unpackedBytes: bytes,
      manifestSha256,
      node,
      ...(dataFormat !== undefined && { dataFormat }),
    };
    return releaseRecord.parse(facts);
  }
}

async function stampOf(path: string): Promise<string> {
  const found = await lstat(path).catch(() => undefined);
  return found === undefined ? '-' : `${found.ino}:${found.size}:${found.mtimeMs}`;
}

function newestFirst(one: ReleaseRecord, other: ReleaseRecord): number {
  const order = releasePlatform.options;
  return (
    order.indexOf(one.platform) - order.indexOf(other.platform) ||
    newestReleaseFirst(one.version, other.version) ||
    (one.file < other.file ? -1 : 1)
  );
}
