/**
 * The hub's side of signed updates (TUF 1.0): what is listed, signed with the keys of this hub, and signed again in time. A
 * development hub has made all four keys itself.
 *
 * Files are written in the order in which nobody can follow them too early: N.targets.json, N.snapshot.json, and timestamp.json,
 * which makes them count, last. A kill between any two of them leaves what was there; `open` goes on with what had come.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Alarm } from '../../runtime/alarm.ts';
import { writeFileAtomic } from '../../runtime/atomic-file.ts';
import type { Clock } from '../../runtime/clock.ts';
import { AppError } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import type { Part } from '../../runtime/lifecycle.ts';
import type { Logger } from '../../runtime/logger.ts';
import { readIfThere } from '../../runtime/read-file.ts';
import { SerialQueue } from '../../runtime/serial-queue.ts';
import type { AgentArchive, Delta, Release } from '../release.ts';
import { agentRoleOf, allArchives, delistingArchives, listingArchives } from './agent-targets.ts';
import { type Change, missingSignatures, parseChange } from './change.ts';
import { nextRoot } from './change-making.ts';
import { deltasIn, targetsWithDeltas } from './delta-targets.ts';
import { allReleases, contentOfAll, findRelease, type Listed } from './listed.ts';
import { type NextTargets, nextTargets, targetsWith, targetsWithout, versionAbove } from './listing.ts';
import { delegatedFrom, requireNewer, requireNextRoot, stillSigned } from './offered.ts';
import { canSign, type Found, filesIn, findCurrent } from './repository-files.ts';
import {
  delegatedRoleOf,
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
  signedAtMs,
  signersOf,
} from './roles.ts';
import type { Edit } from './sign-targets.ts';
import { type Current, type SignedFile, signedSnapshot, signedTimestamp } from './signing.ts';
import {
  makeKeys,
  makeNextKey,
  readKeys,
  type SigningKey,
  type SigningKeys,
  settleKeys,
} from './signing-keys.ts';

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
  readonly #keysFolder: string;
  #keys: SigningKeys;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #initialRoot: string;
  readonly #renewal: Alarm;
  #current: Current;
  #content: ReturnType<typeof contentOfAll>;
  /** One writing at a time. */
  readonly #writing = new SerialQueue();
  #isStopped = false;
  #isRestored = false;

  private constructor(options: TufRepositoryOptions, keys: SigningKeys, found: Found) {
    this.#metadataFolder = join(options.folder, 'metadata');
    this.#keysFolder = join(options.folder, 'keys');
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#keys = keys;
    this.#initialRoot = found.initialRoot;
    this.#current = found.current;
    this.#content = contentOfAll(listedOf(found.current));
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
    const given = { keys, next: await readKeys(keysFolder, '.next') };
    const found = await findCurrent({ files, metadataFolder, given, nowAtMs: clock.nowAtMs() });
    const repository = new TufRepository(options, found.keys, found);
    await repository.#finish(found);
    await settleKeys(keysFolder, found.current.root.metadata, given);
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
    return this.#canSign('targets');
  }

  /** The metadata that counts now. */
  get current(): Current {
    return this.#current;
  }

  /** Whether this hub holds the private half. */
  holds(keyId: string): boolean {
    return ROLES.some((role) => this.#keys[role]?.id === keyId);
  }

  /** Whether this hub signs it again in time by itself. */
  renews(role: Role): boolean {
    return this.#canSign(role);
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
    const role = roleOf(name) ?? delegatedRoleOf(name);
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
    return findRelease(listedOf(this.#current), name, version);
  }

  /** The versions that devices may take. */
  releases(): Release[] {
    return allReleases(listedOf(this.#current));
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
    const edit: Edit = (targets, next) => targetsWithDeltas(targets, deltas, next);
    return this.#edit(edit, 'updates.deltas_listed', { deltas: deltas.length });
  }

  /** The archives of the agent that devices may take. */
  archives(): AgentArchive[] {
    return allArchives(listedOf(this.#current));
  }

  /** Whether this hub lists releases of the agent itself: it has the key, and nobody else was given that part of it. */
  get canListArchives(): boolean {
    return this.canList && agentRoleOf(this.#current.targets.metadata) === undefined;
  }

  /** Lists these archives, or says anew what they are. @throws UPDATE_UNTRUSTED (the key is elsewhere), CONFLICT, DISK_FULL */
  listArchives(archives: readonly AgentArchive[]): Promise<void> {
    return this.#edit(listingArchives(archives), 'updates.archives_listed');
  }

  /** Takes all archives of these versions out of what is listed. @throws UPDATE_UNTRUSTED, DISK_FULL */
  delistArchives(versions: readonly string[]): Promise<void> {
    return this.#edit(delistingArchives(versions), 'updates.archives_delisted');
  }

  #edit(edit: Edit, event: string, facts: Readonly<Record<string, number>> = {}): Promise<void> {
    return this.#writing.run(async () => {
      const targets = edit(this.#current.targets.metadata.signed, this.#nextTargets());
      if (!targets) return;
      this.#require('targets').sign(targets);
      await this.#list(targets, encodeMetadata(targets));
      this.#logger.info(event, { targetsVersion: targets.signed.version, ...facts });
    });
  }

  targets(): { readonly etag: string; readonly body: Uint8Array } {
    return tagged(this.#current.targets);
  }

  /** The root that counts now. */
  root(): { readonly etag: string; readonly body: Uint8Array } {
    return tagged(this.#current.root);
  }

  /** What a delegated role has signed; undefined: nothing yet, or nobody has named it. */
  delegated(role: string): { readonly etag: string; readonly body: Uint8Array } | undefined {
    const file = this.#current.delegated.get(role);
    return file && tagged(file);
  }

  /**
   * Lists these versions; those that are listed already cost nothing.
   *
   * @throws UPDATE_UNTRUSTED (the key of targets is not here), CONFLICT (the same version with other files), DISK_FULL
   */
  add(releases: readonly Release[]): Promise<void> {
    return this.#edit((targets, next) => targetsWith(targets, releases, next), 'updates.listed');
  }

  /**
   * Takes these versions out of what is listed; those that are not listed cost nothing.
   *
   * @throws UPDATE_UNTRUSTED (the key of targets is not here), DISK_FULL
   */
  remove(refs: readonly { readonly name: string; readonly version: string }[]): Promise<void> {
    const edit: Edit = (targets, next) => targetsWithout(targets, refs, next);
    return this.#edit(edit, 'updates.delisted', { versions: refs.length });
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
      requireNewer('targets', offered, targets.metadata.signed.version, this.#nowAtMs());
      const taken = Buffer.from(body);
      await this.#list(offered, taken, this.#stillSigned(offered));
      this.#logger.info('updates.listed', { targetsVersion: offered.signed.version, by: 'publisher' });
      return etagOf(taken);
    });
  }

  /**
   * Takes metadata that a delegated role has signed: it may list its own models alone.
   *
   * @param ifMatch the ETag of what these follow; `*` where it has signed nothing yet
   * @returns the ETag of these
   * @throws NOT_FOUND (nobody has named the role), PRECONDITION_FAILED, UPDATE_UNTRUSTED, DISK_FULL
   */
  putDelegated(role: string, body: Uint8Array, ifMatch: string): Promise<string> {
    return this.#writing.run(async () => {
      const { targets, delegated } = this.#current;
      const before = delegated.get(role);
      if (ifMatch !== (before ? etagOf(before.body) : '*')) throw new AppError('PRECONDITION_FAILED');
      const offered = this.#ownOf(role, targets.metadata, body);
      const taken = Buffer.from(body);
      await this.#write(`${offered.signed.version}.${role}.json`, taken);
      const next = new Map(delegated).set(role, { metadata: offered, body: taken });
      await this.#list(targets.metadata, targets.body, next);
      this.#logger.info('updates.listed', { role, version: offered.signed.version, by: 'publisher' });
      return etagOf(taken);
    });
  }

  /** The key that is to take the place of the role's; it signs once a root names it. @throws UPDATE_UNTRUSTED, DISK_FULL */
  nextKey(role: Role): Promise<SigningKey> {
    return this.#writing.run(async () => {
      this.#require(role);
      return makeNextKey(this.#keysFolder, role);
    });
  }

  /**
   * Takes other keys, other delegations, or later expiries, once enough have signed them; for what this hub holds the key of, it signs itself.
   * What comes first on disk nobody can follow before the rest is there, as far as that can be.
   *
   * @throws UPDATE_UNTRUSTED, PRECONDITION_FAILED (others are in force by now), CONFLICT (the root), DISK_FULL
   */
  apply(value: unknown): Promise<void> {
    return this.#writing.run(async () => {
      const change = parseChange(value);
      const { root: before, targets: targetsBefore } = this.#current;
      const next = { keys: this.#keys, next: await readKeys(this.#keysFolder, '.next') };
      const root = change.root ?? before.metadata;
      if (change.root)
        requireNextRoot(change.root, before.metadata, this.#nowAtMs(), this.#heldWith(next.next));
      if (change.targets && change.before.targetsEtag !== etagOf(targetsBefore.body))
        throw new AppError(
          'PRECONDITION_FAILED',
          'other targets are in force by now: make this change anew, and have it signed again',
        );
      for (const role of change.delegated.keys())
        if (change.before.delegatedEtags?.[role] !== this.delegated(role)?.etag)
          throw new AppError(
            'PRECONDITION_FAILED',
            `${role} has signed something else by now: make this change anew, and have it signed again`,
          );
      this.#signOwn(change, root, next);
      const targets = this.#targetsUnder(root, change, next.next);
      const delegated = this.#stillSigned(targets.metadata);
      for (const [role, metadata] of change.delegated) {
        const body = encodeMetadata(metadata);
        delegated.set(role, { metadata: this.#ownOf(role, targets.metadata, body), body });
      }
      const isListChanged = targets !== targetsBefore || change.delegated.size > 0;
      if (targets !== targetsBefore)
        await this.#write(`${targets.metadata.signed.version}.targets.json`, targets.body);
      for (const [role, { metadata, body }] of delegated)
        if (change.delegated.has(role)) await this.#write(`${metadata.signed.version}.${role}.json`, body);
      if (change.root) {
        const body = encodeMetadata(change.root);
        await this.#write(`${change.root.signed.version}.root.json`, body);
        this.#current = { ...this.#current, root: { metadata: change.root, body } };
        this.#keys = await settleKeys(this.#keysFolder, change.root, next);
      }
      if (isListChanged || change.root) await this.#list(targets.metadata, targets.body, delegated);
      this.#logger.info('updates.keys_changed', {
        rootVersion: root.signed.version,
        targetsVersion: targets.metadata.signed.version,
      });
    });
  }

  /** Ids of the keys of a role that are here, those that come next among them. */
  #heldWith(next: SigningKeys): (role: Role) => (string | undefined)[] {
    return (role) => [this.#keys[role]?.id, next[role]?.id];
  }

  /** Delegated metadata as these targets still trust it: another key has to sign anew first. */
  #stillSigned(targets: Signed['targets']): Map<string, SignedFile<'targets'>> {
    return stillSigned(targets, this.#current.delegated, (role, error) =>
      this.#logger.failure('updates.delegation_to_sign', error, { role }),
    );
  }

  /** @throws NOT_FOUND, UPDATE_UNTRUSTED */
  #ownOf(role: string, targets: Signed['targets'], body: Uint8Array): Signed['targets'] {
    // Devices keep the number of a role whose delegation was taken away for a while.
    const lastVersion = this.#current.snapshot.metadata.signed.meta[`${role}.json`]?.version ?? 0;
    return delegatedFrom(role, targets, body, lastVersion, this.#nowAtMs());
  }

  /** With the keys that are here, where they are named. */
  #signOwn(
    change: Change,
    root: Signed['root'],
    { keys, next }: { readonly keys: SigningKeys; readonly next: SigningKeys },
  ): void {
    for (const key of [keys.root, next.root])
      if (key && change.root && [this.#current.root.metadata, root].some((one) => names(one, 'root', key)))
        key.sign(change.root);
    for (const key of [keys.targets, next.targets])
      if (key && change.targets && names(root, 'targets', key)) key.sign(change.targets);
    const [missing] = missingSignatures({
      ...change,
      before: { root: this.#current.root.metadata, targets: this.#current.targets.metadata },
    });
    if (missing)
      throw new AppError(
        'UPDATE_UNTRUSTED',
        `${missing.file} was signed by ${missing.signed} of the ${missing.threshold} different keys ${missing.by} that are wanted; it could be signed by ${missing.keys.join(', ') || 'nobody'}`,
      );
  }

  /** The targets that count under this root. @throws UPDATE_UNTRUSTED */
  #targetsUnder(root: Signed['root'], { targets: offered }: Change, next: SigningKeys): Current['targets'] {
    const { targets } = this.#current;
    if (offered) {
      requireSigned(root, 'targets', offered);
      requireNewer('targets', offered, targets.metadata.signed.version, this.#nowAtMs());
      return { metadata: offered, body: encodeMetadata(offered) };
    }
    try {
      requireSigned(root, 'targets', targets.metadata);
      return targets;
    } catch (error) {
      const key = [next.targets, this.#keys.targets].find((one) => one && names(root, 'targets', one));
      if (!key) throw error;
      const again = nextTargets(targets.metadata.signed, this.#nextTargets());
      key.sign(again);
      requireSigned(root, 'targets', again);
      return { metadata: again, body: encodeMetadata(again) };
    }
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
    const root = nextRoot(this.#current.root.metadata, {}, this.#nowAtMs());
    this.#require('root').sign(root);
    const body = encodeMetadata(root);
    await this.#write(`${root.signed.version}.root.json`, body);
    this.#current = { ...this.#current, root: { metadata: root, body } };
    this.#logger.info('updates.signed', { role: 'root', version: root.signed.version });
  }

  #canSign(role: Role): boolean {
    return canSign(this.#current.root.metadata, role, this.#keys);
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
  async #list(
    metadata: Signed['targets'],
    body: Buffer,
    delegated: Current['delegated'] = this.#current.delegated,
  ): Promise<void> {
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
      delegated,
      before: this.#current.snapshot.metadata,
    });
    await this.#write(`${snapshot.metadata.signed.version}.snapshot.json`, snapshot.body);
    await this.#stamp(snapshot, { targets: { metadata, body }, delegated });
    await this.#prune();
  }

  /** The last writing: from here on it counts. */
  async #stamp(
    snapshot: Current['snapshot'],
    { targets, delegated }: Pick<Current, 'targets' | 'delegated'> = this.#current,
  ): Promise<void> {
    const timestamp = signedTimestamp(this.#require('timestamp'), {
      version: this.#nextVersion('timestamp'),
      expires: this.#end('timestamp'),
      snapshot,
    });
    await this.#write('timestamp.json', timestamp.body);
    this.#current = { ...this.#current, targets, snapshot, timestamp, delegated };
    this.#content = contentOfAll(listedOf(this.#current));
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
      Math.min(...ROLES.filter((role) => this.#canSign(role)).map((role) => this.#dueAtMs(role))),
    );
  }

  #isDue(role: Role): boolean {
    return this.#canSign(role) && this.#dueAtMs(role) <= this.#nowAtMs();
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
    const delegated = new Set(
      files.map(({ role }) => role).filter((role) => !ROLES.some((one) => one === role)),
    );
    for (const role of ['targets', 'snapshot', ...delegated]) {
      const own = files.filter((one) => one.role === role);
      for (const { name } of own.slice(0, -KEPT_VERSIONS))
        await rm(join(this.#metadataFolder, name), { force: true });
    }
  }
}

/** ETag of metadata: of its bytes. */
const etagOf = (body: Uint8Array): string => `"${sha256Hex(body)}"`;

const tagged = ({ body }: { readonly body: Buffer }) => ({ etag: etagOf(body), body });

const listedOf = ({ targets, delegated }: Current): Listed => ({
  targets: targets.metadata,
  delegated: new Map([...delegated].map(([role, { metadata }]) => [role, metadata])),
});

const names = (root: Signed['root'], role: Role, key: SigningKey): boolean =>
  signersOf(root, role).keys.some(({ keyID }) => keyID === key.id);
