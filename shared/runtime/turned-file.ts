/** A file that is turned over: what is full lies beside it as `{path}.1`, over the one before; either can be given back for its room. */
import { rm, stat } from 'node:fs/promises';
import { AppendFile, type AppendFileOptions } from './append-file.ts';

/** What is in the file now goes only where it is worth it. */
const WORTH_BYTES = 64 * 1024;

/** Append-only file with the one before it. */
export class TurnedFile {
  readonly path: string;
  readonly #file: AppendFile;

  constructor(options: Omit<AppendFileOptions, 'putAside'>) {
    this.path = options.path;
    this.#file = new AppendFile(options);
  }

  /** Where what is full lies. */
  get before(): string {
    return `${this.path}.1`;
  }

  /** Of the file that is written to, once it was. */
  get bytes(): number {
    return this.#file.bytes;
  }

  /** @param bytes whole records @throws DISK_FULL, or as the system says: then nothing of it is in the file */
  append(bytes: Uint8Array): Promise<void> {
    return this.#file.append(bytes);
  }

  /** Puts the file aside, where it has a record. */
  async turn(): Promise<void> {
    await this.#file.open();
    await this.#file.rotate();
  }

  /** What both take, and when the one that would go first was changed; null: none would. */
  async look(): Promise<{ readonly bytes: number; readonly oldestAtMs: number | null }> {
    const [before, now] = await this.#both();
    const oldest = before ?? (now && now.bytes >= WORTH_BYTES ? now : undefined);
    return { bytes: (before?.bytes ?? 0) + (now?.bytes ?? 0), oldestAtMs: oldest?.changedAtMs ?? null };
  }

  /** Gives the file before back, or else what is in the file. @returns bytes that were freed */
  async giveBack(): Promise<number> {
    const [before, now] = await this.#both();
    if (!before) {
      if (!now || now.bytes < WORTH_BYTES) return 0;
      await this.turn();
    }
    await rm(this.before, { force: true });
    return (before ?? now)?.bytes ?? 0;
  }

  /** The next append opens it again. */
  close(): Promise<void> {
    return this.#file.close();
  }

  #both(): Promise<(Found | undefined)[]> {
    return Promise.all([foundAt(this.before), foundAt(this.path)]);
  }
}

interface Found {
  readonly bytes: number;
  readonly changedAtMs: number;
}

/** Nothing of a pipe can be given back. */
async function foundAt(path: string): Promise<Found | undefined> {
  const file = await stat(path).catch(() => undefined);
  return file?.isFile() ? { bytes: file.size, changedAtMs: file.mtimeMs } : undefined;
}
