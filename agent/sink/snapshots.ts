/**
 * Pictures with their Results in a folder: `{day}/{time}-{label}-{id}.jpg`, in UTC, and a `.json` of the same name beside it. The oldest go
 * by age and bytes, those of earlier runs too; nothing is touched that has another kind of name.
 */
import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Answer, isFailure, type Result } from '../../shared/contract/result.ts';
import { writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { isAppError, systemCode, toAppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import { labelsIn } from '../../shared/tasks/labels-in.ts';
import type { Kept, PictureOf, PictureWish, Sink, TellSink } from '../ports.ts';

/** Folder of snapshots, its bounds, and where pictures come from. */
export interface SnapshotsOptions {
  readonly folder: string;
  readonly keep: { readonly ageMs: number; readonly bytes: number };
  readonly wish: PictureWish;
  readonly pictureOf: PictureOf;
  readonly tell: TellSink;
  readonly clock: Clock;
}

/** One snapshot: both of its files. */
interface Snapshot {
  /** Inside of the folder, without its ending. */
  readonly path: string;
  readonly id: string;
  readonly atMs: number;
  bytes: number;
}

/** File systems of small cards get slow long before they are full. */
const MAX_SNAPSHOTS = 100_000;
/** 2025: a clock that was behind it had not been set, and says nothing of an age. */
const PLAUSIBLE_AT_MS = Date.UTC(2025, 0);
/** Pictures are for the account alone, as all inputs on the disk. */
const MODE = 0o600;
const LOOK_EVERY_MS = 10 * 60_000;
/** Of those that are there, so many make room on a full disk for a new one. */
const YIELD_SHARE = 0.05;
const DAY = /^\d{4}-\d\d-\d\d$/;
const NAME =
  /^(\d\d)-(\d\d)-(\d\d\.\d{3})-[a-z0-9_-]*-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(jpg|json)$/;
const TORN = /^\.\d\d-\d\d-\d\d\.\d{3}-[a-z0-9_-]*\.(?:jpg|json)\.[0-9a-f]{8}\.tmp$/;
const MAX_LABEL_CHARACTERS = 40;

/** Sink that keeps pictures in a folder. */
export class SnapshotSink implements Sink, Kept, Part {
  readonly name: string;
  readonly kind = 'snapshots';
  readonly tell: TellSink;
  readonly #o: SnapshotsOptions;
  /** By path, oldest first once it was read. */
  readonly #kept = new Map<string, Snapshot>();
  readonly #byId = new Map<string, Snapshot>();
  #bytes = 0;
  /** Puts and sweeps must not overlap. */
  readonly #queue = new SerialQueue();
  #cancelLook = (): void => undefined;
  #isRead = false;

  constructor(name: string, options: SnapshotsOptions) {
    this.name = name;
    this.tell = options.tell;
    this.#o = options;
  }

  get path(): string {
    return this.#o.folder;
  }

  async look(): Promise<{ bytes: number; oldestAtMs: number | null }> {
    await this.#queue.run(() => this.#read());
    const [oldest] = this.#kept.values();
    return { bytes: this.#bytes, oldestAtMs: oldest?.atMs ?? null };
  }

  start(): void {
    void this.#queue.run(() => this.#lookAround()).catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#cancelLook();
    await this.#queue.settled();
    this.#cancelLook();
  }

  /** @throws DISK_FULL, RUNNER_*, or as the system says */
  async put(result: Result): Promise<void> {
    if (isFailure(result)) return;
    const { pictureOf, wish, tell } = this.#o;
    const picture = await pictureOf(result, wish);
    if (!picture) return tell.dropped('no-picture');
    await this.#queue.run(async () => {
      try {
        await this.#read();
        await this.#write(result, picture).catch(async (error: unknown) => {
          if (!isAppError(error, 'DISK_FULL') || this.#kept.size === 0) throw error;
          // What was seen last is worth more than what was seen first.
          await this.#yield();
          await this.#write(result, picture);
        });
      } catch (error) {
        tell.refused(toAppError(error));
        throw error;
      }
      tell.delivered();
      await this.#sweep();
    });
  }

  /** Gives the oldest ones back, until so many bytes are free. @returns bytes that were freed */
  giveBack(bytes: number): Promise<number> {
    return this.#queue.run(async () => {
      await this.#read();
      const before = this.#bytes;
      for (const snapshot of this.#kept.values()) {
        if (before - this.#bytes >= bytes) break;
        await this.#remove(snapshot);
      }
      return before - this.#bytes;
    });
  }

  async #write(answer: Answer, picture: Uint8Array): Promise<void> {
    const { folder, clock } = this.#o;
    const atMs = clock.nowAtMs();
    const [day = '', time = ''] = new Date(atMs).toISOString().slice(0, -1).split('T');
    const path = join(day, `${time.replaceAll(':', '-')}-${nameOf(answer)}-${answer.id}`);
    const json = Buffer.from(`${JSON.stringify(answer)}\n`, 'utf8');
    const before = this.#byId.get(answer.id);
    try {
      await writeFileAtomic(join(folder, `${path}.jpg`), picture, MODE);
      await writeFileAtomic(join(folder, `${path}.json`), json, MODE);
    } catch (error) {
      await this.#removeFiles(path).catch(() => undefined);
      throw error;
    }
    // The final answer takes the place of the provisional one.
    if (before) await this.#remove(before);
    this.#note({ path, id: answer.id, atMs, bytes: picture.length + json.length });
  }

  #note(snapshot: Snapshot): void {
    this.#kept.set(snapshot.path, snapshot);
    this.#byId.set(snapshot.id, snapshot);
    this.#bytes += snapshot.bytes;
  }

  async #lookAround(): Promise<void> {
    try {
      await this.#read();
      await this.#sweep();
    } finally {
      this.#cancelLook = this.#o.clock.after(LOOK_EVERY_MS, () => {
        void this.#queue.run(() => this.#lookAround()).catch(() => undefined);
      });
    }
  }

  async #sweep(): Promise<void> {
    const { keep, clock } = this.#o;
    const oldestAtMs = clock.nowAtMs() - keep.ageMs;
    for (const snapshot of this.#kept.values()) {
      const isOver = this.#bytes > keep.bytes || this.#kept.size > MAX_SNAPSHOTS;
      const isOld = snapshot.atMs < oldestAtMs && snapshot.atMs >= PLAUSIBLE_AT_MS;
      if (!isOver && !isOld) continue;
      await this.#remove(snapshot);
    }
  }

  async #yield(): Promise<void> {
    let count = Math.ceil(this.#kept.size * YIELD_SHARE);
    for (const snapshot of this.#kept.values()) {
      if (count-- <= 0) return;
      await this.#remove(snapshot);
    }
  }

  async #remove(snapshot: Snapshot): Promise<void> {
    await this.#removeFiles(snapshot.path);
    this.#kept.delete(snapshot.path);
    if (this.#byId.get(snapshot.id) === snapshot) this.#byId.delete(snapshot.id);
    this.#bytes -= snapshot.bytes;
  }

  async #removeFiles(path: string): Promise<void> {
    const whole = join(this.#o.folder, path);
    await Promise.all([rm(`${whole}.jpg`, { force: true }), rm(`${whole}.json`, { force: true })]);
    // It goes with the last of its snapshots.
    await rmdir(join(whole, '..')).catch(() => undefined);
  }

  /** Finds what earlier runs have left. */
  async #read(): Promise<void> {
    if (this.#isRead) return;
    const { folder } = this.#o;
    for (const day of (await namesIn(folder)).filter((name) => DAY.test(name)).sort())
      for (const name of (await namesIn(join(folder, day))).sort()) await this.#readFile(day, name);
    this.#isRead = true;
  }

  async #readFile(day: string, name: string): Promise<void> {
    // What a crash has left of a file that was being written.
    if (TORN.test(name)) return rm(join(this.#o.folder, day, name), { force: true });
    const [, hours, minutes, seconds, id = ''] = NAME.exec(name) ?? [];
    const atMs = Date.parse(`${day}T${hours}:${minutes}:${seconds}Z`);
    if (Number.isNaN(atMs)) return;
    const found = await stat(join(this.#o.folder, day, name)).catch(() => undefined);
    if (!found?.isFile()) return;
    const path = join(day, name.replace(/\.\w+$/, ''));
    const known = this.#kept.get(path);
    if (known) {
      known.bytes += found.size;
      this.#bytes += found.size;
    } else this.#note({ path, id, atMs, bytes: found.size });
  }
}

/** @throws as the system says, but for a folder that is not there yet */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return [];
    throw error;
  }
}

/** The best label, as every file system takes it. */
const nameOf = ({ task, output }: Answer): string =>
  (labelsIn(task, output)[0]?.label ?? 'none')
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[^a-z0-9_]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, MAX_LABEL_CHARACTERS) || 'none';
