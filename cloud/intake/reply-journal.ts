/**
 * The replies of the last while on disk, so that a hub that was restarted gives the same answer to the same request. Written
 * off the reply's path, in groups; a kill loses the last moment of it, and then the request is worked on once more. Two files
 * in turn: the older one goes when the younger is full or old enough.
 *
 * A record: `[u32 length of what follows][u32 key length][key][f64 when, epoch ms][the reply's frame]`, big-endian.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { AppendFile } from '../../shared/runtime/append-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';

/** Reply as the journal gives it back, under the key of its request. */
export interface KeptReply {
  readonly key: string;
  readonly frame: Uint8Array;
  readonly atMs: number;
}

/** Folder of the journal, and how much and how long it keeps. */
export interface ReplyJournalOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of one file. */
  readonly maxFileBytes?: number;
  readonly maxAgeMs: number;
}

const CURRENT = 'replies.log';
const OLDER = 'replies.older.log';
const FLUSH_EVERY_MS = 200;
const MAX_FILE_BYTES = 32 * 1024 * 1024;
/** What may wait in memory for a disk that takes nothing. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const PREFIX_BYTES = 4;

/** Write-behind journal of replies, so that a request has the same reply after a restart. */
export class ReplyJournal implements Part {
  readonly #o: ReplyJournalOptions;
  readonly #file: AppendFile;
  #startedAtMs = 0;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #written: (() => void)[] = [];
  readonly #flushing = new SerialQueue();
  #isOpen = false;
  #cancelFlush: (() => void) | undefined;
  #isFailing = false;

  constructor(options: ReplyJournalOptions) {
    this.#o = options;
    this.#file = new AppendFile({
      path: join(options.folder, CURRENT),
      maxBytes: options.maxFileBytes ?? MAX_FILE_BYTES,
      mode: 0o600,
      isDurable: true,
      wholeBytes: async (file) => wholeBytes(await file.readFile()),
      putAside: async (path) => {
        await rename(path, join(options.folder, OLDER));
        this.#startedAtMs = options.clock.nowAtMs();
      },
    });
  }

  /** @returns what is young enough, oldest first */
  async read(): Promise<KeptReply[]> {
    const oldestAtMs = this.#o.clock.nowAtMs() - this.#o.maxAgeMs;
    const files = [OLDER, CURRENT].map((name) => this.#readFile(join(this.#o.folder, name)));
    const found = (await Promise.all(files)).flat();
    return found.filter(({ atMs }) => atMs >= oldestAtMs);
  }

  async start(): Promise<void> {
    await this.#file.open();
    this.#startedAtMs = this.#o.clock.nowAtMs();
    this.#isOpen = true;
    if (this.#written.length > 0) this.#flushSoon();
  }

  async stop(): Promise<void> {
    this.#isOpen = false;
    this.#cancelFlush?.();
    await this.flush();
    await this.#file.close();
  }

  /** @param written runs when the reply is in the file, or will never be: what counts on it comes after it, not before */
  append({ key, frame, atMs }: KeptReply, written: () => void): void {
    const keyBytes = Buffer.from(key, 'utf8');
    const record = Buffer.allocUnsafe(PREFIX_BYTES + 4 + keyBytes.length + 8 + frame.length);
    record.writeUInt32BE(record.length - PREFIX_BYTES, 0);
    record.writeUInt32BE(keyBytes.length, 4);
    keyBytes.copy(record, 8);
    record.writeDoubleBE(atMs, 8 + keyBytes.length);
    record.set(frame, 16 + keyBytes.length);
    if (this.#pendingBytes + record.length <= MAX_PENDING_BYTES) {
      this.#pending.push(record);
      this.#pendingBytes += record.length;
    }
    this.#written.push(written);
    if (this.#isOpen) this.#flushSoon();
  }

  flush(): Promise<void> {
    return this.#flushing.run(() => this.#flushNow());
  }

  /** Nothing wakes an idle hub. */
  #flushSoon(): void {
    this.#cancelFlush ??= this.#o.clock.after(FLUSH_EVERY_MS, () => {
      this.#cancelFlush = undefined;
      void this.flush();
    });
  }

  async #flushNow(): Promise<void> {
    const group = this.#pending;
    const written = this.#written;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#written = [];
    try {
      if (group.length > 0) await this.#write(Buffer.concat(group));
      this.#isFailing = false;
    } catch (error) {
      // A cache on a disk that takes nothing: those requests would be worked on once more after a restart.
      if (!this.#isFailing) this.#o.logger.failure('intake.replies_not_kept', error);
      this.#isFailing = true;
    }
    for (const tell of written) tell();
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#o.clock.nowAtMs() - this.#startedAtMs > this.#o.maxAgeMs) await this.#file.rotate();
    await this.#file.append(bytes);
  }

  async #readFile(path: string): Promise<KeptReply[]> {
    try {
      return [...records((await readIfThere(path)) ?? Buffer.alloc(0))];
    } catch (error) {
      this.#o.logger.failure('intake.replies_unreadable', error);
      return [];
    }
  }
}

function* records(bytes: Buffer): Iterable<KeptReply> {
  for (let at = 0; at + PREFIX_BYTES <= bytes.length; ) {
    const end = at + PREFIX_BYTES + bytes.readUInt32BE(at);
    if (end > bytes.length || end < at + 16) return;
    const keyEnd = at + 8 + bytes.readUInt32BE(at + 4);
    if (keyEnd + 8 > end) return;
    yield {
      key: bytes.toString('utf8', at + 8, keyEnd),
      atMs: bytes.readDoubleBE(keyEnd),
      frame: bytes.subarray(keyEnd + 8, end),
    };
    at = end;
  }
}

function wholeBytes(bytes: Buffer): number {
  let at = 0;
  while (at + PREFIX_BYTES <= bytes.length) {
    const end = at + PREFIX_BYTES + bytes.readUInt32BE(at);
    if (end > bytes.length || end < at + 16) break;
    at = end;
  }
  return at;
}
