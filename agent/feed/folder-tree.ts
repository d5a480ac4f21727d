/**
 * The folders that a feed looks at: its own, and with `recursive` those below it. It lists them, and is told by the kernel which names
 * were touched. What the kernel does not tell (a full queue, a network mount, no watches left) is found by listing again.
 */
import { type FSWatcher, watch } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { basename } from 'node:path';
import { systemCode } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { type FileName, nameIn, pathOf, shown } from './file-name.ts';

/** Root of the tree, and who is told of what happens in it. */
export interface FolderTreeOptions {
  readonly path: string;
  readonly recursive: boolean;
  /** What the feed itself puts below its folder. */
  readonly isOurs: (name: FileName) => boolean;
  readonly logger: Logger;
}

/** A name as the folder has it, and what it names. */
export interface Entry {
  readonly name: FileName;
  /** `unknown`: a link, or a file system that does not say. */
  readonly kind: 'file' | 'folder' | 'other' | 'unknown';
}

/** @param isNew a name has come or gone; otherwise what it names has changed */
export type OnTouched = (name: FileName, isNew: boolean) => void;

/** Watcher of one folder, or of a tree of them. */
export class FolderTree {
  readonly #o: FolderTreeOptions;
  readonly #ownName: Buffer;
  readonly #watchers = new Map<FileName, FSWatcher>();
  #onTouched: OnTouched | undefined;
  #onLost: () => void = () => undefined;
  /** Some folder is not watched: listing alone finds what is new there. */
  isBlind = false;

  constructor(options: FolderTreeOptions) {
    this.#o = options;
    this.#ownName = Buffer.from(basename(options.path), 'utf8');
  }

  /** From now on the folders that are listed are watched. @param onLost the feed's own folder may be another one now */
  watch(onTouched: OnTouched, onLost: () => void): void {
    this.#onTouched = onTouched;
    this.#onLost = onLost;
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    this.isBlind = false;
  }

  /** Of this folder nobody shall be told any more. */
  leave(name: FileName): void {
    for (const [folder, watcher] of this.#watchers) {
      if (folder !== name && !folder.startsWith(`${name}/`)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
  }

  /**
   * What is in the folder and, where asked for, below it; hidden names are passed over.
   *
   * @param onUnreadable a folder below could not be listed
   * @throws as the system says, of the folder itself
   */
  async *list(
    folder: FileName,
    onUnreadable: (name: FileName, error: unknown) => void,
  ): AsyncGenerator<Entry> {
    const waiting: FileName[] = [folder];
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      // Before it is listed: what comes meanwhile is seen twice rather than never.
      this.#watchFolder(name);
      try {
        for await (const entry of this.#entries(name)) {
          yield entry;
          if (this.#o.recursive && entry.kind === 'folder') waiting.push(entry.name);
        }
      } catch (error) {
        if (name === folder) throw error;
        if (systemCode(error) !== 'ENOENT') onUnreadable(name, error);
      }
    }
  }

  async *#entries(folder: FileName): AsyncGenerator<Entry> {
    const options = { encoding: 'buffer' as BufferEncoding, bufferSize: 256 };
    // The type of the encoding does not know what the function does.
    for await (const entry of await opendir(pathOf(this.#o.path, folder), options)) {
      const name = nameIn(folder, entry.name as unknown as Buffer);
      if (isHidden(name) || this.#o.isOurs(name)) continue;
      if (entry.isFile()) yield { name, kind: 'file' };
      else if (entry.isDirectory()) yield { name, kind: 'folder' };
      else if (entry.isFIFO() || entry.isSocket() || entry.isCharacterDevice() || entry.isBlockDevice())
        yield { name, kind: 'other' };
      else yield { name, kind: 'unknown' };
    }
  }

  #watchFolder(folder: FileName): void {
    const onTouched = this.#onTouched;
    if (!onTouched) return;
    this.#watchers.get(folder)?.close();
    try {
      const watcher = watch(pathOf(this.#o.path, folder), { encoding: 'buffer' }, (event, entry) => {
        if (!entry) return;
        const name = nameIn(folder, entry);
        // A folder that is removed or renamed names itself, as one of its files of the same name would.
        if (folder === '' && event === 'rename' && entry.equals(this.#ownName)) this.#onLost();
        if (!isHidden(name) && !this.#o.isOurs(name)) onTouched(name, event === 'rename');
      });
      watcher.on('error', (error) => this.#notWatched(folder, error));
      this.#watchers.set(folder, watcher);
    } catch (error) {
      this.#notWatched(folder, error);
    }
  }

  /** Most often for want of watches (`fs.inotify.max_user_watches`): ENOSPC is not the disk here. */
  #notWatched(folder: FileName, error: unknown): void {
    this.#watchers.delete(folder);
    if (!this.isBlind)
      this.#o.logger.warn('feed.not_watched', { folder: shown(folder), reason: systemCode(error) });
    this.isBlind = true;
  }
}

const isHidden = (name: FileName): boolean => /(^|\/|\0)\.[^/]*$/.test(name);
