/**
 * A segmented append-only log. Appends are grouped: whatever has gathered while the disk was busy goes out in one write and one
 * fsync, and a lone append goes at once. Segments are deleted whole, the oldest first, so that a `close` never vanishes
 * before the `put` that it closes. A torn tail (power cut) is cut off on open; a damaged segment is set aside, never deleted.
 */
import { copyFile, type FileHandle, open, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFile, syncFolder } from '../../shared/runtime/atomic-file.ts';
import { diskPace } from '../../shared/runtime/disk-pace.ts';
import { AppError, isDiskFull } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { readHead } from './read-head.ts';
import {
  decodeHead,
  decodeRecord,
  type Frame,
  frameLength,
  isWhole,
  type LogRecord,
  parseRecord,
} from './record.ts';

/** Position of a record in the log. */
export interface Position {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/** Takes up one record of the log. */
type Replay = (record: LogRecord, position: Position, bodyBytes: number) => void;

/**
 * How a record is appended: an `acknowledgement` may use the space that is kept in reserve; a `note` is not waited for on the disk, so that
 * a power cut may take it, and nothing before it.
 */
type Importance = 'request' | 'acknowledgement' | 'note';

interface Append {
  readonly frame: Frame;
  readonly importance: Importance;
  readonly done: (position: Position) => void;
  readonly failed: (error: unknown) => void;
}

/** Somebody waits for a new segment. */
interface Roll {
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** At most this much in one write: bounds the memory of a group and the time until its first append is confirmed. */
const GROUP_BYTES = 4 * 1024 * 1024;
/** Kept free so that acknowledgements still go when the disk is full (docs/design/link.md 2). */
const RESERVE_BYTES = 256 * 1024;
/** In one call: Linux takes 1,024 (IOV_MAX). */
const MAX_PARTS = 1_000;
const RESERVE_FILE = 'reserve';
/** Up to this a record is read whole, and its digest checked, also where only its head is wanted. */
const WHOLE_READ_BYTES = 64 * 1024;
const SEGMENT_NAME = /^(\d{10})\.log$/;
const segmentName = (segment: number): string => `${String(segment).padStart(10, '0')}.log`;

/** Append-only log in segment files, with group commit: one fsync for all that has gathered. */
export class SegmentLog {
  readonly #folder: string;
  readonly #segmentBytes: number;
  readonly #logger: Logger;
  /** Existing segments with their sizes, oldest first; the last one is written to. */
  readonly #sizes = new Map<number, number>();
  readonly #queue: Append[] = [];
  #file: FileHandle | undefined;
  #active = 0;
  #flushing: Promise<void> | undefined;
  #rolling: Roll | undefined;
  #reserve = false;
  /** The file ends in notes that the disk may not have yet. */
  #isUnsynced = false;

  constructor(folder: string, options: { readonly segmentBytes: number; readonly logger: Logger }) {
    this.#folder = folder;
    this.#segmentBytes = options.segmentBytes;
    this.#logger = options.logger;
  }

  get bytes(): number {
    let sum = 0;
    for (const size of this.#sizes.values()) sum += size;
    return sum;
  }

  get activeSegment(): number {
    return this.#active;
  }

  get activeBytes(): number {
    return this.#sizes.get(this.#active) ?? 0;
  }

  get oldestSegment(): number {
    return this.#sizes.keys().next().value ?? this.#active;
  }

  /** Reads every record back, oldest first, then opens a fresh segment for writing. */
  async open(replay: Replay): Promise<void> {
    await makeFolder(this.#folder);
    const segments = (await readdir(this.#folder))
      .map((name) => SEGMENT_NAME.exec(name)?.[1])
      .filter((digits) => digits !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
    for (const segment of segments) await this.#replaySegment(segment, segment === segments.at(-1), replay);
    await this.#startSegment((segments.at(-1) ?? 0) + 1);
    await this.#takeReserve();
  }

  /**
   * Appends a record; durable when it resolves, but for a note.
   *
   * @throws DISK_FULL (nothing was appended)
   */
  append(frame: Frame, importance: Importance): Promise<Position> {
    const result = new Promise<Position>((done, failed) =>
      this.#queue.push({ frame, importance, done, failed }),
    );
    this.#flushing ??= this.#flush();
    return result;
  }

  /**
   * Begins a new segment behind what has been appended, so that this one can go; nothing happens where it is empty. One call at a time.
   *
   * @throws as the system says, STOPPING
   */
  async roll(): Promise<void> {
    if (!this.#file) throw new AppError('STOPPING', 'the outbox is closed');
    if (this.#rolling) throw new AppError('INVARIANT_BROKEN', 'a new segment is being begun already');
    const rolled = new Promise<void>((done, failed) => {
      this.#rolling = { done, failed };
    });
    this.#flushing ??= this.#flush();
    await rolled;
  }

  /** Reads one record back. @throws DATA_CORRUPT */
  async read({ segment, offset, length }: Position): Promise<{ record: LogRecord; body: Buffer }> {
    const file = await open(join(this.#folder, segmentName(segment)), 'r');
    try {
      const frame = Buffer.allocUnsafe(length);
      const { bytesRead } = await file.read(frame, 0, length, offset);
      if (bytesRead !== length)
        throw new AppError('DATA_CORRUPT', `outbox segment ${segment} ends inside a record`);
      return decodeRecord(frame);
    } finally {
      await file.close();
    }
  }

  /** Reads one record back without its body, however large that is. @throws DATA_CORRUPT */
  async readHead(position: Position): Promise<LogRecord> {
    if (position.length <= WHOLE_READ_BYTES) return (await this.read(position)).record;
    const { segment, offset, length } = position;
    return decodeHead(await readHead(join(this.#folder, segmentName(segment)), offset, length));
  }

  /** Deletes a segment that no open entry needs; only the oldest may go. */
  async drop(segment: number): Promise<void> {
    if (segment === this.#active || segment !== this.oldestSegment)
      throw new AppError('INVARIANT_BROKEN', `segment ${segment} is not the oldest closed one`);
    this.#sizes.delete(segment);
    await rm(join(this.#folder, segmentName(segment)), { force: true });
    await syncFolder(this.#folder);
  }

  async close(): Promise<void> {
    await this.#flushing;
    await this.#file?.close();
    this.#file = undefined;
  }

  async #flush(): Promise<void> {
    // One turn of the event loop lets callers of the same moment join the group.
    await Promise.resolve();
    while (this.#queue.length > 0 || this.#rolling) {
      await this.#rollIfAsked();
      const group = this.#takeGroup();
      if (group.length === 0) continue;
      try {
        await this.#write(group);
      } catch (error) {
        await this.#writeOneByOne(group, error);
      }
    }
    this.#flushing = undefined;
  }

  async #rollIfAsked(): Promise<void> {
    const roll = this.#rolling;
    if (!roll) return;
    try {
      if (this.activeBytes > 0) await this.#startSegment(this.#active + 1);
      this.#rolling = undefined;
      roll.done();
    } catch (error) {
      this.#rolling = undefined;
      roll.failed(error);
    }
  }

  #takeGroup(): Append[] {
    const group: Append[] = [];
    let bytes = 0;
    while (this.#queue[0] && (group.length === 0 || bytes + this.#queue[0].frame.length <= GROUP_BYTES)) {
      const next = this.#queue.shift() as Append;
      bytes += next.frame.length;
      group.push(next);
    }
    return group;
  }

  async #write(group: readonly Append[]): Promise<void> {
    if (this.activeBytes >= this.#segmentBytes) await this.#startSegment(this.#active + 1);
    const file = this.#file;
    if (!file) throw new AppError('STOPPING', 'the outbox is closed');
    const start = this.activeBytes;
    try {
      await writeAll(
        file,
        group.flatMap(({ frame: { head, body } }) => (body.length > 0 ? [head, body] : [head])),
        start,
      );
      this.#isUnsynced = group.every(({ importance }) => importance === 'note');
      if (!this.#isUnsynced) await diskPace.timed(() => file.datasync());
    } catch (error) {
      // What is behind the last good byte was confirmed to nobody.
      await file.truncate(start).catch(() => undefined);
      throw error;
    }
    let offset = start;
    this.#sizes.set(
      this.#active,
      group.reduce((end, { frame }) => end + frame.length, start),
    );
    for (const append of group) {
      append.done({ segment: this.#active, offset, length: append.frame.length });
      offset += append.frame.length;
    }
  }

  /** The group did not fit: acknowledgements go first and may use the reserve, new requests are refused. */
  async #writeOneByOne(group: readonly Append[], cause: unknown): Promise<void> {
    if (!isDiskFull(cause)) {
      for (const append of group) append.failed(cause);
      return;
    }
    this.#logger.warn('outbox.disk_full');
    for (const append of group.filter(isAcknowledgement)) {
      try {
        await this.#write([append]);
      } catch (error) {
        await this.#giveReserve()
          .then(() => this.#write([append]))
          .catch(() => append.failed(asDiskFull(error)));
      }
    }
    for (const append of group.filter((one) => !isAcknowledgement(one))) append.failed(asDiskFull(cause));
  }

  async #startSegment(segment: number): Promise<void> {
    // A torn tail is looked for in the last segment alone.
    if (this.#isUnsynced) await this.#file?.datasync();
    this.#isUnsynced = false;
    const file = await open(join(this.#folder, segmentName(segment)), 'w');
    try {
      await syncFolder(this.#folder);
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    this.#active = segment;
    this.#sizes.set(segment, 0);
    if (!this.#reserve) await this.#takeReserve();
  }

  async #takeReserve(): Promise<void> {
    try {
      await writeFile(join(this.#folder, RESERVE_FILE), Buffer.alloc(RESERVE_BYTES), { flush: true });
      this.#reserve = true;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#logger.warn('outbox.no_reserve');
    }
  }

  async #giveReserve(): Promise<void> {
    this.#reserve = false;
    await rm(join(this.#folder, RESERVE_FILE), { force: true });
  }

  async #replaySegment(segment: number, isLast: boolean, replay: Replay): Promise<void> {
    const path = join(this.#folder, segmentName(segment));
    const file = await open(path, 'r+');
    let offset = 0;
    let damaged = false;
    try {
      const { size } = await file.stat();
      const header = Buffer.alloc(4);
      let buffer = Buffer.alloc(WHOLE_READ_BYTES);
      while (offset < size) {
        await file.read(header, 0, 4, offset);
        const length = frameLength(header, size - offset);
        if (length === undefined) break;
        // One buffer for all: a hundred thousand small ones would stay behind as holes in the memory.
        if (length > buffer.length) buffer = Buffer.alloc(length);
        const frame = buffer.subarray(0, length);
        await file.read(frame, 0, length, offset);
        if (!isWhole(frame)) break;
        const parsed = parseRecord(frame);
        if (parsed) replay(parsed.record, { segment, offset, length: frame.length }, parsed.body.length);
        // Written by a newer version that was rolled back: what follows it is still ours.
        else this.#logger.warn('outbox.unknown_record', { segment, offset });
        offset += frame.length;
      }
      damaged = offset < size;
      if (damaged && isLast) {
        this.#logger.warn('outbox.torn_tail', { segment, offset, droppedBytes: size - offset });
        await file.truncate(offset);
      }
      // Notes of the run before may not be on the disk yet, and another segment follows.
      if (isLast) await file.sync();
    } finally {
      await file.close();
    }
    this.#sizes.set(segment, offset);
    if (damaged && !isLast) await this.#setAside(segment, path, offset);
  }

  /** What follows the damage cannot be framed. A copy of all is kept for people, then the readable part stays in use. */
  async #setAside(segment: number, path: string, readableBytes: number): Promise<void> {
    const aside = `${path}.damaged`;
    this.#logger.error('outbox.damaged_segment', { segment, readableBytes, kept: aside });
    try {
      await copyFile(path, aside);
      await syncFile(aside);
      await syncFolder(this.#folder);
      await truncate(path, readableBytes);
    } catch (error) {
      // No room for the copy: it stays as it is, and is read as far as it goes at each start.
      this.#logger.failure('outbox.not_set_aside', error, { segment });
      await rm(aside, { force: true }).catch(() => undefined);
    }
  }
}

/** Like `FileHandle.writev`, which may write less than it was given. */
async function writeAll(file: FileHandle, parts: readonly Uint8Array[], position: number): Promise<void> {
  let left = [...parts];
  for (let at = position; left.length > 0; ) {
    const { bytesWritten } = await file.writev(left.slice(0, MAX_PARTS), at);
    at += bytesWritten;
    left = withoutFirst(left, bytesWritten);
  }
}

function withoutFirst(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let gone = bytes;
  for (const [index, part] of parts.entries()) {
    if (part.length > gone) return [part.subarray(gone), ...parts.slice(index + 1)];
    gone -= part.length;
  }
  return [];
}

const isAcknowledgement = ({ importance }: Append): boolean => importance === 'acknowledgement';

const asDiskFull = (error: unknown): unknown =>
  isDiskFull(error) ? new AppError('DISK_FULL', 'the outbox’s disk is full', { cause: error }) : error;
