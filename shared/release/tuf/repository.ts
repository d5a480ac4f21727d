/**
 * The hub's side of signed updates (TUF 1.0): what is listed, signed with the keys of this hub, and signed again in time. A
 * development hub has made all four keys itself.
 *
 * Files are written in the order in which nobody can follow them too early: N.targets.json, N.snapshot.json, and timestamp.json,
 * which makes them count, last. A kill between any two of them leaves what was there; `open` goes on with what had come.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Metadata, Root } from '@tufjs/models';
import { Alarm } from '../../runtime/alarm.ts';
import { writeFileAtomic } from '../../runtime/atomic-file.ts';
import type { Clock } from '../../runtime/clock.ts';
import { AppError } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import type { Part } from '../../runtime/lifecycle.ts';
import type { Logger } from '../../runtime/logger.ts';
import { readIfThere } from '../../runtime/read-file.ts';
import { SerialQueue } from '../../runtime/serial-queue.ts';
import type { Delta, Release } from '../release.ts';
import { deltasIn, targetsWithDeltas } from './delta-targets.ts';
import {
  contentOf,
  type NextTargets,
  nextTargets,
  releaseIn,
  releasesIn,
  targetsWith,
  versionAbove,
} from './listing.ts';
import { type Found, filesIn, findCurrent } from './repository-files.ts';
import {
  encodeMetadata,
  expiresAtMs,
  isoTime,
  LIFE_MS,
  MAX_BYTES,
  parseMetadata,
  ROLES,
  type Role,
  requireSigned,
  roleOf,
  type Signed,
  SPEC_VERSION,
  signedAtMs,
} from './roles.ts';
import { type Current, signedSnapshot, signedTimestamp } from './signing.ts';
import { makeKeys, readKeys, type SigningKey, type SigningKeys } from './signing-keys.ts';

/** Folder in which the hub keeps its signing keys and its metadata. */
export interface TufRepositoryOptions {
  /** Holds `keys/` and `metadata/`. */
  readonly folder: string;
  /** The folder has come back from a copy: devices may have seen newer metadata, and what is signed from here on is above it. */
  readonly isRestored?: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Signed again when this much of a signature's life is left. */
const LEFT_WHEN_RENEWED = 1 / 3;
/** A disk that was full is tried again. */
const RENEW_AGAIN_MS = 60_000;
/** A device may be in the middle of reading the ones before the newest. */
const KEPT_VERSIONS = 10;

/** Signing side of The Update Framework: lists versions, and signs anew what would expire. */
export class TufRepository implements Part {
  readonly #metadataFolder: string;
  readonly #keys: SigningKeys;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #initialRoot: string;
  readonly #renewal: Alarm;
  #current: Current;
  #content: ReturnType<typeof contentOf>;
  /** One writing at a time. */
  readonly #writing = new SerialQueue();
  #isStopped = false;
  #isRestored = false;

  private constructor(options: TufRepositoryOptions, keys: SigningKeys, found: Found) {
    this.#metadataFolder = join(options.folder, 'metadata');
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#keys = keys;
    this.#initialRoot = found.initialRoot;
    this.#current = found.current;
    this.#content = contentOf(found.current.targets.metadata.signed);
    this.#renewal = new Alarm(options.clock, () => void this.#renewInTime());
  }

  /**
   * Opens what is there, finishes what a crash has cut short, and signs again what is due; makes keys and first metadata where
   * there are none.
   *
   * @throws DATA_CORRUPT (a key or the root is missing or cannot be read), DISK_FULL
   */
  static async open(options: TufRepositoryOptions): Promise<TufRepository> {
    const { folder, clock } = options;
    const keysFolder = join(folder, 'keys');
    const metadataFolder = join(folder, 'metadata');
    const files = await filesIn(metadataFolder);
    const isNew = !files.some(({ role }) => role === 'root');
    const keys = isNew ? await makeKeys(keysFolder) : await readKeys(keysFolder);
    const found = await findCurrent({ files, metadataFolder, keys, nowAtMs: clock.nowAtMs() });
    const repository = new TufRepository(options, keys, found);
    await repository.#finish(found);
    if (options.isRestored) await repository.#goOnAbove();
    await repository.#renew();
    return repository;
  }

  /** True while this hub holds the keys that are worth most: it signs whatever it is asked to. */
  get isDevelopment(): boolean {
    return this.#keys.root !== undefined || this.#keys.targets !== undefined;
  }

  /** Whether this hub can list versions itself; else somebody with the key does, with `putTargets`. */
  get canList(): boolean {
    return this.#keys.targets !== undefined;
  }

  start(): void {
    this.#isStopped = false;
    this.#watch();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#renewal.cancel();
    await this.#writing.settled();
  }

  /** The first root metadata: what a device trusts from its enrolment on. */
  initialRoot(): string {
    return this.#initialRoot;
  }

  /** A metadata file by its name; undefined when there is none. */
  async metadata(name: string): Promise<Uint8Array | undefined> {
    // Only names that we give: what comes from an address never becomes a path.
    const role = roleOf(name);
    if (role === undefined || (role === 'timestamp') !== (name === 'timestamp.json')) return undefined;
    return readIfThere(join(this.#metadataFolder, name));
  }

  /** The digest of a listed target by its consistent path; undefined when it is not listed. */
  target(path: string): { readonly sha256: string; readonly bytes: number } | undefined {
    return this.#content.get(path);
  }

  /** SHA-256 of everything that is listed: what devices may ask for. */
  digests(): string[] {
    return [...this.#content.values()].map(({ sha256 }) => sha256);
  }

  /** The version as it is listed; undefined when it is not. */
  release(name: string, version: string): Release | undefined {
    return releaseIn(this.#current.targets.metadata.signed, name, version);
  }

  /** The versions that devices may take. */
  releases(): Release[] {
    return releasesIn(this.#current.targets.metadata.signed);
  }

  /** The deltas that are listed, in no order. */
  deltas(): Delta[] {
    return deltasIn(this.#current.targets.metadata.signed);
  }

  /**
   * Lists these deltas and no others.
   *
   * @throws UPDATE_UNTRUSTED (the key of targets is not here), CONFLICT (too many), DISK_FULL
   */
  listDeltas(deltas: readonly Delta[]): Promise<void> {
    return this.#writing.run(async () => {
      const targets = targetsWithDeltas(this.#current.targets.metadata.signed, deltas, this.#nextTargets());
      if (!targets) return;
      this.#require('targets').sign(targets);
      await this.#list(targets, encodeMetadata(targets));
      this.#logger.info('updates.deltas_listed', {
        targetsVersion: targets.signed.version,
        deltas: deltas.length,
      });
    });
  }

  targets(): { readonly etag: string; readonly body: Uint8Array } {
    const { body } = this.#current.targets;
    return { etag: etagOf(body), body };
  }

  /**
   * Lists these versions; those that are listed already cost nothing.
   *
   * @throws UPDATE_UNTRUSTED (the key of targets is not here), CONFLICT (the same version with other files), DISK_FULL
   */
  add(releases: readonly Release[]): Promise<void> {
    return this.#writing.run(async () => {
      const current = this.#current.targets.metadata.signed;
      const targets = targetsWith(current, releases, this.#nextTargets());
      if (!targets) return;
      this.#require('targets').sign(targets);
      await this.#list(targets, encodeMetadata(targets));
      this.#logger.info('updates.listed', { targetsVersion: targets.signed.version });
    });
  }

  /**
   * Takes targets metadata that somebody with the key has signed.
   *
   * @param ifMatch the ETag of the targets that these follow
   * @returns the ETag of these
   * @throws PRECONDITION_FAILED (others are in force by now), UPDATE_UNTRUSTED, DISK_FULL
   */
  putTargets(body: Uint8Array, ifMatch: string): Promise<string> {
    return this.#writing.run(async () => {
      const { targets, root } = this.#current;
      if (ifMatch !== etagOf(targets.body)) throw new AppError('PRECONDITION_FAILED');
      if (body.length > MAX_BYTES.targets)
        throw new AppError('UPDATE_UNTRUSTED', `targets.json is over ${MAX_BYTES.targets} bytes`);
      const offered = parseMetadata('targets', body);
      requireSigned(root.metadata, 'targets', offered);
      const { version } = offered.signed;
      const before = targets.metadata.signed.version;
      if (version <= before)
        throw new AppError('UPDATE_UNTRUSTED', `targets.json has version ${version}; ${before} is in force`);
      if (expiresAtMs(offered) <= this.#nowAtMs())
        throw new AppError('UPDATE_UNTRUSTED', 'targets.json has passed its expiry already');
      const taken = Buffer.from(body);
      await this.#list(offered, taken);
      this.#logger.info('updates.listed', { targetsVersion: version, by: 'publisher' });
      return etagOf(taken);
    });
  }

  /** After a crash: what had been written of the newest targets counts from now on. */
  async #finish({ isWhole }: Found): Promise<void> {
    const { root, targets, snapshot, timestamp } = this.#current;
    if (isWhole) return;
    const targetsVersion = targets.metadata.signed.version;
    await this.#write(`${root.metadata.signed.version}.root.json`, root.body);
    await this.#write(`${targetsVersion}.targets.json`, targets.body);
    await this.#write(`${snapshot.metadata.signed.version}.snapshot.json`, snapshot.body);
    await this.#write('timestamp.json', timestamp.body);
    this.#logger.info('updates.healed', { targetsVersion });
  }

  /** Signs again what is due. @throws DISK_FULL */
  #renew(): Promise<void> {
    return this.#writing.run(async () => {
      if (this.#isDue('root')) await this.#renewRoot();
      if (this.#isDue('targets')) {
        await this.#signTargets();
      } else if (this.#isDue('snapshot')) {
        await this.#list(this.#current.targets.metadata, this.#current.targets.body);
      } else if (this.#isDue('timestamp')) {
        await this.#stamp(this.#current.snapshot);
      }
    });
  }

  /** The same targets under a new signature and number. */
  async #signTargets(): Promise<void> {
    const targets = nextTargets(this.#current.targets.metadata.signed, this.#nextTargets());
    this.#require('targets').sign(targets);
    await this.#list(targets, encodeMetadata(targets));
  }

  /** Signs all anew, under numbers that no device has seen. @throws DISK_FULL */
  #goOnAbove(): Promise<void> {
    return this.#writing.run(async () => {
      this.#isRestored = true;
      if (this.canList) return this.#signTargets();
      await this.#list(this.#current.targets.metadata, this.#current.targets.body);
      this.#logger.warn('updates.targets_to_sign', {
        targetsVersion: this.#current.targets.metadata.signed.version,
      });
    });
  }

  #nextTargets(): NextTargets {
    return { expires: this.#end('targets'), version: this.#nextVersion('targets') };
  }

  #nextVersion(role: Role): number {
    const { version } = this.#current[role].metadata.signed;
    return this.#isRestored ? versionAbove(version, this.#clock.nowAtMs()) : version + 1;
  }

  async #renewRoot(): Promise<void> {
    const { keys, roles, version } = this.#current.root.metadata.signed;
    const root = new Metadata(
      new Root({ version: version + 1, specVersion: SPEC_VERSION, expires: this.#end('root'), keys, roles }),
    );
    this.#require('root').sign(root);
    const body = encodeMetadata(root);
    await this.#write(`${root.signed.version}.root.json`, body);
    this.#current = { ...this.#current, root: { metadata: root, body } };
    this.#logger.info('updates.signed', { role: 'root', version: root.signed.version });
  }

  /** @throws UPDATE_UNTRUSTED where the key is kept elsewhere */
  #require(role: Role): SigningKey {
    const key = this.#keys[role];
    if (!key)
      throw new AppError(
        'UPDATE_UNTRUSTED',
        `the key of ${role}.json is not on this hub: sign it where it is`,
      );
    return key;
  }

  /** Makes these the targets that count. */
  async #list(metadata: Signed['targets'], body: Buffer): Promise<void> {
    const { version } = metadata.signed;
    if (body.length > MAX_BYTES.targets)
      throw new AppError(
        'CONFLICT',
        `targets.json would be over ${MAX_BYTES.targets} bytes: too many versions`,
      );
    if (version !== this.#current.targets.metadata.signed.version)
      await this.#write(`${version}.targets.json`, body);
    const snapshot = signedSnapshot(this.#require('snapshot'), {
      version: this.#nextVersion('snapshot'),
      expires: this.#end('snapshot'),
      targets: { metadata, body },
    });
    await this.#write(`${snapshot.metadata.signed.version}.snapshot.json`, snapshot.body);
    await this.#stamp(snapshot, { metadata, body });
    await this.#prune();
  }

  /** The last writing: from here on it counts. */
  async #stamp(
    snapshot: Current['snapshot'],
    targets: Current['targets'] = this.#current.targets,
  ): Promise<void> {
    const timestamp = signedTimestamp(this.#require('timestamp'), {
      version: this.#nextVersion('timestamp'),
      expires: this.#end('timestamp'),
      snapshot,
    });
    await this.#write('timestamp.json', timestamp.body);
    this.#current = { ...this.#current, targets, snapshot, timestamp };
    this.#content = contentOf(targets.metadata.signed);
    if (!this.#isStopped) this.#watch();
    this.#logger.debug('updates.signed', {
      role: 'timestamp',
      version: timestamp.metadata.signed.version,
    });
  }

  async #renewInTime(): Promise<void> {
    try {
      await this.#renew();
      if (!this.#isStopped) this.#watch();
    } catch (error) {
      this.#logger.failure('updates.not_signed', error);
      if (!this.#isStopped) this.#renewal.set(this.#clock.nowAtMs() + RENEW_AGAIN_MS);
    }
  }

  #watch(): void {
    this.#renewal.set(
      Math.min(...ROLES.filter((role) => this.#keys[role]).map((role) => this.#dueAtMs(role))),
    );
  }

  #isDue(role: Role): boolean {
    return this.#keys[role] !== undefined && this.#dueAtMs(role) <= this.#nowAtMs();
  }

  #dueAtMs(role: Role): number {
    return expiresAtMs(this.#current[role].metadata) - LIFE_MS[role] * LEFT_WHEN_RENEWED;
  }

  /**
   * Never before the newest timestamp: devices take its signing time for the least that the time can be, so a hub whose clock was
   * ahead for a moment has to go on from there.
   */
  #nowAtMs(): number {
    return Math.max(this.#clock.nowAtMs(), signedAtMs(this.#current.timestamp.metadata));
  }

  #end(role: Role): string {
    return isoTime(this.#nowAtMs() + LIFE_MS[role]);
  }

  #write(name: string, body: Buffer): Promise<void> {
    return writeFileAtomic(join(this.#metadataFolder, name), body);
  }

  /** Roots stay for ever: a device may have to follow all of them. */
  async #prune(): Promise<void> {
    const files = await filesIn(this.#metadataFolder);
    for (const role of ['targets', 'snapshot'] as const) {
      const own = files.filter((one) => one.role === role);
      for (const { name } of own.slice(0, -KEPT_VERSIONS))
        await rm(join(this.#metadataFolder, name), { force: true });
    }
  }
}

const etagOf = (body: Uint8Array): string => `"${sha256Hex(body)}"`;
