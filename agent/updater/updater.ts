/**
 * Brings each model to the version that the hub wants, one at a time, and never leaves the device without one that answers.
 *
 * phase       | event                                   -> phase
 * (none)      | another version is desired              -> checking
 * checking    | listed in signed metadata               -> downloading
 * checking    | not trusted, expired, older, not listed -> checking (told; again at the next sync)
 * downloading | every file is there and checked         -> staged
 * downloading | broke off, no space                     -> downloading (told; again after a while, from where it ended)
 * staged      | inside the window                       -> trying (a new runner, the golden inputs)
 * trying      | answers as recorded                     -> trial (answers for real, the old one warm)
 * trial       | 50 answers or 10 minutes                -> committed
 * staged, trying, trial | refused, crashed, hung, slow  -> rolled-back, with the reason
 *
 * On disk before each step. After a crash: `trial` is rolled back, `trying` is begun once more, earlier phases begin again; after a
 * stop that was asked for, `trying` and `trial` are `staged`. What was rolled back is not tried again until another version is
 * desired. Until `committed` nothing of the version before is removed.
 */

import type { UpdatePhase, UpdateReport } from '../../shared/contract/messages.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { Release } from '../../shared/release/release.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { within } from '../../shared/runtime/within.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import type { SlotVersion, TrialEnd, UpdatableSlot, UpdateSource } from '../ports.ts';
import { download, presentBytes } from './download.ts';
import { hasEnded, type Update, UpdateState } from './update-state.ts';
import { VersionStore } from './version-store.ts';

/** Source of updates, where versions are kept, and when one may be tried. */
export interface UpdaterOptions {
  /** The updater's own: state and versions. */
  readonly folder: string;
  /** The folders of `--models`. */
  readonly given: readonly ModelFolder[];
  /** The task that this device uses the model for; undefined: it doesn't. */
  readonly taskOf: (model: string) => TaskName | undefined;
  readonly source: UpdateSource;
  readonly agentVersion: string;
  /** Whether an update may be tried now; false outside the operator's window. */
  readonly isInWindow: () => boolean;
  /** What `updates` says has changed. */
  readonly onChange: () => void;
  /** Whether the link's bytes of the day allow it. */
  readonly mayDownload: () => boolean;
  /** Makes room on the disk. @throws DISK_FULL */
  readonly roomFor?: (bytes: number) => Promise<void> | undefined;
  /** Bytes that came over the link. */
  readonly onBytes: (bytes: number) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A broken download is gone on with, and a window looked at again. */
const AGAIN = { firstMs: 2_000, maxMs: 5 * 60_000 };
const WINDOW_CHECK_MS = 30_000;
/** Progress is told at most so often. */
const TELL_EVERY_MS = 1_000;
const MAX_TRIES = 2;
const STOP_MS = 3_000;

type Slots = ReadonlyMap<string, UpdatableSlot>;

/** Update state machine: brings each model to the wanted version, or back to the one before. */
export class Updater implements Part {
  readonly #o: UpdaterOptions;
  readonly #state: UpdateState;
  readonly #store: VersionStore;
  readonly #stopping = new AbortController();
  #slots: Slots = new Map();
  #wanted: readonly ModelRef[] = [];
  #work: Promise<void> | undefined;
  #isDue = false;
  #attempt = 0;
  #cancelAgain = (): void => undefined;
  #toldMonoMs = Number.NEGATIVE_INFINITY;

  private constructor(options: UpdaterOptions, state: UpdateState, store: VersionStore) {
    this.#o = options;
    this.#state = state;
    this.#store = store;
  }

  static async open(options: UpdaterOptions): Promise<Updater> {
    const { folder, given, logger } = options;
    await makeFolder(folder);
    const state = await UpdateState.open(folder, logger);
    return new Updater(options, state, new VersionStore({ folder, given, logger }));
  }

  /** The newest update of each model that had one. */
  get updates(): UpdateReport[] {
    return this.#state.updates.map(({ tries: _tries, ...report }) => ({
      ...report,
      previous: this.#state.of(report.model.name).previous,
    }));
  }

  /** What can answer from the start, best first: the committed version, the one before it, and the folder that was given. */
  async candidates(name: string): Promise<SlotVersion[]> {
    const { active, previous } = this.#state.of(name);
    const given = this.#o.given.find(({ spec }) => spec.name === name);
    const refs = [active, previous, given ? { name, version: '0', digest: given.digest } : null];
    const found = new Map<string, SlotVersion>();
    for (const ref of refs) {
      if (!ref || found.has(ref.digest)) continue;
      const folder = await this.#store.find(ref.digest);
      if (folder) found.set(ref.digest, { ref, folder });
    }
    return [...found.values()];
  }

  /** @param slots by model name, started */
  use(slots: Slots): void {
    this.#slots = slots;
  }

  /** Takes up what a crash has left. */
  async start(): Promise<void> {
    for (const { model, phase, tries } of this.#state.updates) {
      const wasTrial = phase === 'trial' || (phase === 'trying' && tries >= MAX_TRIES);
      if (wasTrial) await this.#rollBack(model, new AppError('UPDATE_INTERRUPTED'));
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#cancelAgain();
    // A hub that hangs is not waited for: what is on disk is enough to go on from.
    if (this.#work) await within(this.#o.clock, STOP_MS, this.#work);
  }

  /** What the hub wants now. Returns at once. */
  want(models: readonly ModelRef[]): void {
    this.#wanted = models;
    this.retry();
  }

  /** What stood in the way may be gone. Returns at once. */
  retry(): void {
    this.#attempt = 0;
    this.#begin();
  }

  #begin(): void {
    this.#cancelAgain();
    this.#isDue = true;
    if (this.#stopping.signal.aborted) return;
    this.#work ??= this.#runWhileDue().finally(() => {
      this.#work = undefined;
    });
  }

  async #runWhileDue(): Promise<void> {
    while (this.#isDue && !this.#stopping.signal.aborted) {
      this.#isDue = false;
      for (const wanted of this.#wanted) await this.#bring(wanted);
    }
  }

  /** Brings one model as far as it goes now. Never rejects. */
  async #bring(wanted: ModelRef): Promise<void> {
    const slot = this.#slots.get(wanted.name);
    if (!slot || this.#stopping.signal.aborted) return;
    try {
      if (slot.model?.digest === wanted.digest) await this.#settle(slot, wanted);
      else if (!this.#isRefused(wanted)) await this.#update(slot, wanted);
    } catch (error) {
      await this.#blocked(wanted, error);
    }
  }

  /** It runs already; the hub's number for it is the one that counts. */
  async #settle(slot: UpdatableSlot, wanted: ModelRef): Promise<void> {
    const { update } = this.#state.of(wanted.name);
    // Another version was on its way or was refused, and is no longer wanted.
    const isLeftOver = update !== null && update.model.digest !== wanted.digest;
    if (slot.model?.version === wanted.version && !isLeftOver) return;
    slot.rename(wanted);
    await this.#state.set(wanted.name, {
      // Also of a folder that was given: after a restart it has its number still.
      active: wanted,
      ...(isLeftOver && { update: null }),
    });
    this.#tell();
  }

  #isStaged(wanted: ModelRef): boolean {
    const { update } = this.#state.of(wanted.name);
    if (update?.phase !== 'staged' || update.error) return false;
    return update.model.digest === wanted.digest && update.model.version === wanted.version;
  }

  #isRefused(wanted: ModelRef): boolean {
    const { update } = this.#state.of(wanted.name);
    return update?.phase === 'rolled-back' && update.model.digest === wanted.digest;
  }

  async #update(slot: UpdatableSlot, wanted: ModelRef): Promise<void> {
    // Nothing is read, written or told again while it waits: that can be a night on a flash disk.
    if (this.#isStaged(wanted) && !this.#o.isInWindow()) return this.#again(WINDOW_CHECK_MS);
    const here = await this.#store.find(wanted.digest);
    const release = here ? undefined : await this.#fetch(wanted);
    const folder = here ?? (release && (await this.#stage(release)));
    if (!folder) return;
    await this.#enter(wanted, 'staged');
    if (!this.#o.isInWindow()) return this.#again(WINDOW_CHECK_MS);
    await this.#try(slot, { ref: wanted, folder });
  }

  /** All its files are here when it returns. @returns undefined when nobody can be asked yet */
  async #fetch(wanted: ModelRef): Promise<Release | undefined> {
    await this.#enter(wanted, 'checking');
    const release = await this.#releaseOf(wanted);
    if (!release) return undefined;
    if (!this.#o.mayDownload())
      throw new AppError('OVER_BUDGET', 'the bytes of the day for the link are used up');
    const totalBytes = release.files.reduce((sum, { bytes }) => sum + bytes, 0);
    await this.#enter(wanted, 'downloading', { totalBytes });
    await this.#store.reuse(release.files);
    let downloadedBytes = await presentBytes(release.files, this.#store.blobs);
    await this.#o.roomFor?.(totalBytes - downloadedBytes);
    const { source, folder, clock, onBytes } = this.#o;
    await download(release, {
      source,
      blobs: this.#store.blobs,
      folder,
      clock,
      onBytes: (bytes) => {
        onBytes(bytes);
        downloadedBytes += bytes;
        this.#note(wanted, { downloadedBytes });
      },
      signal: this.#stopping.signal,
    });
    this.#state.note(wanted.name, { downloadedBytes: totalBytes });
    return release;
  }

  /** @returns undefined for a version that is refused: its files are as signed, and no model */
  async #stage(release: Release): Promise<ModelFolder | undefined> {
    try {
      return await this.#store.stage(release);
    } catch (error) {
      const { code } = toAppError(error);
      if (code !== 'MODEL_INVALID' && code !== 'MODEL_DIGEST_MISMATCH') throw error;
      await this.#rollBack(release.ref, error);
      return undefined;
    }
  }

  /** What the signed metadata says of it: `desired` is not signed and only chooses. */
  async #releaseOf(wanted: ModelRef): Promise<Release | undefined> {
    const { source, agentVersion, taskOf } = this.#o;
    const book = await source.book();
    if (!book) return undefined;
    await book.refresh();
    const release = book.release(wanted.name, wanted.version);
    const which = `version ${wanted.version} of ${wanted.name}`;
    if (!release) throw new AppError('UPDATE_NOT_LISTED', `${which} is not among the signed targets`);
    if (release.ref.digest !== wanted.digest)
      throw new AppError('UPDATE_NOT_LISTED', `${which} is signed as another than the hub wants`);
    if (release.task !== taskOf(wanted.name))
      throw new AppError('MODEL_INVALID', `${which} is for ${release.task}, not for this pipeline’s task`);
    const { minAgentVersion } = release;
    if (minAgentVersion !== undefined && isOlder(agentVersion, minAgentVersion))
      throw new AppError(
        'AGENT_TOO_OLD',
        `${which} needs agent ${minAgentVersion}, this one is ${agentVersion}`,
      );
    return release;
  }

  async #try(slot: UpdatableSlot, version: SlotVersion): Promise<void> {
    const { ref } = version;
    const tries = (this.#state.of(ref.name).update?.tries ?? 0) + 1;
    await this.#enter(ref, 'trying', { tries });
    const tested = await this.#unlessStopped(slot.prepare(version)).catch(toAppError);
    if (tested instanceof AppError)
      return tested.code === 'STOPPING' ? this.#putBack(ref) : this.#rollBack(ref, tested);
    try {
      await this.#enter(ref, 'trial', { test: tested, answers: 0 });
      await this.#end(slot, ref, await this.#watch(ref, slot.startTrial()));
    } finally {
      // Committed, there is nothing to discard.
      await slot.discard();
    }
  }

  async #end(slot: UpdatableSlot, ref: ModelRef, end: TrialEnd): Promise<void> {
    switch (end.kind) {
      case 'passed':
        return this.#commit(slot, ref);
      case 'failed':
        return this.#rollBack(ref, end.error);
      case 'stopped':
        return this.#putBack(ref);
    }
  }

  /** Tells how it goes until it ends; a stop, and a hub that wants another version meanwhile, end it too. */
  async #watch(ref: ModelRef, trial: ReturnType<UpdatableSlot['startTrial']>): Promise<TrialEnd> {
    const { signal } = this.#stopping;
    const found: { end?: TrialEnd } = {};
    const ended = trial.ended.then((end) => {
      found.end = end;
    });
    this.#tell();
    while (!found.end) {
      if (signal.aborted || this.#isSuperseded(ref)) return { kind: 'stopped' };
      await Promise.race([ended, this.#o.clock.sleep(TELL_EVERY_MS, signal).catch(() => undefined)]);
      this.#note(ref, { answers: trial.answers });
    }
    return found.end;
  }

  #isSuperseded({ name, digest }: ModelRef): boolean {
    return this.#wanted.some((one) => one.name === name && one.digest !== digest);
  }

  /** @throws STOPPING */
  #unlessStopped<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#stopping;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new AppError('STOPPING'));
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop, { once: true });
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
    });
  }

  async #commit(slot: UpdatableSlot, ref: ModelRef): Promise<void> {
    const { active, update } = this.#state.of(ref.name);
    if (!update) throw new AppError('INVARIANT_BROKEN', 'a commit without an update');
    await this.#state.set(ref.name, {
      active: ref,
      previous: active,
      update: { ...update, phase: 'committed', error: null, atMs: this.#o.clock.nowAtMs() },
    });
    this.#o.logger.info('update.committed', facts(ref));
    this.#o.metrics.count('outrider_updates_total', { model: ref.name, outcome: 'committed' });
    await slot.commit();
    this.#tell();
    await this.#sweep();
  }

  async #rollBack(ref: ModelRef, thrown: unknown): Promise<void> {
    const error = toErrorBody(toAppError(thrown));
    this.#o.logger.warn('update.rolled_back', { ...facts(ref), ...error });
    this.#o.metrics.count('outrider_updates_total', { model: ref.name, outcome: 'rolled-back' });
    await this.#enter(ref, 'rolled-back', { error });
    await this.#sweep();
  }

  /** The agent stops: at its next start it is tried from the beginning, and that was nobody's fault. */
  async #putBack(ref: ModelRef): Promise<void> {
    await this.#enter(ref, 'staged', { tries: 0 });
  }

  /** Something is in the way that may go by itself. */
  async #blocked(ref: ModelRef, thrown: unknown): Promise<void> {
    const error = toAppError(thrown);
    if (error.code === 'STOPPING') return;
    const { update } = this.#state.of(ref.name);
    // The same as a moment ago is not told again.
    if (update?.error?.message !== error.message) this.#o.logger.failure('update.blocked', error, facts(ref));
    if (update) await this.#enter(ref, update.phase, { error: toErrorBody(error) }).catch(() => undefined);
    if (['HUB_UNREACHABLE', 'NAME_UNRESOLVED', 'HUB_FAILED', 'DOWNLOAD_INCOMPLETE'].includes(error.code))
      this.#again(1_000 + backoffDelayMs(this.#attempt++, AGAIN));
  }

  #again(delayMs: number): void {
    this.#cancelAgain();
    this.#cancelAgain = this.#o.clock.after(delayMs, () => this.#begin());
  }

  /** On disk when it returns. */
  async #enter(ref: ModelRef, phase: UpdatePhase, change: Partial<Update> = {}): Promise<void> {
    const before = this.#state.of(ref.name).update;
    const isSame = before?.model.digest === ref.digest;
    const fresh = { test: null, downloadedBytes: 0, totalBytes: 0, answers: 0, tries: 0 };
    await this.#state.set(ref.name, {
      update: {
        ...(isSame ? before : fresh),
        model: ref,
        phase,
        error: null,
        ...change,
        atMs: this.#o.clock.nowAtMs(),
      },
    });
    this.#tell();
  }

  #note(ref: ModelRef, change: Partial<Update>): void {
    this.#state.note(ref.name, change);
    const nowMonoMs = this.#o.clock.nowMonoMs();
    if (nowMonoMs - this.#toldMonoMs < TELL_EVERY_MS) return;
    this.#tell();
  }

  #tell(): void {
    this.#toldMonoMs = this.#o.clock.nowMonoMs();
    this.#o.onChange();
  }

  async #sweep(): Promise<void> {
    const isIdle = this.#state.updates.every(hasEnded);
    await this.#store
      .sweep(this.#state.kept, isIdle)
      .catch((error: unknown) => this.#o.logger.failure('update.not_swept', error));
  }
}

const facts = ({ name, version, digest }: ModelRef): Record<string, unknown> => ({
  model: name,
  version,
  modelDigest: digest,
});

/** Both as in a package.json. */
const isOlder = (version: string, than: string): boolean =>
  version.localeCompare(than, 'en', { numeric: true }) < 0;
