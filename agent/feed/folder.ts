/**
 * Files of a folder, by name: once, again and again at a gentle pace, or as they appear (when their size has settled).
 * It remembers what it has taken, and then keeps, moves or deletes it.
 */
import { copyFile, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { watch } from 'chokidar';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError, systemCode } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Feed, FeedItem } from '../ports.ts';
import { type Passes, rest, runPasses } from './passes.ts';

/** Folder to read, and what becomes of its files; without `repeatPaceMs` and `once` it is watched for new ones. */
export interface FolderFeedOptions extends Passes {
  readonly path: string;
  readonly after: 'keep' | 'move' | 'delete';
  readonly moveTo: string;
  /** Where it remembers what it has taken. */
  readonly statePath: string;
  readonly maxBytes: number;
  readonly contentType: (name: string) => string;
  readonly logger: Logger;
  /** A file that could not be taken, with the reason. */
  readonly onDropped: (reason: string) => void;
}

/** A file whose size has not changed for this long is whole. */
const SETTLED_MS = 500;

/** After a crash, the files of this last while are taken once more. */
const REMEMBER_EVERY_MS = 1_000;

/** Name -> size and time of the files that were taken and kept. */
const takenFiles = z.object({ taken: z.record(z.string(), z.string()) });

/** Feed of a folder’s files, once, in passes, or as they appear. */
export class FolderFeed implements Feed {
  readonly #o: FolderFeedOptions;
  #taken: Record<string, string> = {};
  #rememberedMonoMs = 0;

  constructor(options: FolderFeedOptions) {
    this.#o = options;
  }

  async run(take: (item: FeedItem) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { repeatPaceMs, once } = this.#o;
    if (repeatPaceMs === undefined && !once) return this.#follow(take, signal);
    await runPasses(this.#o, signal, (paceMs) => this.#pass(take, signal, paceMs));
  }

  /** Everything that is there, in order of names. */
  async #pass(take: (item: FeedItem) => Promise<void>, signal: AbortSignal, paceMs: number): Promise<void> {
    for (const name of await this.#list()) {
      if (signal.aborted) return;
      await this.#takeFile(name, take);
      await rest(this.#o.clock, paceMs, signal);
    }
  }

  async #list(): Promise<string[]> {
    try {
      const entries = await readdir(this.#o.path, { withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
        .map((entry) => entry.name)
        .sort();
    } catch (error) {
      throw new AppError('FILE_UNREADABLE', `the feed’s folder ${this.#o.path} cannot be read`, {
        cause: error,
      });
    }
  }

  /** New files, each once, also across restarts. */
  async #follow(take: (item: FeedItem) => Promise<void>, signal: AbortSignal): Promise<void> {
    const there = new Set(await this.#list());
    // Files that are gone are forgotten, here and below: the memory grows no larger than the folder.
    const taken = Object.entries(await this.#readTaken());
    this.#taken = Object.fromEntries(taken.filter(([name]) => there.has(name)));
    const waiting: string[] = [];
    let wake: () => void = () => undefined;
    const watcher = watch(this.#o.path, {
      depth: 0,
      ignored: (path) => basename(path).startsWith('.'),
      awaitWriteFinish: { stabilityThreshold: SETTLED_MS, pollInterval: 100 },
    });
    watcher.on('add', (path) => {
      waiting.push(basename(path));
      wake();
    });
    watcher.on('unlink', (path) => {
      delete this.#taken[basename(path)];
    });
    watcher.on('error', (error) => this.#o.logger.failure('feed.watch_failed', error));
    signal.addEventListener('abort', () => wake(), { once: true });
    try {
      while (!signal.aborted) {
        const name = waiting.shift();
        if (name === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        await this.#takeNew(name, take);
      }
    } finally {
      await watcher.close();
      await this.#remember();
    }
  }

  async #remember(): Promise<void> {
    this.#rememberedMonoMs = this.#o.clock.nowMonoMs();
    await writeJsonAtomic(this.#o.statePath, { taken: this.#taken }).catch((error: unknown) =>
      this.#o.logger.failure('feed.not_remembered', error),
    );
  }

  async #takeNew(name: string, take: (item: FeedItem) => Promise<void>): Promise<void> {
    const mark = await this.#markOf(name);
    if (mark === undefined || this.#taken[name] === mark) return;
    await this.#takeFile(name, take);
    if ((await this.#markOf(name)) === undefined) return;
    this.#taken[name] = mark;
    if (this.#o.clock.nowMonoMs() - this.#rememberedMonoMs >= REMEMBER_EVERY_MS) await this.#remember();
  }

  async #takeFile(name: string, take: (item: FeedItem) => Promise<void>): Promise<void> {
    const path = join(this.#o.path, name);
    const body = await this.#read(path);
    if (!body) return;
    await take({ input: { contentType: this.#o.contentType(name), body }, label: name });
    await this.#putAway(name, path);
  }

  /** A file that cannot be put away stays; that is no reason to take it again, or to stop. */
  async #putAway(name: string, path: string): Promise<void> {
    const { after, moveTo, logger } = this.#o;
    try {
      if (after === 'delete') await rm(path, { force: true });
      if (after === 'move') {
        await mkdir(moveTo, { recursive: true });
        await move(path, join(moveTo, name));
      }
    } catch (error) {
      logger.warn('feed.not_put_away', { file: name, reason: systemCode(error) });
    }
  }

  async #read(path: string): Promise<Buffer | undefined> {
    try {
      if ((await stat(path)).size > this.#o.maxBytes)
        throw new AppError('INPUT_TOO_LARGE', `${path} is over ${this.#o.maxBytes} bytes`);
      return await readFile(path);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      this.#o.logger.failure('feed.file_skipped', error, { file: basename(path) });
      this.#o.onDropped(error instanceof AppError ? error.code : 'FILE_UNREADABLE');
      return undefined;
    }
  }

  async #markOf(name: string): Promise<string | undefined> {
    const found = await stat(join(this.#o.path, name)).catch(() => undefined);
    return found && `${found.size}:${found.mtimeMs}`;
  }

  async #readTaken(): Promise<Record<string, string>> {
    try {
      return (await readJson(this.#o.statePath, takenFiles))?.taken ?? {};
    } catch (error) {
      this.#o.logger.failure('feed.state_unreadable', error);
      return {};
    }
  }
}

/** Also to another file system, where a name alone cannot go. */
async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (systemCode(error) !== 'EXDEV') throw error;
    await copyFile(from, to);
    await rm(from);
  }
}
