/**
 * Versions on this device: files by digest, and a folder of hard links for each version, by the version's digest. A folder that an
 * installer has put there with `--models` counts too. What is not kept any more goes.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { VersionFile } from '../../shared/contract/admin.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { type ModelFolder, openModelFolder, readSpec } from '../../shared/release/folder/model-folder.ts';
import type { Release } from '../../shared/release/release.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

/** Model versions on this device, each as a folder of hard links to its blobs. */
export class VersionStore {
  readonly blobs: BlobStore;
  readonly #folder: string;
  readonly #given: readonly ModelFolder[];
  readonly #logger: Logger;

  /** @param given the folders of `--models` */
  constructor(options: { folder: string; given: readonly ModelFolder[]; logger: Logger }) {
    this.#folder = join(options.folder, 'versions');
    this.blobs = new BlobStore(join(options.folder, 'blobs'));
    this.#given = options.given;
    this.#logger = options.logger;
  }

  /** A version with every file checked; undefined when it is not here, or no longer as it should be: then what is left of it goes. */
  async find(digest: string): Promise<ModelFolder | undefined> {
    const found = await this.look(digest);
    if (found !== 'damaged') return found;
    // Blobs may be the same files on disk.
    await rm(join(this.#folder, digest), { recursive: true, force: true });
    await this.blobs.sweep(new Set());
    return undefined;
  }

  /** The same, and nothing goes: others may be bringing files. */
  async look(digest: string): Promise<ModelFolder | 'damaged' | undefined> {
    const given = this.#given.find((folder) => folder.digest === digest);
    if (given) return given;
    const path = join(this.#folder, digest);
    const names = await readdir(path).catch(() => undefined);
    if (!names) return undefined;
    try {
      const folder = await openModelFolder(path);
      if (folder.digest === digest) return folder;
      throw new AppError('MODEL_DIGEST_MISMATCH', `${path} has become ${folder.digest}`);
    } catch (error) {
      this.#logger.failure('update.version_damaged', error, { modelDigest: digest });
      return 'damaged';
    }
  }

  /** Makes the folder of a version whose files have all come. @throws MODEL_INVALID, MODEL_DIGEST_MISMATCH, DISK_FULL */
  async stage({ ref, files }: Release): Promise<ModelFolder> {
    const path = join(this.#folder, ref.digest);
    await this.blobs.materialize(files, path);
    const folder = await openModelFolder(path).catch(async (error: unknown) => {
      await rm(path, { recursive: true, force: true });
      throw error;
    });
    if (folder.digest === ref.digest && folder.spec.name === ref.name) return folder;
    await rm(path, { recursive: true, force: true });
    throw new AppError(
      'MODEL_DIGEST_MISMATCH',
      `the files are ${folder.spec.name} ${folder.digest}, signed as ${ref.name} ${ref.digest}`,
    );
  }

  /**
   * All content that is on this device under any name: SHA-256 -> path. By what its folders say; what is there may have been damaged
   * since, so whoever takes it checks it.
   */
  async held(): Promise<Map<string, string>> {
    const held = new Map<string, string>();
    const add = (path: string, files: Readonly<Record<string, string>>): void => {
      for (const [name, sha256] of Object.entries(files)) held.set(sha256, join(path, name));
    };
    for (const { path, spec } of this.#given) add(path, spec.files);
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const path = join(this.#folder, name);
      // One that is being made, or is damaged, has nothing to offer.
      const spec = await readSpec(path).catch(() => undefined);
      if (spec) add(path, spec.files);
    }
    for (const sha256 of await this.blobs.list()) held.set(sha256, this.blobs.path(sha256));
    return held;
  }

  /** Takes what is here already under another name, instead of downloading it. */
  async reuse(files: readonly VersionFile[], held: ReadonlyMap<string, string>): Promise<void> {
    for (const { sha256 } of files) {
      const path = held.get(sha256);
      if (path !== undefined && path !== this.blobs.path(sha256))
        await this.blobs
          .takeIn(sha256, path)
          .catch((error: unknown) => this.#logger.failure('update.not_reused', error));
    }
  }

  /**
   * Removes the versions that are not kept.
   *
   * @param isIdle nothing is on its way: blobs can go too, since each kept version's folder has its files
   */
  async sweep(kept: ReadonlySet<string>, isIdle: boolean): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => []))
      if (!kept.has(name)) await rm(join(this.#folder, name), { recursive: true, force: true });
    if (isIdle) await this.blobs.sweep(new Set());
  }
}
