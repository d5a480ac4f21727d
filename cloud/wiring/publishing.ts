/** Puts together what brings versions to devices: the signed metadata, the blobs, the publisher, and the folders of `--models`. */
import { join } from 'node:path';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { findModelFolders } from '../../shared/release/folder/model-folder.ts';
import { TufRepository } from '../../shared/release/tuf/repository.ts';
import { ROLES } from '../../shared/release/tuf/roles.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { showModelDisk } from '../metrics.ts';
import type { SigningDesk } from '../ports.ts';
import { VersionPublisher } from '../publishing/publisher.ts';
import { createRehearsal } from '../publishing/rehearsal.ts';
import { VersionRemover } from '../publishing/remover.ts';
import { signingRoles, signingStatus } from '../publishing/signing-status.ts';
import { SigningWatch } from '../publishing/signing-watch.ts';
import type { HubProgram } from './program.ts';
import type { Records } from './records.ts';

/** The parts that others need of it. */
export interface Publishing {
  readonly updates: TufRepository;
  readonly blobs: BlobStore;
  readonly publisher: VersionPublisher;
  readonly signing: SigningDesk;
  readonly remover: VersionRemover;
}

/**
 * Starts publishing: when it returns, everything that is recorded and everything that lies in `--models` is there and listed.
 *
 * @throws DATA_CORRUPT, DISK_FULL
 */
export async function startPublishing(
  { config, folder, isRestored, lifecycle, metrics, clock, logger }: HubProgram,
  { registry, events }: Records,
): Promise<Publishing> {
  const updatesFolder = join(folder, 'tuf');
  const updates = await TufRepository.open({ folder: updatesFolder, isRestored, clock, logger });
  await lifecycle.start('updates', updates);
  if (updates.isDevelopment)
    logger.warn('updates.development_keys', { keysFolder: join(updatesFolder, 'keys') });
  const blobs = new BlobStore(join(folder, 'blobs'));
  const roles = () => signingRoles(updates, clock.nowAtMs());
  const watch = new SigningWatch({ roles, events, metrics, clock, logger });
  const remover = new VersionRemover({
    ...{ removal: registry.removal, models: registry.models, updates, blobs },
    ...{ keepVersions: config.keepVersions, events, clock, logger },
  });
  const publisher = new VersionPublisher({
    models: registry.models,
    blobs,
    updates,
    rehearse: createRehearsal({ startRunner, threads: config.threads, clock }),
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
  const { models, removal } = registry;
  showModelDisk(metrics, () => models.list());
  const signing: SigningDesk = {
    status: () => signingStatus(updates, models, { removal, nowAtMs: clock.nowAtMs() }),
    nextKey: (role) => nextKeyOf(updates, role),
  };
  return { updates, blobs, publisher, signing, remover };
}

/** @throws NOT_FOUND, UPDATE_UNTRUSTED (the key is elsewhere: so is the next), DISK_FULL */
async function nextKeyOf(updates: TufRepository, name: string): ReturnType<SigningDesk['nextKey']> {
  const role = ROLES.find((one) => one === name);
  if (!role) throw new AppError('NOT_FOUND', 'this hub holds keys of root, targets, snapshot and timestamp');
  const key = await updates.nextKey(role);
  return { role, id: key.id, publicKey: key.publicPem };
}

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
