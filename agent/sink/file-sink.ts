/** Results as NDJSON in a file: one line each, rotated so that it cannot fill the disk. */
import { rm, stat } from 'node:fs/promises';
import type { Result } from '../../shared/contract/result.ts';
import { AppendFile } from '../../shared/runtime/append-file.ts';
import type { Kept, Sink } from '../ports.ts';

/** The file and its predecessor (`.1`) together hold at most twice this. */
const DEFAULT_MAX_BYTES = 32 * 1024 * 1024;
/** What is in the file now goes only where it is worth it. */
const WORTH_BYTES = 64 * 1024;

/** Sink that appends Results to a rotated NDJSON file. */
export class FileSink implements Sink {
  readonly name: string;
  readonly type = 'file';
  readonly path: string;
  readonly #file: AppendFile;

  constructor(options: { readonly path: string; readonly maxBytes?: number }) {
    const { path, maxBytes = DEFAULT_MAX_BYTES } = options;
    this.name = `file:${path}`;
    this.path = path;
    this.#file = new AppendFile({ path, maxBytes });
  }

  /** @throws DISK_FULL */
  put(value: object): Promise<void> {
    return this.#file.append(Buffer.from(`${JSON.stringify(value)}\n`, 'utf8'));
  }

  /** Both files in the quota. */
  kept(kind: Kept['kind']): Kept {
    return {
      kind,
      path: this.path,
      look: async () => {
        const [before, now] = await this.#both();
        const oldest = before ?? (now && now.bytes >= WORTH_BYTES ? now : undefined);
        return { bytes: (before?.bytes ?? 0) + (now?.bytes ?? 0), oldestAtMs: oldest?.changedAtMs ?? null };
      },
      giveBack: () => this.#giveBack(),
    };
  }

  /** The file before, or else all that there is. */
  async #giveBack(): Promise<number> {
    const [before, now] = await this.#both();
    if (!before) {
      if (!now || now.bytes < WORTH_BYTES) return 0;
      await this.#file.open();
      await this.#file.rotate();
    }
    await rm(this.#before, { force: true });
    return (before ?? now)?.bytes ?? 0;
  }

  get #before(): string {
    return `${this.path}.1`;
  }

  #both(): Promise<(Found | undefined)[]> {
    return Promise.all([foundAt(this.#before), foundAt(this.path)]);
  }

  close(): Promise<void> {
    return this.#file.close();
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

/** File of the results that a sink refused, kept for people. */
export const deadLetterTo =
  (file: FileSink) =>
  (sink: string, result: Result): Promise<void> =>
    file.put({ sink, result });
