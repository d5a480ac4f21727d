/**
 * The device's side of signed updates (TUF 1.0): fetches metadata, lets tuf-js verify it, and says what a version consists of.
 * Around tuf-js, which writes in place and knows no floor (docs/design/link.md 4):
 *
 * work/      a copy of what is good, on which tuf-js works; verified, checked again at our own time, fsynced, then renamed to
 * current/   the newest good metadata, delegated/ included (delegates.ts); what was there before it is
 * previous/  the last good one, for a crash between the two renames
 * floor.json the least versions that are accepted, raised before the renames (floor.ts)
 */
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Fetcher, Updater } from 'tuf-js';
import { syncFile, syncFolder } from '../../runtime/atomic-file.ts';
import type { Clock } from '../../runtime/clock.ts';
import { AppError, isAppError, isDiskFull, systemCode } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import type { Logger } from '../../runtime/logger.ts';
import { makeFolder } from '../../runtime/make-folder.ts';
import type { AgentArchive, Delta, Release } from '../release.ts';
import { agentRoleOf, allArchives } from './agent-targets.ts';
import {
  DELEGATED_FOLDER,
  type Delegates,
  NO_DELEGATES,
  raiseDelegates,
  readDelegates,
  refreshDelegates,
} from './delegates.ts';
import { deltasIn } from './delta-targets.ts';
import { type MetadataFetch, MetadataFetcher, translate } from './fetcher.ts';
import { type Floor, hasOtherKeys, noFloor, raise, readFloor, writeFloor } from './floor.ts';
import { delegateOf, findRelease } from './listed.ts';
import {
  expiresAtMs,
  MAX_BYTES,
  parseMetadata,
  ROLES,
  requireSigned,
  type Signed,
  signedAtMs,
} from './roles.ts';

/** Trusted root, place and source of the metadata that a device verifies. */
export interface UpdateVerifierOptions {
  /** This verifier's own. */
  readonly folder: string;
  /** The root metadata that was given at enrolment, as JSON. */
  readonly trustedRoot: string;
  readonly fetch: MetadataFetch;
  readonly clock: Clock;
  readonly logger: Logger;
  /** When this software was built, on the epoch clock: the time is at least that. */
  readonly buildAtMs: number;
}

/** Verified metadata, with the bytes as they were signed. */
interface Good {
  readonly signed: Signed;
  readonly bodies: Readonly<Record<keyof Signed, Buffer>>;
  readonly delegates: Delegates;
}

/** Verifier of signed metadata on a device; what it has once accepted it never goes back behind. */
export class UpdateVerifier {
  readonly #o: UpdateVerifierOptions;
  readonly #trustedRootSha256: string;
  #floor: Floor;
  #good: Good | undefined;
  #isLoaded = false;
  #refreshing: Promise<void> | undefined;

  constructor(options: UpdateVerifierOptions) {
    this.#o = options;
    this.#trustedRootSha256 = sha256Hex(options.trustedRoot);
    this.#floor = noFloor(this.#trustedRootSha256);
  }

  /**
   * Brings the metadata up to date. When it throws, what was good before stays in use.
   *
   * @throws UPDATE_UNTRUSTED, UPDATE_EXPIRED, UPDATE_OLDER, DISK_FULL, or what `fetch` throws
   */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Reads what was good when the device was last on, without asking anybody; `refresh` does it too. */
  async load(): Promise<void> {
    if (this.#isLoaded) return;
    const { folder, logger } = this.#o;
    const floor = await readFloor(folder);
    if (floor && floor.trustedRootSha256 !== this.#trustedRootSha256) {
      // Enrolled again, at another hub or one that has begun anew.
      logger.warn('updates.other_root');
      await rm(folder, { recursive: true, force: true });
    } else {
      if (floor) this.#floor = floor;
      this.#good = (await this.#read('current')) ?? (await this.#read('previous'));
      if (floor && !this.#good) logger.warn('updates.metadata_lost');
    }
    this.#isLoaded = true;
  }

  /**
   * What the newest good metadata says of a version; undefined when it does not list it, or not in one voice.
   *
   * @throws what has come in the way of the publisher's metadata that would list it
   */
  release(name: string, version: string): Release | undefined {
    if (!this.#good) return undefined;
    const { signed, delegates } = this.#good;
    const { targets } = signed;
    const role = delegates.failures.size === 0 ? undefined : delegateOf(targets, name, version);
    const failure = role === undefined ? undefined : delegates.failures.get(role);
    if (failure) throw failure;
    const delegated = new Map([...delegates.files].map(([one, { metadata }]) => [one, metadata]));
    return findRelease({ targets, delegated }, name, version);
  }

  /**
   * The archive of a version of the agent for a platform; undefined when the newest good metadata list none.
   *
   * @throws what has come in the way of the metadata of whoever may list it
   */
  archive(version: string, platform: string): AgentArchive | undefined {
    if (!this.#good) return undefined;
    const { signed, delegates } = this.#good;
    const { targets } = signed;
    const delegated = new Map([...delegates.files].map(([one, { metadata }]) => [one, metadata]));
    const found = allArchives({ targets, delegated }).find(
      (one) => one.version === version && one.platform === platform,
    );
    const role = found ? undefined : agentRoleOf(targets);
    const failure = role === undefined ? undefined : delegates.failures.get(role);
    if (failure) throw failure;
    return found;
  }

  /** The deltas that the newest good metadata lists. */
  deltas(): Delta[] {
    return this.#good ? deltasIn(this.#good.signed.targets.signed) : [];
  }

  async #refresh(): Promise<void> {
    await this.load();
    const { folder } = this.#o;
    const work = join(folder, 'work');
    try {
      await this.#prepare(work);
      const top = await this.#update(work);
      this.#refuseExpired(top.signed);
      const raised = raise(this.#floor, top.signed);
      const found = await this.#withDelegates(top);
      if (!this.#isNew(found)) {
        this.#good = found;
        return;
      }
      const delegated = raiseDelegates(this.#floor.delegated, found.delegates, found.signed.targets);
      const floor = { ...raised, delegated };
      await this.#writeDelegates(work, found.delegates);
      await writeFloor(folder, floor);
      this.#floor = floor;
      await this.#swap(work);
      this.#good = found;
      this.#o.logger.info('updates.refreshed', { versions: floor.versions });
    } catch (error) {
      throw isDiskFull(error) ? new AppError('DISK_FULL', undefined, { cause: error }) : error;
    } finally {
      await rm(work, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  /** What tuf-js begins with: what is good, else the root from enrolment. */
  async #prepare(work: string): Promise<void> {
    await rm(work, { recursive: true, force: true });
    await makeFolder(work);
    const bodies = this.#good?.bodies ?? { root: Buffer.from(this.#o.trustedRoot) };
    for (const [role, body] of Object.entries(bodies)) await writeFile(join(work, `${role}.json`), body);
  }

  /** TUF 5.3.11: where a new root has other keys, what the old ones have signed does not hold up what the new ones sign. */
  async #update(work: string): Promise<Good> {
    try {
      return await this.#updateOnce(work);
    } catch (error) {
      const before = this.#good?.signed.root;
      if (!before || !isAppError(error, 'UPDATE_OLDER')) throw error;
      // Only a root that follows from the one before has been written there.
      if (!hasOtherKeys(before, parseMetadata('root', await readFile(join(work, 'root.json'))))) throw error;
      for (const role of ROLES) if (role !== 'root') await rm(join(work, `${role}.json`), { force: true });
      return await this.#updateOnce(work);
    }
  }

  /** tuf-js's part of the work, in the terms of our errors. */
  async #updateOnce(work: string): Promise<Good> {
    const fetcher = new MetadataFetcher(this.#o.fetch);
    try {
      await this.#updater(work, fetcher).refresh();
    } catch (error) {
      throw translate(error, fetcher);
    }
    // tuf-js counts the ids of keys; we count keys.
    return loadGood(work);
  }

  #updater(work: string, fetcher: Fetcher): Updater {
    const { root, timestamp, snapshot, targets } = MAX_BYTES;
    return new Updater({
      metadataDir: work,
      metadataBaseUrl: MetadataFetcher.BASE_URL,
      fetcher,
      config: {
        rootMaxLength: root,
        timestampMaxLength: timestamp,
        snapshotMaxLength: snapshot,
        targetsMaxLength: targets,
      },
    });
  }

  async #withDelegates({ signed, bodies }: Good): Promise<Good> {
    const delegates = await refreshDelegates(signed, {
      before: this.#good?.delegates.files ?? new Map(),
      fetch: this.#o.fetch,
      floor: this.#floor.delegated,
      nowAtMs: this.#nowAtMs(signed),
    });
    for (const [role, error] of delegates.failures)
      this.#o.logger.failure('updates.delegation_refused', error, { role });
    return { signed, bodies, delegates };
  }

  async #writeDelegates(work: string, { files }: Delegates): Promise<void> {
    const folder = join(work, DELEGATED_FOLDER);
    await rm(folder, { recursive: true, force: true });
    if (files.size === 0) return;
    await makeFolder(folder);
    for (const [role, { body }] of files) await writeFile(join(folder, `${role}.json`), body);
  }

  #nowAtMs({ timestamp }: Signed): number {
    const { clock, buildAtMs } = this.#o;
    return Math.max(clock.nowAtMs(), buildAtMs, this.#floor.signedAtMs, signedAtMs(timestamp));
  }

  /** tuf-js asks the system's clock, which may say 1970 (TUF 5.3.10, 5.4.4, 5.5.6, 5.6.5). @throws UPDATE_EXPIRED */
  #refuseExpired(signed: Signed): void {
    const nowAtMs = this.#nowAtMs(signed);
    for (const role of ROLES) {
      if (expiresAtMs(signed[role]) > nowAtMs) continue;
      throw new AppError(
        'UPDATE_EXPIRED',
        `${role}.json has expired at ${signed[role].signed.expires}, and it is ${new Date(nowAtMs).toISOString()} at least`,
      );
    }
  }

  #isNew({ bodies, delegates: { files } }: Good): boolean {
    const before = this.#good;
    if (!before || ROLES.some((role) => !before.bodies[role].equals(bodies[role]))) return true;
    const known = before.delegates.files;
    const isKnown = (role: string, body: Buffer): boolean => known.get(role)?.body.equals(body) === true;
    return known.size !== files.size || [...files].some(([role, { body }]) => !isKnown(role, body));
  }

  async #swap(work: string): Promise<void> {
    const { folder } = this.#o;
    const current = join(folder, 'current');
    const previous = join(folder, 'previous');
    for (const role of ROLES) await syncFile(join(work, `${role}.json`));
    const delegated = join(work, DELEGATED_FOLDER);
    const names = await readdir(delegated).catch(() => []);
    for (const name of names) await syncFile(join(delegated, name));
    if (names.length > 0) await syncFolder(delegated);
    await syncFolder(work);
    // Only what is good takes the place of the last good one.
    if (await readGood(current)) {
      await rm(previous, { recursive: true, force: true });
      await rename(current, previous);
    } else {
      await rm(current, { recursive: true, force: true });
    }
    await rename(work, current);
    await syncFolder(folder);
  }

  #read(name: 'current' | 'previous'): Promise<Good | undefined> {
    return readGood(join(this.#o.folder, name));
  }
}

/** @throws UPDATE_UNTRUSTED, or what the system says */
async function loadGood(folder: string): Promise<Good> {
  const bodies = {
    root: await readFile(join(folder, 'root.json')),
    targets: await readFile(join(folder, 'targets.json')),
    snapshot: await readFile(join(folder, 'snapshot.json')),
    timestamp: await readFile(join(folder, 'timestamp.json')),
  };
  const signed = {
    root: parseMetadata('root', bodies.root),
    targets: parseMetadata('targets', bodies.targets),
    snapshot: parseMetadata('snapshot', bodies.snapshot),
    timestamp: parseMetadata('timestamp', bodies.timestamp),
  };
  for (const role of ROLES) requireSigned(signed.root, role, signed[role]);
  return { signed, bodies, delegates: NO_DELEGATES };
}

/** Metadata that has been verified before, if it is whole. */
async function readGood(folder: string): Promise<Good | undefined> {
  try {
    const good = await loadGood(folder);
    const files = await readDelegates(folder, good.signed.targets);
    return { ...good, delegates: { files, failures: new Map() } };
  } catch (error) {
    if (error instanceof AppError || ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(systemCode(error) ?? ''))
      return undefined;
    throw error;
  }
}
