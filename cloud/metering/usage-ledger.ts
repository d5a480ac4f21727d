/**
 * Who used what, one JSON line a request, append-only and off the reply's path: lines are gathered, written and fsynced
 * together, so that a crash loses at most what came in the last moment. A line that was half written is cut away, and a request
 * that is in the ledger already gets no second one.
 */
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppendFile } from '../../shared/runtime/append-file.ts';
import { syncFolder } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import type { UsageLedger, UsageLine } from '../ports.ts';
import { Counted } from './counted.ts';

/** Folder of the ledger, and its bounds on disk and in memory. */
export interface UsageLedgerOptions {
  /** Holds `usage.ndjson` and the rotated ones beside it. */
  readonly folder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Size at which a file is put aside. */
  readonly maxFileBytes?: number;
  /** Files that are kept, the newest; older ones go. */
  readonly maxFiles?: number;
  /** Bytes of lines that may wait in memory when the disk takes none. */
  readonly maxPendingBytes?: number;
}

const FILE_NAME = 'usage.ndjson';
const ROTATED = /^usage-(\d+)\.ndjson$/;
const rotatedName = (stamp: number): string => `usage-${stamp}.ndjson`;
/** Half of the second that may be lost: an fsync takes its time too. */
const FLUSH_EVERY_MS = 500;
/** About 80,000 requests a file; 64 files bound the disk at 1 GiB, some five million requests. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MAX_FILES = 64;
/** As many as the hub keeps replies (`intake/once.ts`), and more: a device may ask again after a day. About 5 MB. */
const MAX_COUNTED = 50_000;
const MAX_PENDING_BYTES = 8 * 1024 * 1024;

/** Usage ledger in append-only files; each request has one line, however often it is told. */
export class FileUsageLedger implements UsageLedger, Part {
  readonly #options: Required<UsageLedgerOptions>;
  readonly #path: string;
  readonly #counted = new Counted(MAX_COUNTED);
  readonly #file: AppendFile;
  #isStarted = false;
  #pending: string[] = [];
  #pendingBytes = 0;
  readonly #flushing = new SerialQueue();
  #cancelFlush: (() => void) | undefined;
  #isFailing = false;
  /** Lines that found no room because the disk took none, since the start. */
  dropped = 0;

  constructor(options: UsageLedgerOptions) {
    this.#options = {
      maxFileBytes: MAX_FILE_BYTES,
      maxFiles: MAX_FILES,
      maxPendingBytes: MAX_PENDING_BYTES,
      ...options,
    };
    this.#path = join(options.folder, FILE_NAME);
    this.#file = new AppendFile({
      path: this.#path,
      maxBytes: this.#options.maxFileBytes,
      mode: 0o600,
      isDurable: true,
      putAside: () => this.#putAside(),
    });
  }

  async start(): Promise<void> {
    await this.#file.open();
    this.#isStarted = true;
    const { folder } = this.#options;
    const rotated = (await rotatedFiles(folder)).map((stamp) => join(folder, rotatedName(stamp)));
    await this.#counted.readBack([this.#path, ...rotated.reverse()]);
    this.#flushSoon();
  }

  /** Writes what is left. */
  async stop(): Promise<void> {
    this.#cancelFlush?.();
    if (!this.#isStarted) return;
    this.#isStarted = false;
    await this.flush();
    await this.#file.close();
  }

  /** A request is counted once, whoever asks again. */
  record(line: UsageLine): void {
    if (this.#counted.has(line)) return;
    const text = `${JSON.stringify(line)}\n`;
    if (this.#pendingBytes + text.length > this.#options.maxPendingBytes) {
      this.dropped += 1;
      return;
    }
    this.#counted.add(line);
    this.#pending.push(text);
    this.#pendingBytes += text.length;
    this.#flushSoon();
  }

  /** On disk when it returns, unless the disk takes nothing: then the lines wait for the next time. */
  flush(): Promise<void> {
    return this.#flushing.run(() => this.#flushNow());
  }

  /** Nothing wakes an idle hub. */
  #flushSoon(): void {
    if (!this.#isStarted || this.#pending.length === 0) return;
    this.#cancelFlush ??= this.#options.clock.after(FLUSH_EVERY_MS, () => {
      this.#cancelFlush = undefined;
      // What the disk did not take waits for the next time.
      void this.flush().then(() => this.#flushSoon());
    });
  }

  async #flushNow(): Promise<void> {
    if (this.#pending.length === 0) return;
    const lines = this.#pending;
    const bytes = this.#pendingBytes;
    this.#pending = [];
    try {
      await this.#file.append(Buffer.from(lines.join(''), 'utf8'));
      this.#pendingBytes -= bytes;
      this.#isFailing = false;
    } catch (error) {
      this.#pending = [...lines, ...this.#pending];
      if (!this.#isFailing)
        this.#options.logger.failure('metering.write_failed', error, { pending: this.#pending.length });
      this.#isFailing = true;
    }
  }

  async #putAside(): Promise<void> {
    const { folder, clock, maxFiles, logger } = this.#options;
    const rotated = await rotatedFiles(folder);
    // Never over an older file, whatever the clock says.
    const stamp = Math.max(clock.nowAtMs(), (rotated.at(-1) ?? 0) + 1);
    await rename(this.#path, join(folder, rotatedName(stamp)));
    for (const old of [...rotated, stamp].slice(0, -maxFiles)) {
      await rm(join(folder, rotatedName(old)), { force: true });
      logger.warn('metering.file_dropped', { file: rotatedName(old) });
    }
    await syncFolder(folder);
  }
}

/** The stamps of the files that were put aside, oldest first. */
async function rotatedFiles(folder: string): Promise<number[]> {
  const stamps = (await readdir(folder)).map((name) => Number(ROTATED.exec(name)?.[1] ?? Number.NaN));
  return stamps.filter((stamp) => !Number.isNaN(stamp)).sort((a, b) => a - b);
}
