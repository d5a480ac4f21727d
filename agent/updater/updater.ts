/**
 * Brings each model to the version that the hub wants, each by itself, and never leaves the device without one that answers.
 *
 * phase       | event                                   -> phase
 * (none)      | another version is desired              -> checking
 * checking    | listed in signed metadata               -> downloading
 * checking    | not trusted, expired, older, not listed -> checking (told; again at the next sync)
 * downloading | every file is there and checked         -> staged
 * downloading | broke off, no space, a metered link     -> downloading (told; again after a while, from where it ended)
 * staged      | inside the window, a place is free      -> trying (a new runner, the golden inputs)
 * trying      | answers as recorded                     -> trial (answers for real, the old one warm)
 * trial       | 50 answers or 10 minutes                -> committed
 * trial       | no answer yet, and others want its place -> staged (once)
 * staged, trying, trial | refused, crashed, hung, slow  -> rolled-back, with the reason
 *
 * Models are updated side by side. One thing at a time is done to the disk, downloads included; so many versions are on trial at a time as there
 * are places (trial-places.ts), since each is one model more in memory.
 *
 * On disk before each step. After a crash: `trial` is rolled back, `trying` is begun once more, earlier phases begin again; after a
 * stop that was asked for, `trying` and `trial` are `staged`. What was rolled back is not tried again until another version is
 * desired. Until `committed` nothing of the version before is removed.
 */

import type { UpdatePhase, UpdateReport } from '../../shared/contract/messages.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import { isOlderRelease } from '../../shared/contract/releases.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { Delta, Release } from '../../shared/release/release.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import { within } from '../../shared/runtime/within.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import type { SlotVersion, TrialEnd, UpdatableSlot, UpdateSource } from '../ports.ts';
import { type ApplyDelta, download, presentBytes } from './download.ts';
import { type FileRoute, planFetch } from './fetch-plan.ts';
import type { Pacing } from './pace.ts';
import { TrialPlaces } from './trial-places.ts';
import { hasEnded, MAX_REFUSED_DELTAS, type Update, UpdateState } from './update-state.ts';
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
  /** Whether an update of the model may be tried now; false outside the operator's window. */
  readonly isInWindow: (model: string) => boolean;
  /** What `updates` says has changed. */
  readonly onChange: () => void;
  /** Whether the link's bytes of the day allow it. */
  readonly mayDownload: () => boolean;
  /** Makes room on the disk. @throws DISK_FULL */
  readonly roomFor?: (bytes: number) => Promise<void> | undefined;
  /** Whether bytes are paid for one by one, and how many may come all the same; asked before each download. */
  readonly metered?: () => Promise<{ readonly maxBytes: number } | undefined>;
  /** Of all downloads together; undefined: as fast as they come. */
  readonly pacing?: Pacing;
  readonly applyDelta: ApplyDelta;
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
/** A link may be another one by now. */
const METERED_CHECK_MS = 60_000;
/** What an operator allows over a metered link is what waits now. */
const METERED_ALLOWED_MS = 60 * 60_000;
/** Each is one model more in memory. */
const MAX_TRIALS = 3;
/** A version that has had no input for so long on trial gives its place to one that has had no trial. */
const IDLE_TRIAL_MS = 20_000;

type Slots = ReadonlyMap<string, UpdatableSlot>;

/** What is under way for one model. */
interface Lane {
  work: Promise<void> | undefined;
  isDue: boolean;
  attempt: number;
  cancelAgain: () => void;
  /** Digest of the version whose trial has given its place to others. */
  yielded: string | undefined;
}

/** Update state machine: brings each model to the wanted version, or back to the one before. */
export class Updater implements Part {
  readonly #o: UpdaterOptions;
  readonly #state: UpdateState;
  readonly #store: VersionStore;
  readonly #stopping = new AbortController();
  #slots: Slots = new Map();
  #wanted: readonly ModelRef[] = [];
  /** By model. */
  readonly #lanes = new Map<string, Lane>();
  /** What reads, brings or removes files of versions. */
  readonly #files = new SerialQueue();
  /** Digests of versions that are looked for, and not on record yet. */
  readonly #looked = new Set<string>();
  readonly #preparing = new SerialQueue();
  readonly #places = new TrialPlaces(MAX_TRIALS);
  readonly #pace: ReturnType<Pacing>;
  #toldMonoMs = Number.NEGATIVE_INFINITY;
  #meteredUntilMonoMs = Number.NEGATIVE_INFINITY;

  private constructor(options: UpdaterOptions, state: UpdateState, store: VersionStore) {
    this.#o = options;
    this.#state = state;
    this.#store = store;
    this.#pace = options.pacing?.(this.#stopping.signal) ?? ((source) => source);
  }

  static async open(options: UpdaterOptions): Promise<Updater> {
    const { folder, given, logger } = options;
    await makeFolder(folder);
    const state = await UpdateState.open(folder, logger);
    return new Updater(options, state, new VersionStore({ folder, given, logger }));
  }

  /** The newest update of each model that had one. */
  get updates(): UpdateReport[] {
    return this.#state.updates.map(({ tries: _tries, refusedDeltas: _refusedDeltas, ...report }) => ({
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
    const lanes = [...this.#lanes.values()];
    for (const { cancelAgain } of lanes) cancelAgain();
    const work = Promise.all([...lanes.map((lane) => lane.work), this.#files.settled()]);
    // A hub that hangs is not waited for: what is on disk is enough to go on from.
    await within(this.#o.clock, STOP_MS, work);
  }

  /** What the hub wants now. Returns at once. */
  want(models: readonly ModelRef[]): void {
    this.#wanted = models;
    this.retry();
  }

  /** What stood in the way may be gone. Returns at once. */
  retry(): void {
    for (const { name } of this.#wanted) {
      const lane = this.#laneOf(name);
      lane.attempt = 0;
      this.#begin(name, lane);
    }
  }

  /** An operator says that what waits for an unmetered link may come over this one. Returns at once. */
  allowMetered(): void {
    this.#meteredUntilMonoMs = this.#o.clock.nowMonoMs() + METERED_ALLOWED_MS;
    this.#o.logger.info('update.metered_allowed', { forMs: METERED_ALLOWED_MS });
    this.retry();
  }

  #laneOf(name: string): Lane {
    const known = this.#lanes.get(name);
    if (known) return known;
    const lane: Lane = {
      ...{ work: undefined, isDue: false, attempt: 0, yielded: undefined },
      cancelAgain: () => undefined,
    };
    // Bounded by the places that there are.
    if (this.#slots.has(name)) this.#lanes.set(name, lane);
    return lane;
  }

  #begin(name: string, lane: Lane): void {
    lane.cancelAgain();
    lane.isDue = true;
    if (this.#stopping.signal.aborted) return;
    lane.work ??= this.#runWhileDue(name, lane).finally(() => {
      lane.work = undefined;
    });
  }

  async #runWhileDue(name: string, lane: Lane): Promise<void> {
    while (lane.isDue && !this.#stopping.signal.aborted) {
      lane.isDue = false;
      const wanted = this.#wanted.find((one) => one.name === name);
      if (wanted) await this.#bring(wanted);
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
    if (this.#isStaged(wanted) && !this.#o.isInWindow(wanted.name))
      return this.#again(wanted, WINDOW_CHECK_MS);
    const folder = await this.#bringFiles(wanted);
    if (!folder) return;
    if (!this.#o.isInWindow(wanted.name)) return this.#again(wanted, WINDOW_CHECK_MS);
    const lane = this.#laneOf(wanted.name);
    const giveBack = await this.#places.take(lane.yielded !== wanted.digest, this.#stopping.signal);
    try {
      // It may have waited long.
      if (this.#isSuperseded(wanted) || this.#stopping.signal.aborted) return;
      if (!this.#o.isInWindow(wanted.name)) return this.#again(wanted, WINDOW_CHECK_MS);
      await this.#try(slot, { ref: wanted, folder });
    } finally {
      giveBack();
    }
  }

  /** The version's folder, staged; undefined when it cannot come yet, or is refused. */
  async #bringFiles(wanted: ModelRef): Promise<ModelFolder | undefined> {
    this.#looked.add(wanted.digest);
    try {
      // What is here waits for nobody's download: it may be the way back.
      const here = await this.#store.look(wanted.digest);
      const folder =
        here === undefined || here === 'damaged'
          ? await this.#files.run(() => this.#fetchFiles(wanted))
          : here;
      if (folder) await this.#enter(wanted, 'staged');
      return folder;
    } finally {
      this.#looked.delete(wanted.digest);
    }
  }

  async #fetchFiles(wanted: ModelRef): Promise<ModelFolder | undefined> {
    if (this.#stopping.signal.aborted || this.#isSuperseded(wanted)) return undefined;
    const here = await this.#store.find(wanted.digest);
    const release = here ? undefined : await this.#fetch(wanted);
    return here ?? (release && (await this.#stage(release)));
  }

  /** All its files are here when it returns. @returns undefined when nobody can be asked yet */
  async #fetch(wanted: ModelRef): Promise<Release | undefined> {
    await this.#enter(wanted, 'checking');
    const found = await this.#releaseOf(wanted);
    if (!found) return undefined;
    const { release, deltas } = found;
    const { files } = release;
    if (!this.#o.mayDownload())
      throw new AppError('OVER_BUDGET', 'the bytes of the day for the link are used up');
    const totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
    await this.#enter(wanted, 'downloading', { totalBytes });
    await this.#store.reuse(files, await this.#store.held());
    const held = await this.#store.held();
    const routes = await this.#routes(wanted, files, { deltas, held });
    const toComeBytes = routes.reduce((sum, { wireBytes }) => sum + wireBytes, 0);
    const before = this.#state.of(wanted.name).update?.wireBytes ?? 0;
    await this.#enter(wanted, 'downloading', { wireBytes: before, wireTotalBytes: before + toComeBytes });
    await this.#refuseMetered(toComeBytes);
    await this.#o.roomFor?.(routes.reduce((sum, { file }) => sum + file.bytes, 0));
    await this.#download(wanted, release, { routes, held });
    const wireBytes = this.#state.of(wanted.name).update?.wireBytes ?? 0;
    const savedBytes = Math.max(0, totalBytes - wireBytes);
    this.#state.note(wanted.name, { downloadedBytes: totalBytes, savedBytes });
    this.#o.metrics.count('outrider_update_saved_bytes_total', { model: wanted.name }, savedBytes);
    return release;
  }

  async #routes(
    { name }: ModelRef,
    files: Release['files'],
    from: { readonly deltas: readonly Delta[]; readonly held: ReadonlyMap<string, string> },
  ): Promise<FileRoute[]> {
    const partials = await this.#store.blobs.partials();
    const whole = new Set(await this.#store.blobs.list());
    const refused = new Set(this.#state.of(name).update?.refusedDeltas);
    return planFetch(files, from.deltas, {
      has: (sha256) => whole.has(sha256) || from.held.has(sha256),
      partialBytes: (sha256) => partials.get(sha256) ?? 0,
      isRefused: (sha256) => refused.has(sha256),
    });
  }

  async #download(
    wanted: ModelRef,
    release: Release,
    { routes, held }: { readonly routes: readonly FileRoute[]; readonly held: ReadonlyMap<string, string> },
  ): Promise<void> {
    const { source, folder, applyDelta, clock, onBytes, logger, metrics } = this.#o;
    const { name } = wanted;
    let present = await presentBytes(release.files, this.#store.blobs);
    const missing = routes.reduce((sum, { wireBytes }) => sum + wireBytes, 0);
    // A byte of a difference stands for many of the file.
    const worth = missing === 0 ? 1 : Math.max(1, (total(release) - present) / missing);
    await download(release, routes, {
      ...{ source, blobs: this.#store.blobs, folder, applyDelta, held, clock, pace: this.#pace },
      onBytes: (bytes) => {
        onBytes(bytes);
        present = Math.min(total(release), present + bytes * worth);
        const wireBytes = (this.#state.of(name).update?.wireBytes ?? 0) + bytes;
        this.#note(wanted, { downloadedBytes: Math.round(present), wireBytes });
      },
      onApplied: (delta) => {
        logger.info('update.delta_applied', {
          ...facts(wanted),
          bytes: delta.bytes,
          resultBytes: delta.resultBytes,
        });
        metrics.count('outrider_update_deltas_total', { model: name, outcome: 'applied' });
      },
      onRefused: (delta, error) => this.#refuseDelta(wanted, delta, error),
      signal: this.#stopping.signal,
    });
  }

  /** Told, and not tried again for this version. */
  async #refuseDelta(wanted: ModelRef, delta: Delta, error: AppError): Promise<void> {
    const { logger, metrics } = this.#o;
    const { refusedDeltas = [], wireTotalBytes = 0 } = this.#state.of(wanted.name).update ?? {};
    logger.failure('update.delta_refused', error, {
      ...facts(wanted),
      base: delta.base,
      result: delta.result,
    });
    metrics.count('outrider_update_deltas_total', { model: wanted.name, outcome: 'refused' });
    await this.#enter(wanted, 'downloading', {
      refusedDeltas: [...refusedDeltas, delta.sha256].slice(-MAX_REFUSED_DELTAS),
      wireTotalBytes: wireTotalBytes + delta.resultBytes,
    });
  }

  /** @throws LINK_METERED */
  async #refuseMetered(bytes: number): Promise<void> {
    const isAllowed = this.#o.clock.nowMonoMs() < this.#meteredUntilMonoMs;
    const metered = bytes > 0 && !isAllowed ? await this.#o.metered?.() : undefined;
    if (metered && bytes > metered.maxBytes)
      throw new AppError(
        'LINK_METERED',
        `waits for an unmetered link: ${bytes} bytes are to come, and ${metered.maxBytes} may over this one`,
      );
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
  async #releaseOf(
    wanted: ModelRef,
  ): Promise<{ readonly release: Release; readonly deltas: readonly Delta[] } | undefined> {
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
    if (minAgentVersion !== undefined && isOlderRelease(agentVersion, minAgentVersion))
      throw new AppError(
        'AGENT_TOO_OLD',
        `${which} needs agent ${minAgentVersion}, this one is ${agentVersion}`,
      );
    return { release, deltas: book.deltas() };
  }

  async #try(slot: UpdatableSlot, version: SlotVersion): Promise<void> {
    const { ref } = version;
    const tries = (this.#state.of(ref.name).update?.tries ?? 0) + 1;
    await this.#enter(ref, 'trying', { tries });
    // One at a time: each starts a process and loads a model, beside those that answer.
    const preparing = this.#preparing.run(() => slot.prepare(version));
    const tested = await this.#unlessStopped(preparing).catch(toAppError);
    if (tested instanceof AppError)
      return tested.code === 'STOPPING' ? this.#putBack(ref) : this.#rollBack(ref, tested);
    try {
      await this.#enter(ref, 'trial', { test: tested, answers: 0 });
      const end = await this.#watch(ref, slot.startTrial());
      await (end === 'yields' ? this.#yield(ref) : this.#end(slot, ref, end));
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
  async #watch(ref: ModelRef, trial: ReturnType<UpdatableSlot['startTrial']>): Promise<TrialEnd | 'yields'> {
    const { signal } = this.#stopping;
    const startedMonoMs = this.#o.clock.nowMonoMs();
    const hasYielded = this.#laneOf(ref.name).yielded === ref.digest;
    const found: { end?: TrialEnd } = {};
    const ended = trial.ended.then((end) => {
      found.end = end;
    });
    this.#tell();
    while (!found.end) {
      if (signal.aborted || this.#isSuperseded(ref)) return { kind: 'stopped' };
      const isIdle = trial.answers === 0 && this.#o.clock.nowMonoMs() - startedMonoMs >= IDLE_TRIAL_MS;
      if (isIdle && !hasYielded && this.#places.isWantedByNew) return 'yields';
      await Promise.race([ended, this.#o.clock.sleep(TELL_EVERY_MS, signal).catch(() => undefined)]);
      this.#note(ref, { answers: trial.answers });
    }
    return found.end;
  }

  /** It had nothing to answer, and others wait: it is tried again when there is a place. */
  async #yield(ref: ModelRef): Promise<void> {
    const lane = this.#laneOf(ref.name);
    lane.yielded = ref.digest;
    lane.isDue = true;
    await this.#putBack(ref);
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
    this.#sweep();
  }

  async #rollBack(ref: ModelRef, thrown: unknown): Promise<void> {
    const error = toErrorBody(toAppError(thrown));
    this.#o.logger.warn('update.rolled_back', { ...facts(ref), ...error });
    this.#o.metrics.count('outrider_updates_total', { model: ref.name, outcome: 'rolled-back' });
    await this.#enter(ref, 'rolled-back', { error });
    this.#sweep();
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
    if (error.code === 'LINK_METERED') this.#again(ref, METERED_CHECK_MS);
    else if (['HUB_UNREACHABLE', 'NAME_UNRESOLVED', 'HUB_FAILED', 'DOWNLOAD_INCOMPLETE'].includes(error.code))
      this.#again(ref, 1_000 + backoffDelayMs(this.#laneOf(ref.name).attempt++, AGAIN));
  }

  #again({ name }: ModelRef, delayMs: number): void {
    const lane = this.#laneOf(name);
    lane.cancelAgain();
    lane.cancelAgain = this.#o.clock.after(delayMs, () => this.#begin(name, lane));
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

  /** After whatever is being brought; nobody waits for it. */
  #sweep(): void {
    const sweeping = this.#files.run(async () => {
      const isIdle = this.#state.updates.every(hasEnded);
      await this.#store.sweep(new Set([...this.#state.kept, ...this.#looked]), isIdle);
    });
    sweeping.catch((error: unknown) => this.#o.logger.failure('update.not_swept', error));
  }
}

const total = ({ files }: Release): number => files.reduce((sum, { bytes }) => sum + bytes, 0);

const facts = ({ name, version, digest }: ModelRef): Record<string, unknown> => ({
  model: name,
  version,
  modelDigest: digest,
});
