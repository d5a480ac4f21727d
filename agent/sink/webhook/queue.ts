/**
 * Messages that a webhook has not taken yet, in a file: lines of what came and of what went, written anew when most of it has gone. Bodies
 * stay on the disk; over its bytes or its age the oldest go. A line that a crash has torn is no message.
 *
 *   {"id":"…","atMs":…,"body":"…"}   it came
 *   {"done":"…"}                     it was taken, or given up
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { z } from 'zod';
import { AppendFile } from '../../../shared/runtime/append-file.ts';
import { syncFile } from '../../../shared/runtime/atomic-file.ts';
import { AppError, systemCode } from '../../../shared/runtime/errors.ts';
import { SerialQueue } from '../../../shared/runtime/serial-queue.ts';

/** A message to a webhook. */
export interface Message {
  /** Its `webhook-id`: the same at each try. */
  readonly id: string;
  /** When it came, on the epoch clock. */
  readonly atMs: number;
  /** JSON. */
  readonly body: string;
}

/** Where a message lies in the file. */
interface Place {
  readonly id: string;
  readonly atMs: number;
  offset: number;
  readonly length: number;
}

/** Bounds of what waits. */
export interface QueueBounds {
  readonly bytes: number;
  readonly ageMs: number;
}

/** Messages that went over a bound. */
export interface Dropped {
  readonly overBytes: number;
  readonly overAge: number;
}

const came = z.object({ id: z.string(), atMs: z.number(), body: z.string() });
const went = z.object({ done: z.string() });

/** Below this it is not worth writing anew. */
const MIN_ANEW_BYTES = 1024 * 1024;
/** Of memory: a place is some hundred bytes. */
const MAX_MESSAGES = 50_000;
/** 2025: a clock that was behind it had not been set, and says nothing of an age. */
const PLAUSIBLE_AT_MS = Date.UTC(2025, 0);
const NEWLINE = 0x0a;

/** Queue of messages on the disk, oldest first. */
export class WebhookQueue {
  readonly #path: string;
  readonly #bounds: QueueBounds;
  readonly #file: AppendFile;
  readonly #places = new Map<string, Place>();
  /** Appends, and the writing anew, one after another. */
  readonly #work = new SerialQueue();
  #bytes = 0;

  constructor(path: string, bounds: QueueBounds) {
    this.#path = path;
    this.#bounds = bounds;
    // It is written anew long before.
    this.#file = new AppendFile({ path, maxBytes: Number.POSITIVE_INFINITY, mode: 0o600, isDurable: true });
  }

  get length(): number {
    return this.#places.size;
  }

  /** Of the messages that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Reads back what an earlier run has left. @throws as the system says */
  async open(): Promise<void> {
    let offset = 0;
    try {
      for await (const line of linesOf(this.#path)) {
        this.#replay(line, offset);
        offset += line.length + 1;
      }
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }

  /** On disk when it resolves; one of an id that waits already is not added. @throws DISK_FULL, or as the system says */
  put(message: Message): Promise<void> {
    return this.#work.run(async () => {
      if (this.#places.has(message.id)) return;
      const line = Buffer.from(`${JSON.stringify(message)}\n`, 'utf8');
      await this.#file.append(line);
      const { id, atMs } = message;
      this.#note({ id, atMs, offset: this.#file.bytes - line.length, length: line.length - 1 });
    });
  }

  /** The oldest that waits. @throws DATA_CORRUPT (it is no message any more), as the system says */
  async oldest(): Promise<Message | undefined> {
    return this.#work.run(async () => {
      const [place] = this.#places.values();
      if (!place) return undefined;
      const file = await open(this.#path, 'r');
      try {
        const line = await read(file, place);
        const parsed = came.safeParse(parse(line));
        if (parsed.success && parsed.data.id === place.id) return parsed.data;
        this.#forget(place);
        throw new AppError('DATA_CORRUPT', `${this.#path} has changed under a message that waits`);
      } finally {
        await file.close();
      }
    });
  }

  /** It was taken, or is given up. @throws DISK_FULL: then it may be sent again after a restart */
  done(id: string): Promise<void> {
    return this.#work.run(() => this.#done([id]));
  }

  /** Lets go of what is over a bound. */
  sweep(nowAtMs: number): Promise<Dropped> {
    return this.#work.run(async () => {
      const { bytes, ageMs } = this.#bounds;
      const over: string[] = [];
      let left = this.#bytes;
      let overAge = 0;
      for (const { id, atMs, length } of this.#places.values()) {
        const isOverBytes = left > bytes || this.#places.size - over.length > MAX_MESSAGES;
        const isOverAge = nowAtMs - atMs > ageMs && atMs >= PLAUSIBLE_AT_MS;
        if (!isOverBytes && !isOverAge) continue;
        if (!isOverBytes) overAge++;
        over.push(id);
        left -= length;
      }
      if (over.length > 0) await this.#done(over);
      return { overAge, overBytes: over.length - overAge };
    });
  }

  /** When the oldest that waits came; null: nothing waits. */
  get oldestAtMs(): number | null {
    const [place] = this.#places.values();
    return place?.atMs ?? null;
  }

  /** Of the file, with what has gone and is still in it. */
  get fileBytes(): number {
    return Math.max(this.#bytes, this.#file.bytes);
  }

  /** Lets go of the oldest, and of the room that they took. @returns how many went, and bytes that were freed */
  giveBack(bytes: number): Promise<{ readonly count: number; readonly bytes: number }> {
    return this.#work.run(async () => {
      const before = this.fileBytes;
      let freed = 0;
      let count = 0;
      for (const place of this.#places.values()) {
        if (freed >= bytes) break;
        this.#forget(place);
        freed += place.length;
        count++;
      }
      if (count === 0) return { count, bytes: 0 };
      await this.#writeAnew();
      await this.#file.open();
      return { count, bytes: Math.max(0, before - this.#file.bytes) };
    });
  }

  /** Everything that waits goes. @returns how many */
  async clear(): Promise<number> {
    return this.#work.run(async () => {
      const count = this.#places.size;
      await this.#done([...this.#places.keys()]);
      return count;
    });
  }

  async close(): Promise<void> {
    await this.#work.settled();
    await this.#file.close();
  }

  async #done(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const place = this.#places.get(id);
      if (place) this.#forget(place);
    }
    if (ids.length === 0) return;
    await this.#file.append(
      Buffer.from(ids.map((id) => `${JSON.stringify({ done: id })}\n`).join(''), 'utf8'),
    );
    if (this.#file.bytes > MIN_ANEW_BYTES + 2 * this.#bytes) await this.#writeAnew();
  }

  /** Only what waits; the old file stays until the new one is whole. */
  async #writeAnew(): Promise<void> {
    const temporary = `${this.#path}.new`;
    const offsets = new Map<Place, number>();
    const [from, to] = [await open(this.#path, 'r'), await open(temporary, 'w', 0o600)];
    try {
      let offset = 0;
      for (const place of this.#places.values()) {
        const line = Buffer.concat([await read(from, place), Buffer.of(NEWLINE)]);
        await to.appendFile(line);
        offsets.set(place, offset);
        offset += line.length;
      }
    } finally {
      await Promise.all([from.close(), to.close()]);
    }
    await syncFile(temporary);
    await this.#file.close();
    await rename(temporary, this.#path);
    for (const [place, offset] of offsets) place.offset = offset;
  }

  #replay(line: Buffer, offset: number): void {
    const value = parse(line);
    const message = came.safeParse(value);
    if (message.success) {
      const { id, atMs } = message.data;
      this.#note({ id, atMs, offset, length: line.length });
    }
    const done = went.safeParse(value);
    const place = done.success ? this.#places.get(done.data.done) : undefined;
    if (place) this.#forget(place);
  }

  #note(place: Place): void {
    this.#places.set(place.id, place);
    this.#bytes += place.length;
  }

  #forget(place: Place): void {
    this.#places.delete(place.id);
    this.#bytes -= place.length;
  }
}

/** The file of a webhook that is not configured any more. */
export async function removeQueue(path: string): Promise<void> {
  await Promise.all([rm(path, { force: true }), rm(`${path}.new`, { force: true })]);
}

async function read(file: FileHandle, { offset, length }: Place): Promise<Buffer> {
  const line = Buffer.alloc(length);
  await file.read(line, 0, length, offset);
  return line;
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** Whole lines without their ends; what follows the last end was torn. */
async function* linesOf(path: string): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const chunk of createReadStream(path)) {
    let from = 0;
    const bytes = chunk as Buffer;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      yield Buffer.concat([...rest, bytes.subarray(from, end)]);
      rest = [];
      from = end + 1;
    }
    if (from < bytes.length) rest.push(bytes.subarray(from));
  }
}
