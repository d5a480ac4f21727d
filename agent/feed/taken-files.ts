/**
 * What a folder feed has taken and left where it is, across restarts: a line of NDJSON for each file that is new, written at most
 * once a second, and the whole of it anew when most lines are of no use any more. So the disk sees what is new, not what is there.
 */
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { AppendFile } from '../../shared/runtime/append-file.ts';
import { readJson, writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import type { FileName } from './file-name.ts';

/** Place of the state on disk, and the clock by which it is written. */
export interface TakenFilesOptions {
  /** Of the NDJSON file. */
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** After a crash, the files of this last while are taken once more. */
const REMEMBER_EVERY_MS = 1_000;
/** Lines of no use that are not worth writing the file anew. */
const MAX_IDLE_LINES = 1_000;

/** Name and size:time of a file that was taken; without the latter, one that is gone. */
const line = z.union([z.tuple([z.string(), z.string()]), z.tuple([z.string()])]);
/** How releases before this one kept it: a JSON file beside ours. */
const earlier = z.object({ taken: z.record(z.string(), z.string()) });

/** Memory of the files that were taken, each by its size and time of change. */
export class TakenFiles {
  readonly #o: TakenFilesOptions;
  readonly #file: AppendFile;
  #marks = new Map<FileName, string>();
  /** Names whose line is not written yet. */
  readonly #unwritten = new Set<FileName>();
  #lines = 0;
  #writtenMonoMs = 0;

  constructor(options: TakenFilesOptions) {
    this.#o = options;
    this.#file = new AppendFile({ path: options.path, maxBytes: Number.POSITIVE_INFINITY });
  }

  /** Reads what is on disk; what cannot be read costs a repetition, not the feed. */
  async load(): Promise<void> {
    const { path, logger } = this.#o;
    this.#marks = new Map();
    this.#unwritten.clear();
    this.#lines = 0;
    try {
      const earlierPath = path.replace(/\.ndjson$/, '.json');
      const before = await readJson(earlierPath, earlier);
      if (before) {
        this.#marks = new Map(Object.entries(before.taken));
        await this.#writeAnew();
        await rm(earlierPath, { force: true });
      }
      const bytes = await readIfThere(path);
      for (const text of bytes?.toString('utf8').split('\n') ?? []) this.#read(text);
    } catch (error) {
      logger.failure('feed.state_unreadable', error);
    }
  }

  #read(text: string): void {
    if (text === '') return;
    this.#lines++;
    const parsed = line.safeParse(tryParseJson(Buffer.from(text)));
    if (!parsed.success) return;
    const [name, mark] = parsed.data;
    if (mark === undefined) this.#marks.delete(name);
    else this.#marks.set(name, mark);
  }

  get(name: FileName): string | undefined {
    return this.#marks.get(name);
  }

  names(): Iterable<FileName> {
    return this.#marks.keys();
  }

  async add(name: FileName, mark: string): Promise<void> {
    this.#marks.set(name, mark);
    this.#unwritten.add(name);
    await this.#writeInTurn();
  }

  /** It is gone: a new file of this name is new. */
  async forget(name: FileName): Promise<void> {
    if (!this.#marks.delete(name)) return;
    this.#unwritten.add(name);
    await this.#writeInTurn();
  }

  async #writeInTurn(): Promise<void> {
    if (this.#o.clock.nowMonoMs() - this.#writtenMonoMs >= REMEMBER_EVERY_MS) await this.write();
  }

  /** Makes the disk know what is known here. */
  async write(): Promise<void> {
    this.#writtenMonoMs = this.#o.clock.nowMonoMs();
    if (this.#unwritten.size === 0) return;
    try {
      if (this.#lines + this.#unwritten.size > 2 * this.#marks.size + MAX_IDLE_LINES) await this.#writeAnew();
      else {
        await this.#file.append(Buffer.from(this.#linesOf(this.#unwritten), 'utf8'));
        this.#lines += this.#unwritten.size;
      }
      this.#unwritten.clear();
    } catch (error) {
      this.#o.logger.failure('feed.not_remembered', error);
    }
  }

  async close(): Promise<void> {
    await this.write();
    await this.#file.close().catch(() => undefined);
  }

  async #writeAnew(): Promise<void> {
    await this.#file.close();
    await writeFileAtomic(this.#o.path, this.#linesOf(this.#marks.keys()));
    this.#lines = this.#marks.size;
  }

  #linesOf(names: Iterable<FileName>): string {
    let lines = '';
    for (const name of names) {
      const mark = this.#marks.get(name);
      lines += `${JSON.stringify(mark === undefined ? [name] : [name, mark])}\n`;
    }
    return lines;
  }
}
