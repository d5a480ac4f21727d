/**
 * Requests that were given up, with their inputs, for people to look at and to try again: one file each, apart from the
 * log and under a cap of their own. The oldest go when the cap is reached, and are counted: their final Result was given long ago.
 */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError, type ErrorBody } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { readHead } from './read-head.ts';
import { type DeadRecord, decodeDeadHead, decodeDeadRecord, encodeRecord, type PutRecord } from './record.ts';

/** Caps on the dead letters; at either of them the oldest go. */
export interface DeadLetterLimits {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

/** Caps on the dead letters where the configuration names none. */
export const DEFAULT_DEAD_LETTER_LIMITS: DeadLetterLimits = {
  maxEntries: 1_000,
  maxBytes: 128 * 1024 * 1024,
};

/** Its first 48 bits. RFC 9562 5.7. */
const madeAtMs = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
const FILE_NAME = /^([0-9a-f-]{36})\.dead$/;

/** Store of the requests that were given up, a file each, under a cap of its own. */
export class DeadLetters {
  readonly #folder: string;
  readonly #limits: DeadLetterLimits;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  /** Sizes in bytes by id, oldest first: ids are in the order of their making. */
  #sizes = new Map<string, number>();

  constructor(options: {
    readonly folder: string;
    readonly logger: Logger;
    readonly metrics: Metrics;
    readonly limits?: DeadLetterLimits;
  }) {
    this.#folder = options.folder;
    this.#limits = options.limits ?? DEFAULT_DEAD_LETTER_LIMITS;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
  }

  async open(): Promise<void> {
    await makeFolder(this.#folder);
    const ids = (await readdir(this.#folder)).map((name) => FILE_NAME.exec(name)?.[1]);
    const sizes = ids
      .filter((id) => id !== undefined)
      .sort()
      .map(async (id) => [id, (await stat(this.#path(id))).size] as const);
    this.#sizes = new Map(await Promise.all(sizes));
  }

  get count(): number {
    return this.#sizes.size;
  }

  ids(): readonly string[] {
    return [...this.#sizes.keys()];
  }

  has(id: string): boolean {
    return this.#sizes.has(id);
  }

  /** On disk when it returns, where there is room; without room it is counted as dropped, and nothing else is lost by it. */
  async put(put: PutRecord, body: Uint8Array, error: ErrorBody, atMs: number): Promise<void> {
    const { code, message } = error;
    const frame = encodeRecord({ type: 'dead', put, error: { code, message }, atMs }, body);
    try {
      if (frame.length > this.#limits.maxBytes) throw new AppError('INPUT_TOO_LARGE');
      this.#sizes.delete(put.id);
      await this.#makeRoom(frame.length);
      await writeFileAtomic(this.#path(put.id), Buffer.concat([frame.head, frame.body]), 0o600);
      this.#sizes.set(put.id, frame.length);
      this.#metrics.count('outrider_dead_letters_total', { pipeline: put.pipeline, code });
    } catch (failure) {
      this.#drop(put.id, 'no-room');
      this.#logger.failure('outbox.dead_letter_lost', failure, { requestId: put.id });
    }
  }

  /** @returns undefined where there is none of this id. @throws DATA_CORRUPT */
  async read(id: string): Promise<{ record: DeadRecord; body: Buffer } | undefined> {
    if (!this.#sizes.has(id)) return undefined;
    return decodeDeadRecord(await readFile(this.#path(id)));
  }

  /** The same without its body. @throws DATA_CORRUPT */
  async describe(id: string): Promise<{ record: DeadRecord; bytes: number } | undefined> {
    const size = this.#sizes.get(id);
    if (size === undefined) return undefined;
    const head = await readHead(this.#path(id), 0, size);
    return { record: decodeDeadHead(head), bytes: size - head.length };
  }

  async remove(id: string): Promise<void> {
    this.#sizes.delete(id);
    await rm(this.#path(id), { force: true });
  }

  get bytes(): number {
    let total = 0;
    for (const size of this.#sizes.values()) total += size;
    return total;
  }

  /** When the oldest was accepted, as its id says; null: there is none. */
  get oldestAtMs(): number | null {
    const [id] = this.#sizes.keys();
    return id === undefined ? null : madeAtMs(id);
  }

  /** Lets go of the oldest, until so many bytes are free. @returns bytes that were freed */
  async giveBack(bytes: number): Promise<number> {
    let freed = 0;
    for (const [id, size] of this.#sizes) {
      if (freed >= bytes) break;
      await this.remove(id);
      this.#drop(id, 'quota');
      freed += size;
    }
    return freed;
  }

  async #makeRoom(bytes: number): Promise<void> {
    let total = bytes + this.bytes;
    for (const [id, size] of this.#sizes) {
      if (this.#sizes.size < this.#limits.maxEntries && total <= this.#limits.maxBytes) return;
      await this.remove(id);
      this.#drop(id, 'cap');
      total -= size;
    }
  }

  #drop(id: string, reason: 'cap' | 'no-room' | 'quota'): void {
    this.#metrics.count('outrider_dead_letters_dropped_total', { reason });
    this.#logger.warn('outbox.dead_letter_dropped', { requestId: id, reason });
  }

  #path(id: string): string {
    return join(this.#folder, `${id}.dead`);
  }
}
