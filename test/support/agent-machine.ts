/**
 * A device on which the agent is installed, below a root folder: real archives of small releases, a hub's real signatures, and a service that
 * says of each version whether it comes up and reaches the hub.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Place, placeBelow } from '../../cli/device/place.ts';
import { readRelease } from '../../cli/device/release-folder.ts';
import { type ApplyOptions, applyUpdate, type Supervisor } from '../../cli/device/update/apply-update.ts';
import { saysItsVersion } from '../../cli/device/update/systemd-supervisor.ts';
import { placeRelease, pointLink, switchTo } from '../../cli/device/versions.ts';
import { readArchiveManifest } from '../../shared/release/agent/archive-manifest.ts';
import { machinePaths, type Outcome, offerPaths } from '../../shared/release/agent/handover.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import type { AgentArchive } from '../../shared/release/release.ts';
import { TufRepository } from '../../shared/release/tuf/repository.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { newId, sha256Hex } from '../../shared/runtime/ids.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { temporaryFolder } from './fixed.ts';
import { packRelease, smallRelease } from './small-release.ts';

export const PLATFORM = `linux-${process.arch}`;
type ReleaseParts = NonNullable<Parameters<typeof smallRelease>[1]>;

export interface SignedRelease extends AgentArchive {
  /** The archive. */
  readonly path: string;
}

/** An archive of a version, not signed by anybody. */
export async function makeArchive(
  folder: string,
  parts: ReleaseParts & { readonly version: string },
  facts: Partial<AgentArchive> = {},
): Promise<SignedRelease> {
  const { version, platform = PLATFORM } = parts;
  const release = await smallRelease(join(folder, `made-${newId()}`), { ...parts, platform });
  const out = join(folder, `packed-${newId()}`);
  await packRelease(release, out, { version, platform });
  const file = `outrider-${version}-${platform}.tar.gz`;
  const path = join(out, file);
  const bytes = await readFile(path);
  const { sha256: manifestSha256, bytes: unpackedBytes, dataFormat = 1 } = await readArchiveManifest(path);
  return {
    ...{ version, platform: platform as AgentArchive['platform'], file, path },
    ...{ sha256: sha256Hex(bytes), bytes: bytes.length, unpackedBytes, manifestSha256, dataFormat },
    ...{ oneWay: false, wanted: false, ...facts },
  };
}

/** Hub and device. @param installed version that runs at the beginning */
export async function agentMachine(t: TestContext, installed = '9.1.0') {
  const folder = await temporaryFolder(t);
  const place: Place = placeBelow(join(folder, 'root'));
  const tuf = join(folder, 'tuf');
  const repository = await TufRepository.open({ folder: tuf, clock: systemClock, logger: silentLogger });
  const first = await readRelease(await smallRelease(join(folder, 'first'), { version: installed }));
  await switchTo(place, (await placeRelease(place, first)).folder);
  await pointLink(place.updater, installed);
  await mkdir(join(place.data, 'agent'), { recursive: true });
  await mkdir(place.updates, { recursive: true });
  const paths = { ...machinePaths(place.updates), ...offerPaths(join(place.data, 'agent')) };
  const root = { schema: 1, tokenSha256: '0'.repeat(64), root: repository.initialRoot() };
  await writeFile(paths.root, JSON.stringify(root));
  const blobs = new BlobStore(paths.blobs);
  /** Versions that do not come up, and those that do not reach the hub. */
  const broken = new Map<string, string>();
  const offline = new Set<string>();
  const started: string[] = [];
  let running = installed;
  const supervisor: Supervisor = {
    async restart(version) {
      running = basename(version);
      started.push(running);
      return broken.get(running);
    },
    reachesHub: () => Promise.resolve(!offline.has(running)),
    check: (version, name) => saysItsVersion(version, name, { uid: 0, gid: 0 }),
  };
  const apply = (more: Partial<ApplyOptions> = {}): Promise<Outcome | undefined> =>
    applyUpdate({
      ...{ place, supervisor, platform: PLATFORM, clock: systemClock, logger: silentLogger },
      // Who is killed leaves no lock behind; here all are one process.
      lock: async (path) => {
        await mkdir(path, { recursive: true });
        return { unlock: () => Promise.resolve() };
      },
      ...more,
    });
  return {
    ...{ folder, place, paths, repository, blobs, broken, offline, started, supervisor, apply },
    get running() {
      return running;
    },
    /** Makes and signs a version. */
    async release(
      parts: ReleaseParts & { readonly version: string },
      facts: Partial<AgentArchive> = {},
    ): Promise<SignedRelease> {
      const made = await makeArchive(folder, parts, facts);
      const { path: _path, ...archive } = made;
      await repository.listArchives([archive]);
      return made;
    },
    /** What the agent does: the archive, the metadata of this moment, the offer. @returns its id */
    async offer({ version, path, sha256 }: SignedRelease): Promise<string> {
      await blobs.takeIn(sha256, path);
      await rm(paths.metadata, { recursive: true, force: true });
      await cp(join(tuf, 'metadata'), paths.metadata, { recursive: true });
      const id = newId();
      await writeFile(paths.ready, JSON.stringify({ schema: 1, id, version }));
      return id;
    },
    /** Folders of versions, and where the links lead. */
    async versions(): Promise<string[]> {
      return (await readdir(place.versions)).sort();
    },
  };
}
