/**
 * Files of a folder: once by name, again and again at a gentle pace, or as they appear. Others write them, as they like: a file is taken
 * when it is whole (fresh-files.ts), again when it has changed, and only what was read whole and answered is moved or deleted.
 */
import { lstat, rm } from 'node:fs/promises';
import { relative, sep } from 'node:path';
import { AppError, ERRORS, type ErrorCode, systemCode } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Feed, TakeInput, TellFeed } from '../ports.ts';
import { type FileName, pathOf, shown } from './file-name.ts';
import { type Entry, FolderTree } from './folder-tree.ts';
import { FreshFiles, type Touch } from './fresh-files.ts';
import { moveFile } from './move-file.ts';
import { type Passes, rest, runPasses } from './passes.ts';
import { TakenFiles } from './taken-files.ts';
import { type Look, lookAt, readWhole } from './whole-file.ts';

/** Folder to read, and what becomes of its files; without `repeatPaceMs` and `once` it is watched for new ones. */
export interface FolderFeedOptions extends Passes {
  readonly path: string;
  /** Folders below it, too. */
  readonly recursive: boolean;
  /** A file that nobody has written to for so long is whole. */
  readonly settleMs: number;
  readonly after: 'keep' | 'move' | 'delete';
  readonly moveTo: string;
  /** Where it remembers what it has taken and left there: NDJSON. */
  readonly statePath: string;
  readonly maxBytes: number;
  readonly contentType: (name: string) => string;
  readonly logger: Logger;
  /** A file that could not be taken, with the reason. */
  readonly onDropped: (reason: string) => void;
}

/** Whether its folder is still there. */
const CHECK_EVERY_MS = 1_000;
/**
 * Everything is listed again so often, for what the kernel does not tell; a large folder less often, so that listing takes at most a
 * fiftieth of the time. Where the kernel tells nothing, listing is all there is.
 */
const LIST_EVERY = { watchedMs: 30_000, blindMs: 2_000, timesItsDuration: 50 };
/** A file that cannot be read for a passing reason (no file descriptors, a fault of the disk) is tried again. */
const RETRY_MS = 5_000;
/** So often a pass waits for a file that is being written to before it goes on without it. */
const MAX_ROUNDS = 20;
/** Looks at files under way: each waits for the disk. */
const LOOKS_AT_A_TIME = 16;

/** Not even what it looks like could be said. */
const UNSEEN = 'unseen';
/** What stays as it is, however often one tries. */
const LASTING: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'ENAMETOOLONG', 'ELOOP', 'ENOTDIR']);

/** Feed of a folder’s files, once, in passes, or as they appear. */
export class FolderFeed implements Feed {
  readonly #o: FolderFeedOptions;
  readonly #tree: FolderTree;
  readonly #taken: TakenFiles;
  #fresh: FreshFiles;
  /** What was passed over, and what it looked like: it is told once. */
  readonly #passedOver = new Map<FileName, string>();
  readonly #retryAtMonoMs = new Map<FileName, number>();
  #inode = '';
  #isLost = false;
  #listAtMonoMs = 0;
  #wake: () => void = () => undefined;

  constructor(options: FolderFeedOptions) {
    const { path, moveTo, recursive, statePath, clock, logger } = options;
    this.#o = options;
    const ours = options.after === 'move' ? relative(path, moveTo).split(sep).join('/') : undefined;
    this.#tree = new FolderTree({ path, recursive, isOurs: (name) => name === ours, logger });
    this.#taken = new TakenFiles({ path: statePath, clock, logger });
    this.#fresh = new FreshFiles(options);
  }

  async run(take: TakeInput, signal: AbortSignal, tell: TellFeed = () => undefined): Promise<void> {
    if (this.#isFollowing) return this.#follow(take, signal, tell);
    await runPasses(this.#o, signal, (paceMs) => this.#pass(take, signal, { paceMs, tell }));
  }

  /** Everything that is there, in order of names; what is being written to comes last. */
  async #pass(
    take: TakeInput,
    signal: AbortSignal,
    { paceMs, tell }: { readonly paceMs: number; readonly tell: TellFeed },
  ): Promise<void> {
    let waiting: FileName[] = [];
    for (const { name, kind } of await this.#list('')) {
      if (kind === 'folder' || kind === 'other') this.#passOver(name, kind);
      else waiting.push(name);
    }
    tell('live');
    let before = new Map<FileName, string>();
    for (let round = 0; round < MAX_ROUNDS && waiting.length > 0; round++) {
      if (round > 0) await rest(this.#o.clock, this.#o.settleMs, signal);
      const growing = new Map<FileName, string>();
      for (const name of waiting) {
        if (signal.aborted) return;
        const look = await this.#look(name);
        if (!look) continue;
        const isWhole = before.get(name) === look.mark || this.#fresh.isStill(look);
        if (!isWhole || !(await this.#takeFile(name, take))) growing.set(name, look.mark);
        else await rest(this.#o.clock, paceMs, signal);
      }
      before = growing;
      waiting = [...growing.keys()];
    }
    for (const name of waiting)
      this.#skip(name, new AppError('FILE_UNREADABLE', `${shown(name)} is being written to all the time`));
  }

  /** Files as they come, each once for each content, also across restarts. */
  async #follow(take: TakeInput, signal: AbortSignal, tell: TellFeed): Promise<void> {
    const { clock, settleMs } = this.#o;
    this.#fresh = new FreshFiles({ clock, settleMs });
    const wake = (): void => this.#wake();
    signal.addEventListener('abort', wake, { once: true });
    this.#tree.watch(
      (name, isNew) => {
        this.#fresh.touch(name, isNew);
        wake();
      },
      () => {
        this.#isLost = true;
        wake();
      },
    );
    try {
      await this.#taken.load();
      await this.#listAll(signal);
      tell('live');
      while (!signal.aborted) {
        await this.#keepSight(signal);
        await this.#lookAtTouched(signal);
        await this.#lookAtDue();
        const name = this.#fresh.next();
        if (name === undefined) await this.#rest(signal);
        else await this.#takeNew(name, take);
      }
    } finally {
      signal.removeEventListener('abort', wake);
      this.#tree.close();
      await this.#taken.close();
    }
  }

  /** The folder may be gone, or another one by now. @throws FILE_UNREADABLE */
  async #keepSight(signal: AbortSignal): Promise<void> {
    const { path, clock } = this.#o;
    const found = await lookAt(path).catch((error: unknown) => {
      throw this.#noFolder(error);
    });
    if (found?.kind !== 'folder') throw this.#noFolder();
    const isAnother = this.#isLost || found.inode !== this.#inode;
    if (isAnother) this.#tree.close();
    if (isAnother || clock.nowMonoMs() >= this.#listAtMonoMs) await this.#listAll(signal);
  }

  /** Finds what is new, and forgets what is gone. */
  async #listAll(signal: AbortSignal): Promise<void> {
    const { clock, path } = this.#o;
    const startMonoMs = clock.nowMonoMs();
    this.#isLost = false;
    this.#inode = (await lookAt(path).catch(() => undefined))?.inode ?? '';
    const seen = new Set<FileName>();
    const isWhole = await this.#findIn('', signal, seen);
    if (isWhole) {
      for (const name of this.#taken.names()) if (!seen.has(name)) await this.#taken.forget(name);
      for (const name of this.#passedOver.keys()) if (!seen.has(name)) this.#passedOver.delete(name);
    }
    const { watchedMs, blindMs, timesItsDuration } = LIST_EVERY;
    const everyMs = this.#tree.isBlind ? blindMs : watchedMs;
    const now = clock.nowMonoMs();
    this.#listAtMonoMs = now + Math.max(everyMs, timesItsDuration * (now - startMonoMs));
  }

  /** @returns whether everything could be listed */
  async #findIn(folder: FileName, signal: AbortSignal, seen?: Set<FileName>): Promise<boolean> {
    let isWhole = true;
    const entries = await this.#list(folder, () => {
      isWhole = false;
    });
    for (const { name } of entries) seen?.add(name);
    for (let at = 0; at < entries.length && !signal.aborted; at += LOOKS_AT_A_TIME) {
      const some = entries.slice(at, at + LOOKS_AT_A_TIME);
      const looks = await Promise.all(some.map(({ name, kind }) => this.#lookUnlessKnown(name, kind)));
      for (const [index, { name }] of some.entries()) {
        const look = looks[index];
        if (look && this.#isNews(name, look)) this.#fresh.seen(name, look);
      }
    }
    return isWhole && !signal.aborted;
  }

  async #lookUnlessKnown(name: FileName, kind: Entry['kind']): Promise<Look | undefined> {
    if (kind === 'file' || kind === 'unknown') return this.#look(name);
    this.#passOver(name, kind);
    return undefined;
  }

  /** By name. @throws FILE_UNREADABLE of the feed's own folder */
  async #list(folder: FileName, onUnreadable: () => void = () => undefined): Promise<Entry[]> {
    const entries: Entry[] = [];
    try {
      for await (const entry of this.#tree.list(folder, (name, error) => {
        onUnreadable();
        this.#skip(name, error);
      }))
        entries.push(entry);
    } catch (error) {
      if (folder === '') throw this.#noFolder(error);
      if (systemCode(error) !== 'ENOENT') this.#skip(folder, error);
    }
    return entries.sort(({ name: one }, { name: other }) => (one < other ? -1 : one > other ? 1 : 0));
  }

  async #lookAtTouched(signal: AbortSignal): Promise<void> {
    for (const [name, touch] of this.#fresh.takeTouched()) {
      if (await this.#isOwnFolder(name, touch)) await this.#findIn(name, signal);
      else await this.#lookAtTouchedOne(name, touch);
    }
  }

  /** A folder that has come, or come anew; one behind a link is not ours to go through. */
  async #isOwnFolder(name: FileName, { isNamed }: Touch): Promise<boolean> {
    if (!this.#o.recursive || !isNamed) return false;
    const found = await lstat(pathOf(this.#o.path, name)).catch(() => undefined);
    return found?.isDirectory() === true;
  }

  async #lookAtTouchedOne(name: FileName, touch: Touch): Promise<void> {
    const look = await this.#look(name);
    if (!look) {
      this.#fresh.forget(name);
      if (await this.#isGone(name)) {
        this.#tree.leave(name);
        this.#passedOver.delete(name);
        await this.#taken.forget(name);
      }
      return;
    }
    if (!this.#isNews(name, look)) return;
    // What is renamed into its place has a name that is newer than its content, and nobody writes to it: it was closed before.
    const mayBeClosed = touch.isNamed && !touch.isWritten && look.bytes > 0;
    if (mayBeClosed) await new Promise((resolve) => setImmediate(resolve));
    const isClosed = mayBeClosed && look.changedAtMs > look.writtenAtMs && !this.#fresh.isTouched(name);
    this.#fresh.seen(name, look, isClosed ? 'closed' : touch.isWritten ? 'written' : 'found');
  }

  async #isGone(name: FileName): Promise<boolean> {
    return (await lookAt(pathOf(this.#o.path, name)).catch(() => 'there')) === undefined;
  }

  async #lookAtDue(): Promise<void> {
    for (const name of this.#fresh.due()) {
      const look = await this.#look(name);
      if (!look) this.#fresh.forget(name);
      else this.#fresh.stillThere(name, look);
    }
    const now = this.#o.clock.nowMonoMs();
    for (const [name, atMonoMs] of this.#retryAtMonoMs) {
      if (atMonoMs > now) continue;
      this.#retryAtMonoMs.delete(name);
      this.#fresh.touch(name, true);
    }
  }

  #isNews(name: FileName, look: Look): boolean {
    return this.#taken.get(name) !== look.mark && this.#passedOver.get(name) !== everything(look);
  }

  /** @returns undefined for what is no file, or not there, or cannot be looked at */
  async #look(name: FileName): Promise<Look | undefined> {
    try {
      const look = await lookAt(pathOf(this.#o.path, name));
      if (look?.kind === 'file') return look;
      if (look) this.#passOver(name, look.kind);
      return undefined;
    } catch (error) {
      this.#skip(name, error);
      return undefined;
    }
  }

  async #rest(signal: AbortSignal): Promise<void> {
    const { clock } = this.#o;
    const now = clock.nowMonoMs();
    const dueMonoMs = Math.min(
      now + CHECK_EVERY_MS,
      this.#listAtMonoMs,
      this.#fresh.dueMonoMs ?? Number.POSITIVE_INFINITY,
    );
    if (signal.aborted || this.#isLost || this.#fresh.hasTouched) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(Math.max(0, dueMonoMs - now), () => this.#wake());
      this.#wake = () => {
        cancel();
        this.#wake = () => undefined;
        resolve();
      };
    });
  }

  async #takeNew(name: FileName, take: TakeInput): Promise<void> {
    if (!(await this.#takeFile(name, take))) this.#fresh.touch(name, false);
  }

  /** @returns false where somebody writes to it: it is not whole */
  async #takeFile(name: FileName, take: TakeInput): Promise<boolean> {
    const { path, maxBytes, contentType } = this.#o;
    const read = await readWhole(pathOf(path, name), maxBytes).catch(async (error: unknown) => {
      this.#skip(name, error, await lookAt(pathOf(path, name)).catch(() => undefined));
      return 'skipped' as const;
    });
    if (read === 'skipped') return true;
    if (!read) return this.#isGone(name);
    const { body, look } = read;
    if (body.length === 0) {
      this.#skip(name, new AppError('INPUT_EMPTY', `${shown(name)} is empty`), look);
      return true;
    }
    const label = shown(name);
    const refused = await take({ input: { contentType: contentType(label), body }, label });
    await this.#putAway(name, look, refused);
    return true;
  }

  /** @param refused why there is no answer: the file stays, and with it what a person may want to look at */
  async #putAway(name: FileName, look: Look, refused: ErrorCode | undefined): Promise<void> {
    const { path, after, moveTo, logger } = this.#o;
    if (refused !== undefined && ERRORS[refused].retry === 'backoff') {
      // Another start may have an answer.
      this.#passedOver.set(name, everything(look));
      return;
    }
    try {
      if (after !== 'keep' && refused === undefined) {
        const now = await lookAt(pathOf(path, name));
        // Somebody has put another content there meanwhile: that one is not answered.
        if (now && (now.mark !== look.mark || now.inode !== look.inode))
          return this.#fresh.touch(name, false);
        if (now && after === 'delete') await rm(pathOf(path, name), { force: true });
        if (now && after === 'move')
          await moveFile(name, { from: path, to: moveTo, writtenAtMs: look.writtenAtMs });
        await this.#taken.forget(name);
        return;
      }
    } catch (error) {
      // It stays; that is no reason to take it again, or to stop.
      logger.warn('feed.not_put_away', { file: shown(name), reason: systemCode(error) });
    }
    if (this.#isFollowing) await this.#taken.add(name, look.mark);
  }

  get #isFollowing(): boolean {
    return this.#o.repeatPaceMs === undefined && !this.#o.once;
  }

  /** What is no file: told once. */
  #passOver(name: FileName, kind: 'folder' | 'other'): void {
    if (kind === 'folder' && this.#o.recursive) return;
    if (this.#passedOver.get(name) === kind) return;
    this.#passedOver.set(name, kind);
    this.#tell(name, new AppError('NOT_A_FILE', `${shown(name)} is no file`));
  }

  /** A file that could not be taken: told once for each state of it. */
  #skip(name: FileName, error: unknown, look?: Look): void {
    const code = systemCode(error);
    const isPassing = code !== undefined && !(error instanceof AppError) && !LASTING.has(code);
    if (isPassing && this.#isFollowing) {
      this.#retryAtMonoMs.set(name, this.#o.clock.nowMonoMs() + RETRY_MS);
      this.#o.logger.warn('feed.file_postponed', { file: shown(name), reason: code });
      return;
    }
    const state = look ? everything(look) : UNSEEN;
    if (this.#passedOver.get(name) === state) return;
    this.#passedOver.set(name, state);
    this.#tell(name, error);
  }

  #tell(name: FileName, error: unknown): void {
    this.#o.logger.failure('feed.file_skipped', error, { file: shown(name) });
    this.#o.onDropped(error instanceof AppError ? error.code : 'FILE_UNREADABLE');
  }

  #noFolder(cause?: unknown): AppError {
    const why = systemCode(cause) === 'EACCES' ? 'cannot be read' : 'is not there, or cannot be read';
    return new AppError('FILE_UNREADABLE', `the feed’s folder ${this.#o.path} ${why}`, { cause });
  }
}

/** Rights and names as well: what was passed over may be taken after a change of these. */
const everything = ({ mark, changedAtMs }: Look): string => `${mark}:${changedAtMs}`;
