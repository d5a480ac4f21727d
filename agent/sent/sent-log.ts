/**
 * A log of everything that has left the device: lines of NDJSON in a file that is turned over, bounded by bytes and age. It is for people,
 * so it costs little: lines are written some at a time and are not waited for on the disk (a power cut takes the last half minute), what a
 * device reports of itself is a line an hour, and where nothing leaves nothing is written.
 */
import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { type SentRecord, sentRecord } from '../../shared/contract/sent.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { TurnedFile } from '../../shared/runtime/turned-file.ts';
import type { Kept, SentNote } from '../ports.ts';

/** File of the log, and its bounds. */
export interface SentLogOptions {
  readonly path: string;
  /** Of both files together; 0: nothing is kept. */
  readonly maxBytes: number;
  readonly ageMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Which lines are read. */
export interface SentQuery {
  /** Those behind this number: the first of them. Left out, the last ones. */
  readonly after?: number | undefined;
  readonly sinceAtMs?: number | undefined;
  readonly limit: number;
}

const WRITE_AFTER_MS = 30_000;
const HOUR_MS = 3_600_000;
/** Of lines that wait, some 200 bytes each. */
const MAX_WAITING = 1_000;
/** 2025: a clock that was behind it had not been set, and says nothing of an age. */
const PLAUSIBLE_AT_MS = Date.UTC(2025, 0);

/** Log of what has left the device. */
export class SentLog implements Part {
  readonly #o: SentLogOptions;
  readonly #file: TurnedFile;
  #waiting: SentRecord[] = [];
  /** Of this hour, by what, where to and topic. */
  readonly #reports = new Map<string, SentRecord>();
  #next = 0;
  /** Of the oldest line in the file; undefined: it has none. */
  #firstAtMs: number | undefined;
  #writing: Promise<void> = Promise.resolve();
  #cancelWrite: (() => void) | undefined;
  #cancelHour = (): void => undefined;
  #isFailing = false;

  constructor(options: SentLogOptions) {
    this.#o = options;
    this.#file = new TurnedFile({ path: options.path, maxBytes: options.maxBytes / 2, mode: 0o600 });
  }

  /** Finds where it was. */
  async start(): Promise<void> {
    for await (const record of recordsIn(this.#file.before)) this.#next = Math.max(this.#next, record.n + 1);
    for await (const record of recordsIn(this.#file.path)) {
      this.#firstAtMs ??= record.atMs;
      this.#next = Math.max(this.#next, record.n + 1);
    }
    await this.#everyHour();
  }

  async stop(): Promise<void> {
    this.#cancelHour();
    this.#takeReports();
    await this.#write();
    await this.#file.close();
  }

  /** Something has left. */
  note(note: SentNote): void {
    if (this.#o.maxBytes === 0) return;
    const { what, bytes, to } = note;
    const [id, pipeline] = [note.id ?? null, note.pipeline ?? null];
    const [topic, why] = [note.topic ?? null, note.why ?? null];
    const atMs = this.#o.clock.nowAtMs();
    if (what === 'report') {
      const key = `${to} ${topic}`;
      const before = this.#reports.get(key);
      this.#reports.set(key, {
        ...{ n: 0, atMs: before?.atMs ?? atMs, what, id, pipeline, to, topic, why },
        bytes: (before?.bytes ?? 0) + bytes,
        count: (before?.count ?? 0) + 1,
      });
      return;
    }
    this.#add({ n: 0, atMs, what, id, pipeline, bytes, count: 1, to, topic, why });
  }

  /** Oldest first; what is not written yet, too. @throws as the system says */
  async read({ after, sinceAtMs = Number.NEGATIVE_INFINITY, limit }: SentQuery): Promise<SentRecord[]> {
    // What is being written must not be missed between file and memory.
    await this.#writing;
    const waiting = [...this.#waiting];
    const found: SentRecord[] = [];
    const sources = [recordsIn(this.#file.before), recordsIn(this.#file.path), waiting];
    for (const source of sources)
      for await (const record of source) {
        if (record.n <= (after ?? -1) || record.atMs < sinceAtMs) continue;
        found.push(record);
        if (found.length <= limit) continue;
        if (after !== undefined) return found.slice(0, limit);
        found.shift();
      }
    return found;
  }

  /** Both files in the quota. */
  get kept(): Kept {
    const file = this.#file;
    return {
      kind: 'logs',
      path: file.path,
      look: () => file.look(),
      giveBack: async () => {
        const freed = await file.giveBack();
        this.#firstAtMs = undefined;
        return freed;
      },
    };
  }

  #add(record: SentRecord): void {
    // On a disk that takes nothing the oldest of what waits go.
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift();
    this.#waiting.push({ ...record, n: this.#next++ });
    if (this.#waiting.length === MAX_WAITING / 2) void this.#write();
    this.#cancelWrite ??= this.#o.clock.after(WRITE_AFTER_MS, () => {
      this.#cancelWrite = undefined;
      void this.#write();
    });
  }

  #takeReports(): void {
    for (const report of this.#reports.values()) this.#add(report);
    this.#reports.clear();
  }

  #write(): Promise<void> {
    this.#cancelWrite?.();
    this.#cancelWrite = undefined;
    this.#writing = this.#writing.then(async () => {
      const lines = this.#waiting;
      if (lines.length === 0) return;
      this.#waiting = [];
      try {
        const block = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''), 'utf8');
        await this.#file.append(block);
        // It may have been turned over before.
        if (this.#file.bytes === block.length) this.#firstAtMs = lines[0]?.atMs;
        this.#isFailing = false;
      } catch (error) {
        this.#waiting = [...lines, ...this.#waiting].slice(-MAX_WAITING);
        if (!this.#isFailing) this.#o.logger.failure('sent.not_written', error);
        this.#isFailing = true;
      }
    });
    return this.#writing;
  }

  /** Nothing is older than its bound: each of the files spans half of it. */
  async #everyHour(): Promise<void> {
    const { clock, ageMs, logger } = this.#o;
    try {
      this.#takeReports();
      const oldAtMs = clock.nowAtMs() - ageMs / 2;
      const isOld = (atMs: number | undefined): boolean =>
        atMs !== undefined && atMs < oldAtMs && atMs >= PLAUSIBLE_AT_MS;
      const before = await stat(this.#file.before).catch(() => undefined);
      if (isOld(before?.mtimeMs)) await rm(this.#file.before, { force: true });
      if (isOld(this.#firstAtMs)) {
        await this.#file.turn();
        this.#firstAtMs = undefined;
      }
    } catch (error) {
      logger.failure('sent.not_swept', error);
    }
    this.#cancelHour = clock.after(HOUR_MS, () => void this.#everyHour());
  }
}

/** What is no line of it, such as a torn one, is passed over. */
async function* recordsIn(path: string): AsyncGenerator<SentRecord> {
  try {
    for await (const line of createInterface({
      input: createReadStream(path),
      crlfDelay: Number.POSITIVE_INFINITY,
    })) {
      const parsed = sentRecord.safeParse(tryParseJson(Buffer.from(line)));
      if (parsed.success) yield parsed.data;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
