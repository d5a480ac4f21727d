/**
 * How a version comes to devices, from a push or from a folder on this machine. Each step is on disk before the next, and each
 * can be done again: a kill between any two loses nothing, and `restore` or the same push goes on from there.
 *
 * blobs are there -> rehearsed (candidate folder) -> recorded, with its number -> own copy -> listed in signed metadata -> published
 *
 * Where the key of targets is not on this hub, a version waits after its own copy until `putTargets` brings metadata that list it.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pMap, { pMapSkip } from 'p-map';
import type {
  PublishedVersion,
  VersionFile,
  VersionRequest,
  VersionTest,
} from '../../shared/contract/admin.ts';
import { MAX_VERSION_BYTES, MAX_VERSION_FILES } from '../../shared/contract/limits.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { SigningChange } from '../../shared/contract/signing.ts';
import type { BlobStore } from '../../shared/release/blob-store.ts';
import {
  FOLDERS_AT_A_TIME,
  type ModelFolder,
  openModelFolder,
  SPEC_FILE,
  versionFilesOf,
} from '../../shared/release/folder/model-folder.ts';
import { pictureNeedOf } from '../../shared/release/folder/picture-need.ts';
import { checkGraphs } from '../../shared/release/import/graph-check.ts';
import type { Release } from '../../shared/release/release.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { withoutPathsIn } from '../../shared/runtime/disk-paths.ts';
import { AppError, toErrorBody } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { OneAtATime } from '../../shared/runtime/one-at-a-time.ts';
import type { EventSink, Publisher, VersionBook } from '../ports.ts';
import type { Rehearse } from './rehearsal.ts';

/** No model is called like that: names begin with a letter, a digit or _. */
const CANDIDATES_FOLDER_NAME = '.candidates';

/** The signed metadata. */
export interface Listing {
  /** Whether this hub has the key; else `add` cannot. */
  readonly canList: boolean;
  add(releases: readonly Release[]): Promise<void>;
  /** Takes what somebody else has signed. @returns its ETag */
  putTargets(body: Uint8Array, ifMatch: string): Promise<string>;
  /** The same of a delegated role. */
  putDelegated(role: string, body: Uint8Array, ifMatch: string): Promise<string>;
  /** Takes other keys, delegations or expiries. */
  apply(change: unknown): Promise<void>;
  /** undefined when it is not listed */
  release(name: string, version: string): Release | undefined;
}

/** Standing of a version: listed, and told to devices. */
type Standing = Pick<PublishedVersion, 'published' | 'deployed'>;

/** Records, blobs and signed listing that a publication goes through. */
export interface VersionPublisherOptions {
  readonly models: VersionBook;
  readonly blobs: BlobStore;
  readonly updates: Listing;
  readonly rehearse: Rehearse;
  /** Makes it cheap for devices to take a version that they are about to be told of. Never rejects, and does not take long. */
  readonly prepare?: (ref: ModelRef) => Promise<void>;
  /** For what is not a version yet; the hub's folder of models. */
  readonly folder: string;
  readonly events: EventSink;
  /** Keys or metadata of somebody else are in force now. */
  readonly onListed?: () => void;
  /** A version with this content was removed: its folder does not bring it back, only a push does. */
  readonly isRemoved?: (name: string, digest: string) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Publishes one version of a name at a time. */
export class VersionPublisher implements Publisher {
  readonly #o: VersionPublisherOptions;
  /** By model name. */
  readonly #names = new OneAtATime();

  constructor(options: VersionPublisherOptions) {
    this.#o = options;
  }

  /** After a start: what is recorded and has its files is there again, and what a crash has kept from being listed is listed. */
  async restore(): Promise<void> {
    const { models, logger } = this.#o;
    await rm(join(this.#o.folder, CANDIDATES_FOLDER_NAME), { recursive: true, force: true });
    const whole: ModelRef[] = [];
    for (const ref of models.all()) {
      const files = models.stored(ref)?.files ?? [];
      if (files.length === 0) continue;
      try {
        await this.#shelve(ref, files);
        whole.push(ref);
      } catch (error) {
        logger.failure('registry.version_lost', error, { model: ref.name, version: ref.version });
      }
    }
    try {
      await this.#sign(whole);
      for (const ref of whole) if (!models.stored(ref)?.published) await this.#settle(ref);
    } catch (error) {
      // The hub answers all the same; devices keep to what was listed before.
      logger.failure('registry.not_published', error);
    }
  }

  /**
   * Takes in folders of this machine, checked, and lists them together. Their content is copied: whatever becomes of a folder, its
   * version stays.
   *
   * @param onInvalid hears of a folder that could not be taken in; the others are
   */
  async takeIn(
    folders: readonly ModelFolder[],
    onInvalid: (path: string, error: unknown) => void,
  ): Promise<ModelRef[]> {
    const takeInOne = async (folder: ModelFolder) => {
      if (this.#o.isRemoved?.(folder.spec.name, folder.digest)) {
        this.#o.logger.info('registry.folder_removed', { model: folder.spec.name, path: folder.path });
        return pMapSkip;
      }
      try {
        return { folder, ...(await this.#bring(folder)) };
      } catch (error) {
        onInvalid(folder.path, error);
        return pMapSkip;
      }
    };
    const taken = await pMap(folders, takeInOne, { concurrency: FOLDERS_AT_A_TIME });
    const whole = taken.filter(({ isWhole }) => isWhole);
    // Once for all: it takes 30 ms each time until metadata is on disk. Where one cannot be listed, the others are, one by one.
    if (whole.length > 1) await this.#sign(whole.map(({ ref }) => ref)).catch(() => undefined);
    for (const { folder, ref } of whole)
      await this.#names.run(ref.name, () =>
        this.#list(ref).catch((error: unknown) => this.#answerOnly(folder, error)),
      );
    return taken.map(({ ref }) => ref);
  }

  /** Two of one name in their order. @returns whether devices can have it, too @throws MODEL_INVALID, DISK_FULL */
  async #bring(folder: ModelFolder): Promise<{ ref: ModelRef; isWhole: boolean }> {
    const { models } = this.#o;
    const { name } = folder.spec;
    return this.#names.run(name, async () => {
      await checkGraphs(folder.path, folder.spec);
      try {
        const picture = await pictureNeedOf(folder);
        const known = models.find(name, folder.digest);
        const files = (known && (await this.#storedWhole(known))) ?? (await this.#copy(folder));
        const ref = await models.takeIn(folder, { picture, files });
        await this.#shelve(ref, files);
        return { ref, isWhole: true };
      } catch (error) {
        return { ref: await this.#answerOnly(folder, error), isWhole: false };
      }
    });
  }

  /** The hub can answer with it all the same; only devices cannot have it. */
  async #answerOnly(folder: ModelFolder, error: unknown): Promise<ModelRef> {
    const { models, logger } = this.#o;
    logger.failure('registry.not_published', error, { model: folder.spec.name });
    return models.takeIn(folder, { picture: await pictureNeedOf(folder) });
  }

  async publish(name: string, request: VersionRequest): Promise<PublishedVersion> {
    try {
      return await this.#names.run(name, () => this.#publish(name, request));
    } catch (error) {
      const { clock, events, logger } = this.#o;
      logger.failure('registry.version_refused', error, { model: name });
      events.publish({
        type: 'version-refused',
        model: name,
        ...withoutPathsIn({ error: toErrorBody(error) }),
        atMs: clock.nowAtMs(),
      });
      throw error;
    }
  }

  async putTargets(body: Uint8Array, ifMatch: string): Promise<string> {
    const etag = await this.#o.updates.putTargets(body, ifMatch);
    await this.#settleAll();
    return etag;
  }

  async putDelegated(role: string, body: Uint8Array, ifMatch: string): Promise<string> {
    const etag = await this.#o.updates.putDelegated(role, body, ifMatch);
    await this.#settleAll();
    return etag;
  }

  async applyChange(change: SigningChange): Promise<void> {
    await this.#o.updates.apply(change);
    await this.#settleAll();
  }

  /** Once they are in force they are taken: what a failure here leaves undone, a start or the next push does. */
  async #settleAll(): Promise<void> {
    const { models, onListed = () => undefined } = this.#o;
    for (const ref of models.all()) if (!models.stored(ref)?.published) await this.#settle(ref);
    onListed();
  }

  async #publish(name: string, { files, force = false }: VersionRequest): Promise<PublishedVersion> {
    refuseUnusable(files);
    await this.#requireBlobs(files);
    const candidate = join(this.#o.folder, CANDIDATES_FOLDER_NAME, sha256Hex(JSON.stringify([name, files])));
    try {
      await this.#o.blobs.materialize(files, candidate);
      const folder = await inTermsOf(name, candidate, openModelFolder(candidate));
      if (folder.spec.name !== name)
        throw new AppError(
          'MODEL_INVALID',
          `${SPEC_FILE} names the model ${folder.spec.name}, it is pushed as ${name}: they have to be equal`,
        );
      const known = this.#o.models.find(name, folder.digest);
      return known ? await this.#publishAgain(known, files) : await this.#publishNew(folder, files, force);
    } finally {
      await rm(candidate, { recursive: true, force: true });
    }
  }

  /** Known by its digest; maybe a crash has cut its publishing short. */
  async #publishAgain(known: ModelRef, files: readonly VersionFile[]): Promise<PublishedVersion> {
    const stored = this.#o.models.stored(known)?.files ?? [];
    if (stored.length === 0) await this.#o.models.addFiles(known, files);
    await this.#shelve(known, stored.length === 0 ? files : stored);
    await this.#prepare(known);
    return { ...known, created: false, ...(await this.#list(known)), test: null };
  }

  async #publishNew(
    folder: ModelFolder,
    files: readonly VersionFile[],
    force: boolean,
  ): Promise<PublishedVersion> {
    const { models, logger } = this.#o;
    const { name } = folder.spec;
    const picture = await inTermsOf(name, folder.path, pictureNeedOf(folder));
    const test = await this.#rehearse(folder, force);
    const ref = await models.takeIn({ ...folder, path: '' }, { picture, files: [...files], test });
    await this.#shelve(ref, files);
    await this.#prepare(ref);
    const standing = await this.#list(ref);
    if (standing.published)
      logger.info('registry.published', { model: name, version: ref.version, modelDigest: ref.digest, test });
    return { ...ref, created: true, ...standing, test };
  }

  /** Before devices hear of it; where others sign, what is made is signed with the version. */
  async #prepare(ref: ModelRef): Promise<void> {
    if (!this.#o.models.stored(ref)?.published) await this.#o.prepare?.(ref);
  }

  /** Force forgives answers that are not as recorded, and nothing else. @throws MODEL_INVALID, MODEL_SELF_TEST_FAILED */
  async #rehearse(folder: ModelFolder, force: boolean): Promise<VersionTest> {
    const { rehearse, logger } = this.#o;
    const { name } = folder.spec;
    try {
      return await inTermsOf(name, folder.path, rehearse(folder));
    } catch (error) {
      if (!force || !(error instanceof AppError) || error.code !== 'MODEL_SELF_TEST_FAILED') throw error;
      await inTermsOf(name, folder.path, rehearse(folder, { takesAnyAnswer: true }));
      logger.failure('registry.version_forced', error, { model: name });
      return 'forced';
    }
  }

  /** The hub's own copy of it, from its blobs. @throws DOWNLOAD_INCOMPLETE, DISK_FULL */
  async #shelve(ref: ModelRef, files: readonly VersionFile[]): Promise<void> {
    const { models, blobs } = this.#o;
    // A copy without its blobs could be run, but no device could fetch it.
    if (!(await this.#hasAll(files)))
      throw new AppError('DOWNLOAD_INCOMPLETE', 'not all of its blobs are here');
    await blobs.materialize(files, models.folderOf(ref));
    models.shelved(ref);
  }

  async #list(ref: ModelRef): Promise<Standing> {
    await this.#sign([ref]);
    const standing = await this.#settle(ref);
    if (!standing.published) {
      const { name: model, version, digest: modelDigest } = ref;
      this.#o.logger.info('registry.waits_for_signature', { model, version, modelDigest });
    }
    return standing;
  }

  /** Where the key is here. */
  async #sign(refs: readonly ModelRef[]): Promise<void> {
    const { updates } = this.#o;
    if (updates.canList) await updates.add(refs.flatMap((ref) => this.#releaseOf(ref) ?? []));
  }

  /** Published is a version that is listed, and can be fetched as it is listed: devices may be told of it. */
  async #settle(ref: ModelRef): Promise<Standing> {
    const { models, updates } = this.#o;
    const listed = updates.release(ref.name, ref.version);
    const published = listed?.ref.digest === ref.digest && (await this.#hasAll(listed.files));
    return { published, deployed: published && (await models.published(ref)) };
  }

  #releaseOf(ref: ModelRef): Release | undefined {
    const stored = this.#o.models.stored(ref);
    if (!stored) return undefined;
    const files = [...stored.files].sort((a, b) => (a.path < b.path ? -1 : 1));
    return { ref, task: stored.task, files };
  }

  async #copy(folder: ModelFolder): Promise<VersionFile[]> {
    const files = await versionFilesOf(folder);
    refuseUnusable(files);
    for (const { path, sha256 } of files) await this.#o.blobs.takeIn(sha256, join(folder.path, path));
    return files;
  }

  /** The files of a version, where all of them are here. */
  async #storedWhole(ref: ModelRef): Promise<VersionFile[] | undefined> {
    const files = this.#o.models.stored(ref)?.files ?? [];
    return files.length > 0 && (await this.#hasAll(files)) ? files : undefined;
  }

  async #hasAll(files: readonly VersionFile[]): Promise<boolean> {
    for (const { sha256 } of files) if ((await this.#o.blobs.size(sha256)) === undefined) return false;
    return true;
  }

  /** @throws NOT_FOUND, MODEL_INVALID */
  async #requireBlobs(files: readonly VersionFile[]): Promise<void> {
    for (const { path, sha256, bytes } of files) {
      const size = await this.#o.blobs.size(sha256);
      if (size === undefined)
        throw new AppError('NOT_FOUND', `${path} has not been uploaded: there is no blob ${sha256}`);
      if (size !== bytes) throw new AppError('MODEL_INVALID', `${path} has ${size} bytes, not ${bytes}`);
    }
  }
}

/** @throws MODEL_INVALID: two names for one file, a file where a folder is, too large, no outrider.json */
function refuseUnusable(files: readonly VersionFile[]): void {
  const invalid = (why: string): AppError => new AppError('MODEL_INVALID', why);
  if (files.length > MAX_VERSION_FILES) throw invalid(`it has over ${MAX_VERSION_FILES} files`);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > MAX_VERSION_BYTES)
    throw invalid(`its files have ${bytes} bytes together, the limit is ${MAX_VERSION_BYTES}`);
  if (!files.some(({ path }) => path === SPEC_FILE)) throw invalid(`${SPEC_FILE} is not among its files`);
  // Devices may have a file system that takes A and a for the same.
  const taken = new Map<string, string>();
  for (const { path } of files) {
    const other = taken.get(path.toLowerCase());
    if (other !== undefined) throw invalid(`${other} and ${path} may be the same file on a device`);
    taken.set(path.toLowerCase(), path);
  }
  for (const { path } of files)
    for (const folder of foldersOf(path.toLowerCase()))
      if (taken.has(folder)) throw invalid(`${taken.get(folder)} is a file, and a folder of ${path}`);
}

/** `a/b/c` -> `a`, `a/b` */
const foldersOf = (path: string): string[] =>
  path
    .split('/')
    .slice(0, -1)
    .map((_, index, parts) => parts.slice(0, index + 1).join('/'));

/** Errors in the words of the caller, who knows the model's name and not where the hub rehearses it. */
async function inTermsOf<T>(name: string, path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof AppError) || path === '') throw error;
    const message = error.message.replaceAll(path, name).replaceAll(path.split('/').at(-1) ?? path, name);
    throw new AppError(error.code, message, { cause: error });
  }
}
