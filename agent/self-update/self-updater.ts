/**
 * Brings the agent itself to the version that the hub wants, as far as it may: it may not change its own program. It fetches what is signed,
 * and hands it to its machine's own part (root, cli/device/update/), which verifies all of it again, tries it, and takes it back.
 *
 * phase       | event                                          -> phase
 * (none)      | another version is desired                     -> checking
 * checking    | signed metadata list it for this platform      -> downloading
 * checking    | not trusted, expired, not listed               -> checking (told; again at the next sync)
 * downloading | it is here, and of the signed digest           -> staged
 * downloading | broke off, no space, a metered link            -> downloading (told; again after a while, from where it ended)
 * staged      | inside the window, no model is on trial        -> installing (signed metadata of this moment, then the offer)
 * installing  | the machine has put it into place              -> trial (this agent ends, and the new one goes on from here)
 * installing  | the machine says that something is in the way  -> staged (told; again after a while)
 * trial       | it was ready and reached the hub               -> committed
 * installing, trial | refused, or the one before runs again    -> rolled-back, with the reason
 *
 * On disk before each step. What was rolled back is not tried again until another version is desired. The outbox is on disk: what was
 * accepted waits over the restart.
 */
import { rm, statfs } from 'node:fs/promises';
import {
  type AgentUpdate,
  agentUpdate,
  type Desired,
  type ToldAgent,
} from '../../shared/contract/messages.ts';
import { AGENT_NAME } from '../../shared/contract/releases.ts';
import { machinePaths, type Outcome, offerPaths, outcome } from '../../shared/release/agent/handover.ts';
import type { BlobStore } from '../../shared/release/blob-store.ts';
import { type AgentArchive, agentPath, consistentPath } from '../../shared/release/release.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { within } from '../../shared/runtime/within.ts';
import type { SelfUpdateSource } from '../ports.ts';
import { SelfUpdateState } from './self-update-state.ts';

/** Brings a target whole into the blobs; goes on where it ended. */
type Fetch = (
  target: { readonly name: string; readonly path: string; readonly sha256: string; readonly bytes: number },
  how: { readonly blobs: BlobStore; readonly onBytes: (bytes: number) => void; readonly signal: AbortSignal },
) => Promise<void>;

/** What puts updates into place on this machine. */
export interface Machine {
  /** Its folder; undefined: it takes none. */
  readonly folder: string | undefined;
  /** Why not; null: it does. */
  readonly whyNot: string | null;
  /** It may begin to. */
  readonly mayChange: boolean;
}

/** What the agent is, what may be done, and by whom it is put into place. */
export interface SelfUpdaterOptions {
  /** `DATA/agent`. */
  readonly agentFolder: string;
  readonly blobs: BlobStore;
  readonly version: string;
  readonly platform: string;
  /** The machine's own part, as it is now: an installation ends after this agent has started. */
  readonly machine: () => Machine;
  readonly source: SelfUpdateSource;
  readonly fetch: Fetch;
  /** Whether it may be installed now; false outside the operator's window, and that of the rollout. */
  readonly isInWindow: () => boolean;
  /** Whether a model is being tried. */
  readonly isTrying: () => boolean;
  readonly mayDownload: () => boolean;
  readonly metered?: () => Promise<{ readonly maxBytes: number } | undefined>;
  readonly roomFor?: (bytes: number) => Promise<void> | undefined;
  readonly onBytes: (bytes: number) => void;
  /** What `told` says has changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const AGAIN = { firstMs: 5_000, maxMs: 10 * 60_000 };
const CHECK_MS = 30_000;
/** What the machine has found in the way is hardly gone before. */
const PAUSE_MS = 10 * 60_000;
const METERED_CHECK_MS = 60_000;
const MACHINE_CHECK_MS = 2_000;
const METERED_ALLOWED_MS = 60 * 60_000;
/** What the machine has done is looked at so often while it is at it. */
const LOOK_EVERY_MS = 500;
/** An installation takes a minute or two; the machine's own limit is twenty. */
const ANSWERS_WITHIN_MS = 25 * 60_000;
const OFFER_AGAIN_MS = 60_000;
const TELL_EVERY_MS = 1_000;
const STOP_MS = 3_000;
/** The archive, and as much again for whatever else the device writes meanwhile. */
const SPACE_FACTOR = 2;

/** Update state machine of the agent itself. */
export class SelfUpdater implements Part {
  readonly #o: SelfUpdaterOptions;
  readonly #state: SelfUpdateState;
  readonly #stopping = new AbortController();
  #wanted: Desired['agent'];
  #hasHeard = false;
  #work: Promise<void> | undefined;
  #isDue = false;
  #attempt = 0;
  #cancelAgain: () => void = () => undefined;
  #cancelWatch: () => void = () => undefined;
  #toldMonoMs = Number.NEGATIVE_INFINITY;
  #meteredUntilMonoMs = Number.NEGATIVE_INFINITY;

  private constructor(options: SelfUpdaterOptions, state: SelfUpdateState) {
    this.#o = options;
    this.#state = state;
  }

  static async open(options: SelfUpdaterOptions): Promise<SelfUpdater> {
    const { folder } = offerPaths(options.agentFolder);
    await makeFolder(folder);
    return new SelfUpdater(options, await SelfUpdateState.open(folder, options.logger));
  }

  /** As the hub and people are told. */
  get told(): ToldAgent {
    const { folder, whyNot } = this.#o.machine();
    return { managed: folder !== undefined, why: whyNot, update: this.#state.update };
  }

  start(): void {
    // What was handed over before this start goes on, whatever is wanted now.
    if (this.#isHandedOver()) this.#begin();
    this.#watchMachine();
  }

  /** Where it has just been installed, root keeps the keys of the hub a moment later. */
  #watchMachine(): void {
    const { folder, mayChange } = this.#o.machine();
    if (folder !== undefined || !mayChange || this.#stopping.signal.aborted) return;
    this.#cancelWatch = this.#o.clock.after(MACHINE_CHECK_MS, () => {
      if (this.#o.machine().folder === undefined) return this.#watchMachine();
      this.#tell();
      this.retry();
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#cancelAgain();
    this.#cancelWatch();
    await within(this.#o.clock, STOP_MS, this.#work ?? Promise.resolve());
  }

  /** What the hub wants now; undefined: nothing, it stays as it is. Returns at once. */
  want(wanted: Desired['agent']): void {
    this.#wanted = wanted;
    this.#hasHeard = true;
    this.retry();
  }

  /** What stood in the way may be gone. Returns at once. */
  retry(): void {
    if (this.#o.machine().folder === undefined || (!this.#hasHeard && !this.#isHandedOver())) return;
    this.#attempt = 0;
    this.#begin();
  }

  /** An operator says that what waits for an unmetered link may come over this one, for an hour. Returns at once. */
  allowMetered(): void {
    this.#meteredUntilMonoMs = this.#o.clock.nowMonoMs() + METERED_ALLOWED_MS;
    this.retry();
  }

  #isHandedOver(): boolean {
    const phase = this.#state.update?.phase;
    return phase === 'installing' || phase === 'trial';
  }

  #begin(): void {
    this.#cancelAgain();
    this.#isDue = true;
    if (this.#stopping.signal.aborted || this.#o.machine().folder === undefined) return;
    this.#work ??= this.#runWhileDue().finally(() => {
      this.#work = undefined;
    });
  }

  async #runWhileDue(): Promise<void> {
    while (this.#isDue && !this.#stopping.signal.aborted) {
      this.#isDue = false;
      try {
        if (this.#isHandedOver()) await this.#awaitOutcome();
        await this.#bring();
      } catch (error) {
        await this.#blocked(error);
      }
    }
  }

  async #bring(): Promise<void> {
    const wanted = this.#wanted;
    if (this.#stopping.signal.aborted || this.#isHandedOver()) return;
    const { update } = this.#state;
    if (!wanted) {
      // What had begun is wanted by nobody any more; what has ended stays to be seen.
      if (this.#hasHeard && update && !['committed', 'rolled-back'].includes(update.phase))
        await this.#forget();
      return;
    }
    if (wanted.version === this.#o.version) {
      // Another one was on its way or was refused, and is no longer wanted.
      if (update && update.version !== wanted.version) await this.#forget();
      return;
    }
    if (update?.version === wanted.version && update.phase === 'rolled-back') return;
    const pauseMs = this.#state.notBeforeAtMs - this.#o.clock.nowAtMs();
    // A clock that was set back holds nothing up for longer.
    if (update?.version === wanted.version && pauseMs > 0 && pauseMs <= PAUSE_MS) return this.#again(pauseMs);
    const archive = await this.#archiveOf(wanted.version);
    if (!archive) return;
    await this.#download(archive);
    await this.#enter(wanted.version, 'staged');
    if (!this.#o.isInWindow() || this.#o.isTrying()) return this.#again(CHECK_MS);
    await this.#handOver(wanted.version);
    await this.#awaitOutcome();
  }

  /** @throws UPDATE_NOT_LISTED, or what the metadata are refused for */
  async #archiveOf(version: string): Promise<AgentArchive | undefined> {
    const { source, platform, blobs } = this.#o;
    if (this.#state.update?.version !== version || this.#state.update.phase === 'committed')
      await this.#enter(version, 'checking');
    const book = await source.book();
    if (!book) return undefined;
    await book.refresh();
    const archive = book.archive(version, platform);
    if (!archive)
      throw new AppError(
        'UPDATE_NOT_LISTED',
        `release ${version} of the agent has no signed archive for ${platform}`,
      );
    // What came of another one is of no use any more.
    await blobs.sweep(new Set([archive.sha256]));
    return archive;
  }

  async #download({ version, file, sha256, bytes }: AgentArchive): Promise<void> {
    const { blobs, fetch, agentFolder, roomFor } = this.#o;
    if ((await blobs.size(sha256)) !== undefined) return;
    const here = await blobs.partialBytes(sha256);
    const counts = { totalBytes: bytes, downloadedBytes: here };
    await this.#enter(version, 'downloading', counts);
    await this.#mayCome(bytes - here);
    await roomFor?.((bytes - here) * SPACE_FACTOR);
    const { bavail, bsize } = await statfs(agentFolder);
    if ((bytes - here) * SPACE_FACTOR > bavail * bsize)
      throw new AppError(
        'DISK_FULL',
        `${bytes - here} bytes of ${file} are to come, and ${bavail * bsize} are free; twice as many are needed`,
      );
    let came = here;
    const path = consistentPath(agentPath(file), sha256);
    await fetch(
      { name: file, path, sha256, bytes },
      {
        ...{ blobs, signal: this.#stopping.signal },
        onBytes: (more) => {
          came += more;
          this.#o.onBytes(more);
          this.#note(came);
        },
      },
    );
    await this.#enter(version, 'staged', { ...counts, downloadedBytes: bytes });
  }

  /** @throws OVER_BUDGET, LINK_METERED */
  async #mayCome(bytes: number): Promise<void> {
    if (!this.#o.mayDownload())
      throw new AppError('OVER_BUDGET', 'the bytes of the day for the link are used up');
    if (this.#o.clock.nowMonoMs() < this.#meteredUntilMonoMs) return;
    const metered = await this.#o.metered?.();
    if (metered && bytes > metered.maxBytes)
      throw new AppError('LINK_METERED', `waits for an unmetered link: ${bytes} bytes are to come`);
  }

  /** The signed metadata of this moment, and then the offer: from here on the machine decides. */
  async #handOver(version: string): Promise<void> {
    const paths = offerPaths(this.#o.agentFolder);
    await this.#o.source.collect(paths.metadata);
    const id = newId();
    await this.#enter(version, 'installing', {}, id);
    await this.#writeOffer(id, version);
    this.#o.logger.info('self_update.offered', { version });
  }

  #writeOffer(id: string, version: string): Promise<void> {
    return writeJsonAtomic(offerPaths(this.#o.agentFolder).ready, { schema: 1, id, version });
  }

  /** Until the machine has said how it ended; a stop ends the waiting alone. */
  async #awaitOutcome(): Promise<void> {
    const { clock, version: own, machine } = this.#o;
    const { offerId, update } = this.#state;
    if (!update) return;
    const paths = machinePaths(machine().folder ?? '');
    const untilMonoMs = clock.nowMonoMs() + ANSWERS_WITHIN_MS;
    let againMonoMs = clock.nowMonoMs() + OFFER_AGAIN_MS;
    while (!this.#stopping.signal.aborted) {
      const said = await readJson(paths.outcome, outcome).catch(() => undefined);
      if (said?.id === offerId && (await this.#took(said))) return;
      // A new agent that the machine has started by hand, or a machine that has lost its word.
      if (said?.id !== offerId && own === update.version) return this.#end('committed');
      if (said?.id !== offerId && clock.nowMonoMs() > againMonoMs) {
        // systemd may have looked away while it was at the offer before.
        await this.#writeOffer(offerId ?? '', update.version);
        againMonoMs = clock.nowMonoMs() + OFFER_AGAIN_MS;
      }
      if (clock.nowMonoMs() > untilMonoMs) {
        await this.#enter(update.version, 'staged');
        throw new AppError(
          'SERVICE_FAILED',
          'what puts updates into place on this machine (outrider-update.service) has not answered',
        );
      }
      await clock.sleep(LOOK_EVERY_MS, this.#stopping.signal).catch(() => undefined);
    }
  }

  /** @returns whether that was its last word */
  async #took({ phase, error, version }: Outcome): Promise<boolean> {
    switch (phase) {
      case 'installing':
        return false;
      case 'trial':
        if (this.#state.update?.phase !== 'trial')
          await this.#enter(version, 'trial', {}, this.#state.offerId);
        return false;
      case 'committed':
        await this.#end('committed');
        return true;
      case 'rolled-back':
      case 'refused':
        await this.#end('rolled-back', error);
        return true;
      case 'in-the-way':
        await this.#enter(version, 'staged', { error }, null, this.#o.clock.nowAtMs() + PAUSE_MS);
        this.#o.logger.warn('self_update.in_the_way', { version, ...error });
        return true;
    }
  }

  async #end(phase: 'committed' | 'rolled-back', error: AgentUpdate['error'] = null): Promise<void> {
    const { logger, metrics, blobs } = this.#o;
    const version = this.#state.update?.version ?? this.#o.version;
    await this.#enter(version, phase, { error });
    if (phase === 'committed') logger.info('self_update.committed', { version });
    else logger.warn('self_update.rolled_back', { version, ...error });
    metrics.count('outrider_updates_total', { model: AGENT_NAME, outcome: phase });
    await this.#clear();
    await blobs.sweep(new Set());
  }

  async #forget(): Promise<void> {
    await this.#state.set(null, null);
    await this.#clear();
    await this.#o.blobs.sweep(new Set());
    this.#tell();
  }

  async #clear(): Promise<void> {
    const { ready, metadata } = offerPaths(this.#o.agentFolder);
    await rm(ready, { force: true });
    await rm(metadata, { recursive: true, force: true });
  }

  /** Something is in the way that may go by itself. */
  async #blocked(thrown: unknown): Promise<void> {
    const error = toAppError(thrown);
    if (error.code === 'STOPPING' || this.#stopping.signal.aborted) return;
    const { update, offerId } = this.#state;
    if (update?.error?.message !== error.message) this.#o.logger.failure('self_update.blocked', error);
    if (update)
      await this.#enter(update.version, update.phase, { error: toErrorBody(error) }, offerId).catch(
        () => undefined,
      );
    this.#again(
      error.code === 'LINK_METERED' ? METERED_CHECK_MS : 1_000 + backoffDelayMs(this.#attempt++, AGAIN),
    );
  }

  #again(delayMs: number): void {
    this.#cancelAgain();
    this.#cancelAgain = this.#o.clock.after(delayMs, () => this.#begin());
  }

  /** On disk when it returns. */
  async #enter(
    version: string,
    phase: AgentUpdate['phase'],
    change: Partial<AgentUpdate> = {},
    offerId: string | null = null,
    notBeforeAtMs = 0,
  ): Promise<void> {
    const before = this.#state.update;
    const fresh = { downloadedBytes: 0, totalBytes: 0 };
    const next = agentUpdate.parse({
      ...(before?.version === version ? before : fresh),
      ...{ version, phase, error: null, ...change, atMs: this.#o.clock.nowAtMs() },
    });
    const isSame = before && { ...before, atMs: next.atMs };
    if (isSame && JSON.stringify(isSame) === JSON.stringify(next) && offerId === this.#state.offerId) return;
    await this.#state.set(next, offerId, notBeforeAtMs);
    this.#tell();
  }

  #note(downloadedBytes: number): void {
    this.#state.note({ downloadedBytes });
    if (this.#o.clock.nowMonoMs() - this.#toldMonoMs >= TELL_EVERY_MS) this.#tell();
  }

  #tell(): void {
    this.#toldMonoMs = this.#o.clock.nowMonoMs();
    this.#o.onChange();
  }
}
