/** Puts together what brings versions to devices: the signed metadata, the blobs, the publisher, and the folders of `--models`. */
import { join } from 'node:path';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { makeDelta } from '../../shared/release/delta/delta-process.ts';
import { findModelFolders } from '../../shared/release/folder/model-folder.ts';
import type { Delta } from '../../shared/release/release.ts';
import { TufRepository } from '../../shared/release/tuf/repository.ts';
import { ROLES } from '../../shared/release/tuf/roles.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { DeltaMaker } from '../deltas/delta-maker.ts';
import { DeltaShelf } from '../deltas/delta-shelf.ts';
import { showModelDisk } from '../metrics.ts';
import type { BlobShelf, SigningDesk } from '../ports.ts';
import { VersionPublisher } from '../publishing/publisher.ts';
import { createRehearsal } from '../publishing/rehearsal.ts';
import { VersionRemover } from '../publishing/remover.ts';
import { signingRoles, signingStatus } from '../publishing/signing-status.ts';
import { SigningWatch } from '../publishing/signing-watch.ts';
import { ReleaseFolder } from '../releases/release-folder.ts';
import { ReleaseKeeper } from '../releases/release-keeper.ts';
import type { HubProgram } from './program.ts';
import type { Records } from './records.ts';

/** The parts that others need of it. */
export interface Publishing {
  readonly updates: TufRepository;
  readonly blobs: BlobShelf;
  readonly publisher: VersionPublisher;
  readonly signing: SigningDesk;
  /** What devices have may have changed: differences may be worth making. */
  readonly considerDeltas: () => void;
  /** Those that are made, listed or not. */
  readonly offeredDeltas: () => Delta[];
  readonly remover: VersionRemover;
  /** What `/install.sh` installs. */
  readonly releases: ReleaseFolder;
  /** The same archives as what devices are updated to. */
  readonly agentReleases: ReleaseKeeper;
}

/**
 * Starts publishing: when it returns, everything that is recorded and everything that lies in `--models` is there and listed.
 *
 * @throws DATA_CORRUPT, DISK_FULL
 */
export async function startPublishing(
  program: HubProgram,
  { registry, events }: Records,
): Promise<Publishing> {
  const { config, folder, isRestored, lifecycle, metrics, clock, logger } = program;
  const updatesFolder = join(folder, 'tuf');
  const updates = await TufRepository.open({ folder: updatesFolder, isRestored, clock, logger });
  await lifecycle.start('updates', updates);
  if (updates.isDevelopment)
    logger.warn('updates.development_keys', { keysFolder: join(updatesFolder, 'keys') });
  const blobs = new BlobStore(join(folder, 'blobs'));
  const roles = () => signingRoles(updates, clock.nowAtMs());
  const watch = new SigningWatch({ roles, events, metrics, clock, logger });
  const deltas = await openDeltas(program, { registry, updates });
  const remover = new VersionRemover({
    ...{ removal: registry.removal, models: registry.models, updates, blobs },
    ...{ keepVersions: config.keepVersions, events, clock, logger },
  });
  const publisher = new VersionPublisher({
    models: registry.models,
    blobs,
    updates,
    rehearse: createRehearsal({ startRunner, threads: config.threads, clock }),
    prepare: async (ref) => deltas.maker?.prepare(ref, PREPARE_MS),
    folder: join(folder, 'models'),
    events,
    onListed: () => {
      watch.look();
      void remover.tidy();
    },
    isRemoved: (name, digest) => registry.removal.isRemoved(name, digest),
    clock,
    logger,
  });
  await publisher.restore();
  await lifecycle.start('signing watch', watch);
  await takeInModels(config.modelsDir, publisher, logger);
  await remover.tidy();
  await sweepUploads(blobs, { models: registry.models, removal: registry.removal, updates }, clock, logger);
  const releases = new ReleaseFolder(config.releasesDir, logger);
  const agentReleases = new ReleaseKeeper({
    ...{ folder: config.releasesDir, shelf: releases, updates, blobs, events, clock, logger },
    book: registry.agentReleases,
    devices: () => registry.devices.list(),
  });
  await lifecycle.start('releases', agentReleases);
  const { models, removal } = registry;
  showModelDisk(metrics, () => models.list());
  if (deltas.maker) await lifecycle.start('deltas', deltas.maker);
  const signing: SigningDesk = {
    status: () => signingStatus(updates, models, { removal, nowAtMs: clock.nowAtMs() }),
    nextKey: (role) => nextKeyOf(updates, role),
  };
  return {
    updates,
    blobs: withOthers(blobs, deltas.shelf, agentReleases),
    publisher,
    signing,
    remover,
    releases,
    agentReleases,
    considerDeltas: () => deltas.maker?.consider(),
    offeredDeltas: () => deltas.shelf.all(),
  };
}

/** @throws NOT_FOUND, UPDATE_UNTRUSTED (the key is elsewhere: so is the next), DISK_FULL */
async function nextKeyOf(updates: TufRepository, name: string): ReturnType<SigningDesk['nextKey']> {
  const role = ROLES.find((one) => one === name);
  if (!role) throw new AppError('NOT_FOUND', 'this hub holds keys of root, targets, snapshot and timestamp');
  const key = await updates.nextKey(role);
  return { role, id: key.id, publicKey: key.publicPem };
}

/** A device that is told of a version before its differences are there fetches whole files. */
const PREPARE_MS = 30_000;

/** The differences between versions, and who makes them where that is wanted. */
async function openDeltas(
  { config, folder, clock, logger, metrics }: HubProgram,
  { registry, updates }: Pick<Records, 'registry'> & { readonly updates: TufRepository },
): Promise<{ readonly shelf: DeltaShelf; readonly maker: DeltaMaker | undefined }> {
  const shelf = await DeltaShelf.open({
    folder: join(folder, 'deltas'),
    maxBytes: config.maxDeltaBytes,
    clock,
    logger,
  });
  metrics.gauge('outrider_deltas_bytes', 'Disk that differences between versions take', () => shelf.bytes);
  if (config.maxDeltaBytes === 0) {
    if (updates.canList) await updates.listDeltas([]);
    return { shelf, maker: undefined };
  }
  const { models, devices, desired } = registry;
  const maker = new DeltaMaker({
    shelf,
    facts: () => ({
      devices: devices.list(),
      wantedBy: (id) => desired.of(id)?.models ?? [],
      versions: models.all().map((ref) => ({ ...ref, published: models.stored(ref)?.published ?? false })),
    }),
    copyOf: (ref) => {
      const files = models.stored(ref)?.files ?? [];
      return files.length === 0 ? undefined : { folder: models.folderOf(ref), files };
    },
    updates,
    make: makeDelta,
    ...{ clock, logger, metrics },
  });
  return { shelf, maker };
}

/** What devices fetch: files of versions, differences between them, and releases of the agent. */
const withOthers = (blobs: BlobStore, shelf: DeltaShelf, releases: ReleaseKeeper): BlobShelf => ({
  size: async (sha256) => (await blobs.size(sha256)) ?? shelf.sizeOf(sha256),
  partialBytes: (sha256) => blobs.partialBytes(sha256),
  append: (sha256, offset, source, maxBytes) => blobs.append(sha256, offset, source, maxBytes),
  finish: (sha256) => blobs.finish(sha256),
  path: (sha256) => shelf.pathOf(sha256) ?? releases.pathOf(sha256) ?? blobs.path(sha256),
});

/** Uploads that never became part of a version go. */
const FORGOTTEN_AFTER_MS = 86_400_000;

async function sweepUploads(
  blobs: BlobStore,
  {
    models,
    removal,
    updates,
  }: Pick<Records['registry'], 'models' | 'removal'> & { readonly updates: TufRepository },
  clock: Clock,
  logger: Logger,
): Promise<void> {
  const files = [...models.all(), ...removal.marked()].flatMap((ref) => models.stored(ref)?.files ?? []);
  // A publisher who signs elsewhere may have listed a version with another README than this hub has recorded.
  const kept = new Set([...files.map(({ sha256 }) => sha256), ...updates.digests()]);
  const bytes = await blobs.sweep(kept, clock.nowAtMs() - FORGOTTEN_AFTER_MS);
  if (bytes > 0) logger.info('hub.uploads_swept', { bytes });
}

/** Each folder whose digest is not known becomes its name's next version; one that is not valid is told and passed over. */
async function takeInModels(modelsDir: string, publisher: VersionPublisher, logger: Logger): Promise<void> {
  const onInvalid = (path: string, error: unknown): void =>
    logger.failure('hub.model_invalid', error, { path });
  for (const ref of await publisher.takeIn(await findModelFolders(modelsDir, onInvalid), onInvalid))
    logger.info('hub.model', { model: ref.name, version: ref.version, digest: ref.digest });
}
