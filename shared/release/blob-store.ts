/**
 * Files by their SHA-256, on the hub and on devices. What is on its way lies as `<digest>.part` and may be gone on with after any
 * crash; a blob has its name only once its digest has been checked and it is on disk. A version's folder is made of hard links to
 * its blobs, in one rename: it is there whole or not at all.
 */
import {
  chmod,
  constants,
  copyFile,
  type FileHandle,
  link,
  open,
  readdir,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { VersionFile } from '../contract/admin.ts';
import { syncFile, syncFolder } from '../runtime/atomic-file.ts';
import { AppError, isDiskFull, systemCode } from '../runtime/errors.ts';
import { fileSha256 } from '../runtime/file-digest.ts';
import { makeFolder } from '../runtime/make-folder.ts';
import { OneAtATime } from '../runtime/one-at-a-time.ts';

/** Content-addressed store: files by their SHA-256, each there whole and checked or not at all. */
export class BlobStore {
  readonly #folder: string;
  /** By digest: two that send the same must not write into each other's. */
  readonly #writing = new OneAtATime();

  /** @param folder made when it is first needed */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where the blob is, or would be. */
  path(sha256: string): string {
    return join(this.#folder, sha256.slice(0, 2), sha256);
  }

  /** Its size in bytes; undefined when it is not there whole. */
  async size(sha256: string): Promise<number | undefined> {
    return sizeOf(this.path(sha256));
  }

  /** How much of it has come so far. */
  async partialBytes(sha256: string): Promise<number> {
    return (await sizeOf(this.#part(sha256))) ?? 0;
  }

  /**
   * Goes on with a blob from `offset`. What is there already is written over, never cut off: somebody else may be sending the same.
   * Not yet on disk for sure when it returns.
   *
   * @returns how much there is now; a source that fails leaves what has come
   * @throws INPUT_TOO_LARGE (more than `maxBytes` in all; the partial blob is removed), PRECONDITION_FAILED (there is less than
   *   `offset`), DISK_FULL, or what the source throws
   */
  append(
    sha256: string,
    offset: number,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    maxBytes: number,
  ): Promise<number> {
    return this.#writing.run(sha256, () => this.#append(sha256, offset, source, maxBytes));
  }

  async #append(
    sha256: string,
    offset: number,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    maxBytes: number,
  ): Promise<number> {
    const part = this.#part(sha256);
    await makeFolder(dirname(part)).catch(refuseFullDisk);
    const there = await this.partialBytes(sha256);
    if (there < offset)
      throw new AppError('PRECONDITION_FAILED', `there are ${there} bytes of this blob, not ${offset}`);
    let bytes = offset;
    const file = await open(part, constants.O_RDWR | constants.O_CREAT, 0o600).catch(refuseFullDisk);
    try {
      for await (const chunk of source) {
        if (bytes + chunk.length > maxBytes)
          throw new AppError('INPUT_TOO_LARGE', `the file is over ${maxBytes} bytes`);
        await writeAt(file, chunk, bytes);
        bytes += chunk.length;
      }
    } catch (error) {
      if (error instanceof AppError && error.code === 'INPUT_TOO_LARGE') await this.discard(sha256);
      return refuseFullDisk(error);
    } finally {
      await file.close();
    }
    return Math.max(there, bytes);
  }

  /**
   * All of it has come: checked, and on disk under its name when it returns.
   *
   * @throws MODEL_DIGEST_MISMATCH (what had come is removed), DOWNLOAD_INCOMPLETE (nothing has come)
   */
  finish(sha256: string): Promise<void> {
    return this.#writing.run(sha256, () => this.#finish(sha256));
  }

  async #finish(sha256: string): Promise<void> {
    // What has come of it once more, somebody sent in vain.
    if ((await this.size(sha256)) !== undefined) return this.discard(sha256);
    const part = this.#part(sha256);
    if ((await sizeOf(part)) === undefined)
      throw new AppError('DOWNLOAD_INCOMPLETE', 'nothing of it has come');
    const actual = await fileSha256(part);
    if (actual !== sha256) {
      await this.discard(sha256);
      throw new AppError(
        'MODEL_DIGEST_MISMATCH',
        `the content has SHA-256 ${actual}, expected was ${sha256}`,
      );
    }
    await syncFile(part).catch(refuseFullDisk);
    await rename(part, this.path(sha256));
    await syncFolder(dirname(part));
    await syncFolder(this.#folder);
  }

  /** Takes a file of this machine in. @throws MODEL_DIGEST_MISMATCH, DISK_FULL */
  takeIn(sha256: string, from: string): Promise<void> {
    return this.#writing.run(sha256, async () => {
      if ((await this.size(sha256)) !== undefined) return;
      const part = this.#part(sha256);
      await makeFolder(dirname(part)).catch(refuseFullDisk);
      await copyFile(from, part).catch(refuseFullDisk);
      // A copy has the mode of what it is of.
      await chmod(part, 0o600);
      await this.#finish(sha256);
    });
  }

  /**
   * Takes in what `make` writes to the path that it is given. What had come of the blob by another way stays until it is there.
   *
   * @throws MODEL_DIGEST_MISMATCH (something else was made), DISK_FULL, or what `make` throws
   */
  produce(sha256: string, make: (path: string) => Promise<void>): Promise<void> {
    return this.#writing.run(sha256, async () => {
      if ((await this.size(sha256)) !== undefined) return;
      const made = `${this.#part(sha256)}.made`;
      await makeFolder(dirname(made)).catch(refuseFullDisk);
      try {
        await make(made);
        // Checked before it takes the place of what has come: that is worth something only if this is not.
        if ((await fileSha256(made)) !== sha256)
          throw new AppError('MODEL_DIGEST_MISMATCH', 'what was made of a delta has another content');
        await rename(made, this.#part(sha256));
      } catch (error) {
        await rm(made, { force: true });
        return refuseFullDisk(error);
      }
      await syncFile(this.#part(sha256)).catch(refuseFullDisk);
      await rename(this.#part(sha256), this.path(sha256));
      await syncFolder(dirname(this.path(sha256)));
    });
  }

  /** The digests that are there whole. */
  async list(): Promise<string[]> {
    const found: string[] = [];
    for (const shelf of await readdir(this.#folder).catch(() => []))
      for (const name of await readdir(join(this.#folder, shelf)).catch(() => []))
        if (BLOB_NAME.test(name)) found.push(name);
    return found;
  }

  /** What has come of those that are not there whole: digest -> bytes. */
  async partials(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    for (const shelf of await readdir(this.#folder).catch(() => []))
      for (const name of await readdir(join(this.#folder, shelf)).catch(() => [])) {
        const sha256 = name.replace(/\.part$/, '');
        if (sha256 !== name && BLOB_NAME.test(sha256)) found.set(sha256, await this.partialBytes(sha256));
      }
    return found;
  }

  /** Forgets what has come of it. */
  async discard(sha256: string): Promise<void> {
    await rm(this.#part(sha256), { force: true });
  }

  /**
   * Makes a folder of these blobs, whole or not at all. One that is there stays as it is.
   *
   * @param files with paths that are checked, and no two that a file system may take for the same
   * @throws DOWNLOAD_INCOMPLETE when a blob is missing, DISK_FULL
   */
  async materialize(files: readonly VersionFile[], folder: string): Promise<void> {
    if (await sizeOf(folder).then((size) => size !== undefined)) return;
    const staged = `${folder}.staged`;
    await rm(staged, { recursive: true, force: true });
    await makeFolder(staged).catch(refuseFullDisk);
    const folders = new Set([staged]);
    for (const { path, sha256 } of files) {
      const to = join(staged, path);
      await makeFolder(dirname(to)).catch(refuseFullDisk);
      folders.add(dirname(to));
      await linkOrCopy(this.path(sha256), to, path);
    }
    for (const one of folders) await syncFolder(one);
    await rename(staged, folder);
    await syncFolder(dirname(folder));
  }

  /** Removes one blob, whole or not. */
  remove(sha256: string): Promise<void> {
    return this.#writing.run(sha256, async () => {
      await this.discard(sha256);
      await rm(this.path(sha256), { force: true });
    });
  }

  /**
   * Removes every blob, whole or not, that is not kept.
   *
   * @param untouchedSinceAtMs spares what has been written to later: somebody may be at it
   * @returns the bytes that this freed
   */
  async sweep(keep: ReadonlySet<string>, untouchedSinceAtMs = Number.POSITIVE_INFINITY): Promise<number> {
    let freed = 0;
    for (const shelf of await readdir(this.#folder).catch(() => [])) {
      for (const name of await readdir(join(this.#folder, shelf)).catch(() => [])) {
        if (keep.has(name.replace(/\.part(\.made)?$/, ''))) continue;
        const path = join(this.#folder, shelf, name);
        const found = await stat(path).catch(() => undefined);
        if (!found || found.mtimeMs > untouchedSinceAtMs) continue;
        freed += found.size;
        await rm(path, { force: true });
      }
    }
    return freed;
  }

  #part(sha256: string): string {
    return `${this.path(sha256)}.part`;
  }
}

const BLOB_NAME = /^[0-9a-f]{64}$/;

/** A system call may write less than it was given. */
async function writeAt(file: FileHandle, bytes: Uint8Array, atBytes: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, atBytes + done)).bytesWritten;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Some file systems know no hard links, or no more of them to one file. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EMLINK'];

/** Never over a file that is there: that may be a link to another blob. */
async function linkOrCopy(from: string, to: string, name: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code === 'ENOENT')
      throw new AppError('DOWNLOAD_INCOMPLETE', `${name} has not come yet`, { cause: error });
    if (!NO_LINKS.includes(code)) return refuseFullDisk(error);
    await copyFile(from, to, constants.COPYFILE_EXCL).catch(refuseFullDisk);
    await syncFile(to).catch(refuseFullDisk);
  }
}

/** @throws DISK_FULL, or the error itself */
function refuseFullDisk(error: unknown): never {
  throw isDiskFull(error) ? new AppError('DISK_FULL', undefined, { cause: error }) : error;
}
