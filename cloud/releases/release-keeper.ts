/**
 * Releases of the agent as signed targets. An archive in the hub's folder of releases is listed by the hub itself where it holds the key
 * and nobody else was given that part of it; else whoever pushes it signs. What is signed and here is published: devices may be told.
 *
 * A look: the folder -> sign what is new, and say of each version whether the hub wants it of somebody (a device goes back to no other)
 * -> record what is published. It is taken every few seconds and after each order; each step can be done again.
 */
import { copyFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DeviceRecord } from '../../shared/contract/admin.ts';
import type { AgentRelease, AgentReleases } from '../../shared/contract/agent-releases.ts';
import { AGENT_NAME, newestReleaseFirst, type ReleaseRecord } from '../../shared/contract/releases.ts';
import type { AgentArchive } from '../../shared/release/release.ts';
import { syncFile, syncFolder, writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isDiskFull } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import type { AgentReleaseAdmin, AgentReleaseBook, BlobShelf, EventSink, ReleaseShelf } from '../ports.ts';

/** The signed metadata, as far as the agent's archives go. */
interface ArchiveListing {
  /** Whether this hub signs for them itself. */
  readonly canListArchives: boolean;
  archives(): AgentArchive[];
  listArchives(archives: readonly AgentArchive[]): Promise<void>;
  delistArchives(versions: readonly string[]): Promise<void>;
}

/** Folder, signatures and records of releases. */
export interface ReleaseKeeperOptions {
  readonly folder: string;
  readonly shelf: ReleaseShelf;
  readonly updates: ArchiveListing;
  readonly book: AgentReleaseBook;
  readonly blobs: Pick<BlobShelf, 'size' | 'path'>;
  readonly devices: () => readonly Pick<DeviceRecord, 'reported'>[];
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
}

type Change = AgentReleaseAdmin['change'];
type Request = Parameters<AgentReleaseAdmin['take']>[0];

const LOOK_EVERY_MS = 5_000;
/** Of archives that were made before they said it. */
const FIRST_DATA_FORMAT = 1;

/** Keeper of the agent's releases: folder, signed metadata and records say the same. */
export class ReleaseKeeper implements AgentReleaseAdmin, Part {
  readonly #o: ReleaseKeeperOptions;
  /** One look or order at a time. */
  readonly #doing = new SerialQueue();
  /** Archives that are here, by SHA-256. */
  readonly #paths = new Map<string, string>();
  /** SHA-256 of those of which somebody has said that there is no way back. */
  readonly #oneWay = new Set<string>();
  #records: readonly ReleaseRecord[] = [];
  #cancel: () => void = () => undefined;
  #isStopped = true;
  #told = '';
  #failure = '';

  constructor(options: ReleaseKeeperOptions) {
    this.#o = options;
  }

  async start(): Promise<void> {
    this.#isStopped = false;
    await this.#lookQuietly();
    this.#lookLater();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    await this.#doing.settled();
  }

  /** Where an archive lies; undefined where none that was looked at has this content. */
  pathOf(sha256: string): string | undefined {
    return this.#paths.get(sha256);
  }

  async list(): Promise<AgentReleases> {
    await this.#lookQuietly();
    return this.#shown();
  }

  async take({ file, sha256, oneWay }: Request): Promise<AgentReleases> {
    const { blobs, folder, shelf } = this.#o;
    await this.#doing.run(async () => {
      if ((await blobs.size(sha256)) === undefined)
        throw new AppError('NOT_FOUND', `there is no blob ${sha256}: upload the archive first`);
      const there = (await shelf.list()).find((one) => one.file === file);
      if (there && there.sha256 !== sha256)
        throw new AppError(
          'CONFLICT',
          `${file} is here already, with other content: give a new build a new version, or remove ${there.version} first`,
        );
      if (!there) await shelve({ file, sha256, from: blobs.path(sha256), folder });
      const record = (await shelf.list()).find((one) => one.file === file);
      if (!record) {
        await this.#discard(file);
        throw new AppError('RELEASE_INVALID', `${file} is no archive of outrider release`);
      }
      if (oneWay) this.#oneWay.add(record.sha256);
      await this.#look();
    });
    return this.#shown();
  }

  async remove(version: string): Promise<AgentReleases> {
    const { book, updates, shelf } = this.#o;
    await this.#doing.run(async () => {
      const here = (await shelf.list()).filter((one) => one.version === version);
      const listed = updates.archives().filter((one) => one.version === version);
      if (here.length === 0 && listed.length === 0)
        throw new AppError('NOT_FOUND', `there is no release ${version} of the agent here`);
      const holder = book.holderOf(version);
      if (holder !== undefined) throw new AppError('MODEL_IN_USE', holder);
      if (updates.canListArchives) await updates.delistArchives([version]);
      else if (listed.length > 0)
        throw new AppError(
          'UPDATE_UNTRUSTED',
          `${AGENT_NAME}@${version} is listed by a key that is not on this hub: outrider releases rm ${version} --signing-key FILE, where it is`,
        );
      for (const { file } of here) await this.#discard(file);
      await this.#look();
    });
    return this.#shown();
  }

  async change(...order: Parameters<Change>): ReturnType<Change> {
    await this.#doing.run(async () => {
      await this.#o.book.change(...order);
      await this.#look();
    });
    return this.#shown();
  }

  async #discard(file: string): Promise<void> {
    for (const name of [`${file}.sha256`, file]) await rm(join(this.#o.folder, name), { force: true });
  }

  #lookLater(): void {
    if (this.#isStopped) return;
    this.#cancel = this.#o.clock.after(LOOK_EVERY_MS, () => {
      void this.#lookQuietly().finally(() => this.#lookLater());
    });
  }

  /** What stands in the way is told once. */
  #lookQuietly(): Promise<void> {
    return this.#doing.run(() =>
      this.#look().then(
        () => {
          this.#failure = '';
        },
        (error: unknown) => {
          if (String(error) !== this.#failure) this.#o.logger.failure('releases.not_listed', error);
          this.#failure = String(error);
        },
      ),
    );
  }

  async #look(): Promise<void> {
    const { shelf, updates, book, folder } = this.#o;
    const records = firstOfEach(await shelf.list());
    this.#records = records;
    this.#paths.clear();
    for (const { sha256, file } of records) this.#paths.set(sha256, join(folder, file));
    if (updates.canListArchives) await this.#sign(records, book.wantedBySomebody());
    const published: Record<string, ReleaseRecord['platform'][]> = {};
    for (const { version, platform, sha256 } of updates.archives())
      if (this.#paths.has(sha256)) published[version] = [...(published[version] ?? []), platform];
    await book.publish(published);
    this.#tell();
  }

  /** One that cannot be listed (its number is taken by another build) keeps nobody else out. */
  async #sign(records: readonly ReleaseRecord[], wanted: ReadonlySet<string>): Promise<void> {
    const { updates } = this.#o;
    const listed = updates.archives();
    const isFree = ({ sha256, version, platform }: ReleaseRecord): boolean =>
      !listed.some((one) => one.version === version && one.platform === platform && one.sha256 !== sha256);
    const here = records.filter(isFree);
    // Those whose file is gone may be wanted no more.
    const gone = listed.filter(({ sha256 }) => !here.some((one) => one.sha256 === sha256));
    await updates.listArchives([
      ...here.map((one) => this.#described(one, listed, wanted)),
      ...gone.map((one) => ({ ...one, wanted: wanted.has(one.version) })),
    ]);
  }

  #described(
    { version, platform, file, sha256, bytes, unpackedBytes, manifestSha256, dataFormat }: ReleaseRecord,
    listed: readonly AgentArchive[],
    wanted: ReadonlySet<string>,
  ): AgentArchive {
    const known = listed.find((one) => one.sha256 === sha256);
    return {
      ...{ version, platform, file, sha256, bytes, unpackedBytes, manifestSha256 },
      dataFormat: dataFormat ?? FIRST_DATA_FORMAT,
      oneWay: this.#oneWay.has(sha256) || known?.oneWay === true,
      wanted: wanted.has(version),
    };
  }

  #shown(): AgentReleases {
    const { updates, book, devices } = this.#o;
    const { deployed, policy, plan } = book.standing;
    const listed = updates.archives();
    const runs = devices().map(({ reported }) => reported?.agentVersion);
    const versions = new Set([...this.#records, ...listed].map(({ version }) => version));
    const releases = [...versions].map((version): AgentRelease => {
      const here = this.#records.filter((one) => one.version === version);
      const signed = listed.filter((one) => one.version === version);
      const isSigned = (sha256: string): boolean => signed.some((one) => one.sha256 === sha256);
      return {
        version,
        published: here.some(({ sha256 }) => isSigned(sha256)),
        deployed: deployed === version,
        oneWay: signed.some(({ oneWay }) => oneWay),
        archives: here.map(({ platform, file, bytes, sha256 }) => ({
          ...{ platform, file, bytes, sha256 },
          signed: isSigned(sha256),
        })),
        devices: runs.filter((one) => one === version).length,
      };
    });
    return {
      releases: releases.sort((one, other) => newestReleaseFirst(one.version, other.version)),
      ...{ deployed, policy, plan },
    };
  }

  #tell(): void {
    const now = this.#shown();
    const { deployed, policy, plan } = now;
    const said = JSON.stringify([
      deployed,
      policy,
      plan,
      now.releases.map(({ devices: _devices, ...one }) => one),
    ]);
    if (said === this.#told) return;
    this.#told = said;
    this.#o.events.publish({ type: 'agent-releases', ...now });
  }
}

/** Puts an archive into the folder. The digest comes last: before it is there nobody takes the archive for whole. */
async function shelve({
  file,
  sha256,
  from,
  folder,
}: {
  readonly file: string;
  readonly sha256: string;
  readonly from: string;
  readonly folder: string;
}): Promise<void> {
  const part = join(folder, `.${file}.part`);
  try {
    await makeFolder(folder);
    await copyFile(from, part);
    await syncFile(part);
    await rename(part, join(folder, file));
    await syncFolder(folder);
    // As `sha256sum -c` reads it.
    await writeFileAtomic(join(folder, `${file}.sha256`), `${sha256}  ${file}\n`, 0o644);
  } catch (error) {
    await rm(part, { force: true });
    throw isDiskFull(error) ? new AppError('DISK_FULL', undefined, { cause: error }) : error;
  }
}

/** Of two builds of one version for one platform the one that the folder names first. */
function firstOfEach(records: readonly ReleaseRecord[]): ReleaseRecord[] {
  const seen = new Map<string, ReleaseRecord>();
  for (const one of records) {
    const key = `${one.version} ${one.platform}`;
    if (!seen.has(key)) seen.set(key, one);
  }
  return [...seen.values()];
}
