/**
 * Takes versions away for good. Each step is on disk before the next, and each can be done again:
 *
 * marked (nobody is told of it) -> taken out of what is signed -> the hub's own copy goes -> blobs that no other version has go -> forgotten
 *
 * Where the key that lists it is not on this hub, a version stays marked, and its files stay, until metadata come that do not list it. A
 * device that has it keeps it, and answers with it.
 */
import { rm } from 'node:fs/promises';
import type { RemovedVersions } from '../../shared/contract/admin.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { BlobStore } from '../../shared/release/blob-store.ts';
import type { TufRepository } from '../../shared/release/tuf/repository.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import type { EventSink, RemovalBook, Remover, VersionBook } from '../ports.ts';

/** Records, blobs and signed listing that a removal goes through. */
export interface VersionRemoverOptions {
  readonly removal: RemovalBook;
  readonly models: Pick<VersionBook, 'folderOf' | 'all'>;
  readonly updates: Pick<TufRepository, 'canList' | 'remove' | 'release' | 'digests'>;
  readonly blobs: Pick<BlobStore, 'remove'>;
  /** Versions of each model that stay; undefined: all. */
  readonly keepVersions: number | undefined;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Removes versions, one removal at a time. */
export class VersionRemover implements Remover {
  readonly #o: VersionRemoverOptions;
  readonly #removing = new SerialQueue();

  constructor(options: VersionRemoverOptions) {
    this.#o = options;
  }

  remove(name: string, version?: string): Promise<RemovedVersions> {
    return this.#removing.run(async () => {
      const refs = await this.#o.removal.mark(name, version);
      const freedBytes = await this.#finish(refs, 'asked');
      const left = new Set(this.#o.removal.marked().map(keyOf));
      const versions = refs.map((ref) => ref.version);
      return { name, versions, delisted: !refs.some((ref) => left.has(keyOf(ref))), freedBytes };
    });
  }

  /** Goes on with what a crash, or a missing signature, has held up; and takes what is over the number that is kept. Never rejects. */
  tidy(): Promise<void> {
    return this.#removing.run(async () => {
      const { removal, models, keepVersions, logger } = this.#o;
      try {
        await this.#finish(removal.marked(), 'asked');
        if (keepVersions === undefined) return;
        const names = new Set(models.all().map(({ name }) => name));
        for (const name of names)
          for (const ref of removal.excess(name, keepVersions)) {
            // Where nobody here could sign, somebody has to ask for it.
            if (!this.#o.updates.canList) continue;
            await this.#finish(await removal.mark(name, ref.version), 'kept');
          }
      } catch (error) {
        logger.failure('registry.not_removed', error);
      }
    });
  }

  async #finish(refs: readonly ModelRef[], why: 'asked' | 'kept'): Promise<number> {
    const { removal, models, updates, blobs, events, clock, logger } = this.#o;
    const isListed = (ref: ModelRef): boolean =>
      updates.release(ref.name, ref.version)?.ref.digest === ref.digest;
    if (updates.canList && refs.some(isListed)) await updates.remove(refs);
    let freedInAll = 0;
    for (const ref of refs) {
      if (isListed(ref)) {
        logger.info('registry.removal_waits_for_signature', { model: ref.name, version: ref.version });
        continue;
      }
      await rm(models.folderOf(ref), { recursive: true, force: true });
      const kept = new Set([...removal.filesElsewhere([ref]), ...updates.digests()]);
      const files = new Map(removal.filesOf(ref).map(({ sha256, bytes }) => [sha256, bytes]));
      let freedBytes = 0;
      for (const [sha256, bytes] of files) {
        if (kept.has(sha256)) continue;
        await blobs.remove(sha256);
        freedBytes += bytes;
      }
      await removal.forget(ref);
      freedInAll += freedBytes;
      const { name: model, version } = ref;
      events.publish({ type: 'version-removed', model, version, freedBytes, why, atMs: clock.nowAtMs() });
      logger.info('registry.removed', { model, version, modelDigest: ref.digest, freedBytes, why });
    }
    return freedInAll;
  }
}

const keyOf = ({ name, version }: ModelRef): string => `${name} ${version}`;
