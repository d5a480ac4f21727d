/**
 * Puts an offered version of the agent into place, tries it, and takes it back where it does not come up: what root does for an agent that
 * may not change its own program. Started by outrider-update.path when the agent has written an offer; again where it was ended in the
 * midst of it; and at the boot after a power cut, before the agent is started.
 *
 * none       | an offer that is signed, wanted and fits                  -> installing
 * none       | any other offer                                           -> refused, or in-the-way (it may be offered again)
 * installing | unpacked aside, checked, placed, its own check passed     -> trial (on disk first), `current` leads to it, restarted
 * installing | anything else, or killed                                  -> refused; what was unpacked goes
 * trial      | ready, stays up, reaches the hub within a minute          -> committed
 * trial      | not; or killed, or a power cut                            -> the version before runs again, with the reason
 * trial      | does not reach the hub, and the one before does not either -> in-the-way: that was the link
 *
 * The program that does this is the one that ran before the trial (`/opt/outrider/updater`): a broken version is not asked to take itself
 * back. A version counts as committed once `trial.json` is gone.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { isOlderRelease, releaseVersion } from '../../../shared/contract/releases.ts';
import {
  machinePaths,
  type Offer,
  type Outcome,
  offerPaths,
  outcome as outcomeSchema,
} from '../../../shared/release/agent/handover.ts';
import { BlobStore } from '../../../shared/release/blob-store.ts';
import type { AgentArchive } from '../../../shared/release/release.ts';
import { readJson, syncFolder, writeJsonAtomic } from '../../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, toAppError, toErrorBody } from '../../../shared/runtime/errors.ts';
import { lockFolder } from '../../../shared/runtime/folder-lock.ts';
import type { Logger } from '../../../shared/runtime/logger.ts';
import type { Place } from '../place.ts';
import { readRelease } from '../release-folder.ts';
import { placeRelease, pointLink, prune, switchTo, versionBehind, versionIn } from '../versions.ts';
import { checkOffer, readOffer } from './check-offer.ts';
import { copyArchive } from './copy-archive.ts';
import { unpack } from './unpack.ts';

/** Whoever starts the agent on this machine. */
export interface Supervisor {
  /** Writes the unit of the version that `current` leads to, starts it anew, and waits. @returns why it does not come up; undefined: it stays up */
  restart(folder: string): Promise<string | undefined>;
  /** Whether the agent that runs reaches its hub; waits for it as long as it may take. */
  reachesHub(): Promise<boolean>;
  /** The version's own check, as the agent's user. @throws RELEASE_INVALID */
  check(folder: string, version: string): Promise<void>;
}

/** Place and machine of an update. */
export interface ApplyOptions {
  readonly place: Place;
  readonly supervisor: Supervisor;
  readonly platform: string;
  /** The agent is not started yet: only what is on disk is put right. */
  readonly isBoot?: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Keeps a second one out. */
  readonly lock?: typeof lockFolder;
  /** Before each step that changes something; for tests that end it there. */
  readonly onStep?: (step: string) => Promise<void> | void;
}

/** `trial.json` */
const trialFile = z.object({
  schema: z.literal(1),
  id: z.string(),
  version: releaseVersion,
  /** Names of folders below `/opt/outrider`. */
  folder: z.string().regex(/^[0-9A-Za-z.+-]+$/),
  before: z.string().regex(/^[0-9A-Za-z.+-]+$/),
  beforeThat: z
    .string()
    .regex(/^[0-9A-Za-z.+-]+$/)
    .nullable(),
});
type Trial = z.infer<typeof trialFile>;

/** Highest version that was committed here. */
const highestFile = z.object({ schema: z.literal(1), version: releaseVersion });
const HIGHEST = 'highest.json';
/** Where archives are unpacked, below `/opt/outrider`. */
const WORK = '.update-';
const UPDATE_UNIT = 'deploy/systemd/outrider-update.service';
/** What an older one does not say of itself. */
const FIRST_DATA_FORMAT = 1;

/** What the offer may be repeated after: it was not the version's fault. */
const IN_THE_WAY: readonly ErrorCode[] = [
  'UPDATE_EXPIRED',
  'UPDATE_OLDER',
  'UPDATE_UNTRUSTED',
  'UPDATE_NOT_LISTED',
  'UPDATE_NOT_WANTED',
  'DISK_FULL',
];

/**
 * Takes back what was left on trial, and installs what is offered.
 *
 * @returns what became of it; undefined: there was nothing to do
 * @throws DATA_LOCKED (another one is at work), or what the disk says
 */
export async function applyUpdate(options: ApplyOptions): Promise<Outcome | undefined> {
  const { place, lock: takeLock = lockFolder } = options;
  const lock = await takeLock(machinePaths(place.updates).own);
  try {
    const applying = new Applying(options);
    const left = await applying.takeBackLeftover();
    return options.isBoot ? left : ((await applying.applyOffer()) ?? left);
  } finally {
    await lock.unlock();
  }
}

class Applying {
  readonly #o: ApplyOptions;
  readonly #paths: ReturnType<typeof machinePaths>;

  constructor(options: ApplyOptions) {
    this.#o = options;
    this.#paths = machinePaths(options.place.updates);
  }

  /** A trial that nobody has ended: killed, or the power was cut. */
  async takeBackLeftover(): Promise<Outcome | undefined> {
    const trial = await readJson(this.#paths.trial, trialFile).catch(() => undefined);
    const last = await this.#last();
    if (!trial) {
      await rm(this.#paths.trial, { force: true });
      if (last?.phase === 'trial') return this.#settleEnded(last);
      return last?.phase === 'installing' ? this.#tell(last, 'in-the-way', interrupted()) : undefined;
    }
    return this.#takeBack(trial, interrupted());
  }

  /** It was ended between its last step and the word about it. */
  async #settleEnded(last: Outcome): Promise<Outcome> {
    const current = await versionBehind(this.#o.place, 'current');
    const isIt = current !== undefined && (await versionIn(current)) === last.version;
    if (!isIt) return this.#tell(last, 'rolled-back', interrupted());
    await this.#raise(last.version);
    return this.#tell(last, 'committed');
  }

  async applyOffer(): Promise<Outcome | undefined> {
    const { place, platform, clock, logger } = this.#o;
    const uid = (await stat(place.data)).uid;
    let offered: Offer | undefined;
    try {
      offered = await readOffer({ place, uid });
    } catch (error) {
      logger.failure('self_update.offer_refused', error);
      return undefined;
    }
    if (!offered || offered.id === (await this.#last())?.id) return undefined;
    const current = await versionBehind(place, 'current');
    if (current === undefined)
      return this.#tell(
        offered,
        'refused',
        new AppError('INSTALL_IMPOSSIBLE', 'no version is installed here'),
      );
    const version = await versionIn(current);
    try {
      const running = {
        ...{ version, highest: await this.#highest(version) },
        dataFormat: await dataFormatOf(current),
      };
      const how = { place, uid, platform, running, clock, logger };
      const archive = await checkOffer(offered, how);
      if (archive.version === version) return await this.#tell(offered, 'committed');
      await this.#step('tell installing');
      await this.#tell(offered, 'installing');
      const folder = await this.#place(archive, uid);
      return await this.#try(offered, folder, current);
    } catch (thrown) {
      const error = toAppError(thrown);
      logger.failure('self_update.refused', error, { version: offered.version });
      return this.#tell(offered, IN_THE_WAY.includes(error.code) ? 'in-the-way' : 'refused', error);
    }
  }

  /** The version in a folder of its own, checked to the last file; nothing leads to it yet. */
  async #place(archive: AgentArchive, uid: number): Promise<string> {
    const { place, supervisor } = this.#o;
    const { version, sha256, platform } = archive;
    await this.#step('unpack');
    // Of one that was killed.
    for (const name of await readdir(place.versions))
      if (name.startsWith(WORK)) await rm(join(place.versions, name), { recursive: true, force: true });
    const work = await mkdtemp(join(place.versions, WORK));
    try {
      const blobs = new BlobStore(offerPaths(join(place.data, 'agent')).blobs);
      const copy = join(work, 'archive.tar.gz');
      await copyArchive(blobs.path(sha256), copy, { uid, sha256, bytes: archive.bytes });
      const unpacked = join(work, 'release');
      await unpack(copy, unpacked, archive.unpackedBytes);
      await rm(copy);
      const release = await readRelease(unpacked);
      if (!release.files.some(({ path }) => path === UPDATE_UNIT))
        throw new AppError(
          'RELEASE_INVALID',
          `${version} is from before devices were updated from their hub, and could not be updated any more: install it by hand`,
        );
      if (
        release.digest !== archive.manifestSha256 ||
        release.version !== version ||
        release.platform !== platform
      )
        throw new AppError('RELEASE_INVALID', `the archive is not the release ${version} that was signed`);
      await this.#step('place');
      const { folder } = await placeRelease(place, release);
      await this.#step('check');
      try {
        await supervisor.check(folder, version);
      } catch (error) {
        await this.#removeUnlessLinked(folder);
        throw error;
      }
      return folder;
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  async #try({ id, version }: Offer, folder: string, current: string): Promise<Outcome> {
    const { place, supervisor, logger } = this.#o;
    const beforeThat = await versionBehind(place, 'previous');
    const trial: Trial = {
      ...{ schema: 1, id, version, folder: basename(folder), before: basename(current) },
      beforeThat: beforeThat === undefined ? null : basename(beforeThat),
    };
    // Who takes it back must not be what is tried.
    await pointLink(place.updater, trial.before);
    await this.#step('trial');
    await this.#tell(trial, 'trial');
    await writeJsonAtomic(this.#paths.trial, trial, 0o644);
    logger.info('self_update.trial', { version, before: trial.before });
    await this.#step('switch');
    await switchTo(place, folder);
    await this.#step('restart');
    const why = await supervisor.restart(folder);
    if (why !== undefined)
      return this.#takeBack(trial, new AppError('SERVICE_FAILED', `it does not come up: ${why.slice(-700)}`));
    await this.#step('reach hub');
    if (!(await supervisor.reachesHub()))
      return this.#takeBack(
        trial,
        new AppError('UPDATE_LINK_LOST', 'it was ready, and did not reach the hub within a minute'),
      );
    await this.#step('commit');
    await this.#commit(trial, folder);
    return this.#tell(trial, 'committed');
  }

  /** Once `trial.json` is gone nobody takes it back. */
  async #commit({ version }: Trial, folder: string): Promise<void> {
    const { place, logger } = this.#o;
    await rm(this.#paths.trial);
    await syncFolder(place.updates);
    await this.#step('raise');
    await pointLink(place.updater, basename(folder));
    await this.#raise(version);
    await prune(place);
    logger.info('self_update.committed', { version });
  }

  /** The version before runs again. Each step can be done once more. */
  async #takeBack(trial: Trial, error: AppError): Promise<Outcome> {
    const { place, supervisor, isBoot, logger } = this.#o;
    const { version, before, beforeThat } = trial;
    const folder = join(place.versions, before);
    await this.#step('switch back');
    await pointLink(place.current, before);
    if (beforeThat === null) await rm(place.previous, { force: true });
    else await pointLink(place.previous, beforeThat);
    await syncFolder(place.versions);
    await this.#step('restart before');
    const why = await supervisor.restart(folder);
    if (why !== undefined && !isBoot)
      logger.failure('self_update.before_fails', new AppError('SERVICE_FAILED', why), { version: before });
    // What takes the net from both is no fault of the new one.
    const isLinks = error.code === 'UPDATE_LINK_LOST' && !(await supervisor.reachesHub());
    await this.#step('end trial');
    await this.#removeUnlessLinked(join(place.versions, trial.folder));
    await rm(this.#paths.trial, { force: true });
    logger.failure('self_update.taken_back', error, { version, before });
    return isLinks
      ? this.#tell(
          trial,
          'in-the-way',
          new AppError(
            'HUB_UNREACHABLE',
            `${version} was ready; neither it nor the version before reached the hub, so it is tried again later`,
          ),
        )
      : this.#tell(trial, 'rolled-back', error);
  }

  async #removeUnlessLinked(folder: string): Promise<void> {
    const { place } = this.#o;
    const kept = [await versionBehind(place, 'current'), await versionBehind(place, 'previous')];
    if (!kept.includes(folder)) await rm(folder, { recursive: true, force: true });
  }

  async #highest(running: string): Promise<string> {
    const path = join(this.#paths.own, HIGHEST);
    const known = await readJson(path, highestFile).catch(() => undefined);
    return known && isOlderRelease(running, known.version) ? known.version : running;
  }

  async #raise(version: string): Promise<void> {
    const highest = await this.#highest(version);
    await writeJsonAtomic(join(this.#paths.own, HIGHEST), { schema: 1, version: highest }, 0o600);
  }

  #last(): Promise<Outcome | undefined> {
    return readJson(this.#paths.outcome, outcomeSchema).catch(() => undefined);
  }

  /** On disk, for the agent to read, when it returns. */
  async #tell(
    { id, version }: Pick<Offer, 'id' | 'version'>,
    phase: Outcome['phase'],
    error?: AppError,
  ): Promise<Outcome> {
    const body = error && toErrorBody(error);
    const said: Outcome = {
      ...{ schema: 1, id, version, phase, atMs: this.#o.clock.nowAtMs() },
      error: body ? { code: body.code, message: body.message.slice(0, 1_000) } : null,
    };
    await writeJsonAtomic(this.#paths.outcome, said, 0o644);
    return said;
  }

  async #step(step: string): Promise<void> {
    await this.#o.onStep?.(step);
  }
}

const interrupted = (): AppError =>
  new AppError(
    'UPDATE_INTERRUPTED',
    'this machine, or what installs updates on it, was ended in the midst of it',
  );

/** The form of data that a version writes, by its manifest. */
async function dataFormatOf(folder: string): Promise<number> {
  const manifest = z.object({ dataFormat: z.int().positive().default(FIRST_DATA_FORMAT) });
  const read = await readJson(join(folder, 'manifest.json'), manifest).catch(() => undefined);
  return read?.dataFormat ?? FIRST_DATA_FORMAT;
}
