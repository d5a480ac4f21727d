/**
 * One quota over everything that the agent keeps, and room that stays free for everybody else. Every few seconds the keeper sums up what
 * its parts say of themselves, and asks each file system what is free; over a bound, the oldest of the first kind goes, then of the next
 * (`DISK_KINDS`). What was accepted for the cloud is never given back: when nothing else is left, new requests are refused.
 *
 * state | event                                          -> state
 * room  | over a bound, and what is given back suffices  -> room
 * room  | over a bound, and nothing is left to give      -> full: requests are refused, /readyz says why
 * full  | well within both bounds again                  -> room
 */

import { DISK_KINDS, type DiskKind, type DiskStatus } from '../../shared/contract/disk-status.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { diskPace } from '../../shared/runtime/disk-pace.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { Kept } from '../ports.ts';
import { type Room, roomOf } from './room.ts';

/** Bounds of the disk, and what is on it. */
export interface DiskOptions {
  /** The data folder. */
  readonly folder: string;
  /** Of all that is kept; undefined: no quota. */
  readonly maxBytes: number | undefined;
  /** On each file system; undefined: by its size. */
  readonly keepFreeBytes: number | undefined;
  /** What requests take, now. */
  readonly requestBytes: () => number;
  /** What the rest takes: it is counted seldom. */
  readonly stateBytes: () => Promise<number>;
  readonly roomOf?: (path: string) => Promise<Room>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A disk that fills by 20 MB a second is noticed before the room that is kept free is gone. */
const LOOK_EVERY_MS = 10_000;
/** Versions of models come and go by the hour. */
const COUNT_STATE_EVERY_MS = 600_000;
/** Of a small card a smaller part: 200 MB, or one in twenty. */
const KEEP_FREE = { maxBytes: 200e6, share: 0.05 };
/** What is given back is a little more than what is missing, so that it is not given back byte by byte. */
const SLACK = { ofQuota: 0.05, ofFree: 0.1 };
/** Of the kinds with several parts the oldest goes first: looked at again after so much. */
const STEP_BYTES = 8e6;
/** Where not even this has room, the disk counts as full. */
const USUAL_REQUEST_BYTES = 64 * 1024;
/** A full disk is not looked at for each request that it refuses. */
const LOOK_AGAIN_MS = 1_000;
/** What is given back on and on is told so often. */
const TELL_EVERY_MS = 600_000;

/** Keeper of the disk: what all parts keep, within one quota. */
export class DiskKeeper implements Part {
  readonly #o: DiskOptions;
  readonly #kept: Kept[] = [];
  readonly #bytes = new Map<DiskKind, number>();
  readonly #givenBack = new Map<DiskKind, number>();
  #room: Room = { id: '', freeBytes: Number.POSITIVE_INFINITY, totalBytes: 0 };
  #countedMonoMs = Number.NEGATIVE_INFINITY;
  /** What requests took when the room was last looked at. */
  #requestBytesThen = 0;
  #looking: Promise<void> | undefined;
  #cancel = (): void => undefined;
  #isStopping = false;
  #lookedMonoMs: number | undefined;
  /** By kind, what was told. */
  readonly #told = new Map<string, number>();
  #full: string | null = null;

  constructor(options: DiskOptions) {
    this.#o = options;
  }

  /** From now on it is in the quota. */
  add(kept: Kept): void {
    this.#kept.push(kept);
  }

  /** Where what is in the quota lies; of files that are turned over, the one before too. */
  get paths(): string[] {
    return this.#kept.flatMap(({ path }) => [path, `${path}.1`]);
  }

  /** Nobody waits for it: what lies on a large card takes a while to count. */
  start(): void {
    void this.look().then(() => this.#next());
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancel();
    await this.#looking;
  }

  /** Why nothing more is accepted; undefined: it is. */
  get problem(): AppError | undefined {
    return this.#full === null ? undefined : new AppError('DISK_FULL', this.#full);
  }

  /**
   * Makes room for a request where there is none.
   *
   * @returns undefined where there is, so that nobody has to wait
   */
  roomFor(bytes: number): Promise<void> | undefined {
    if (this.#lookedMonoMs === undefined || (this.#full === null && this.#fits(bytes))) return undefined;
    return this.#makeRoomFor(bytes);
  }

  /** Looks now; who comes meanwhile gets the same. Never rejects. */
  look(wantedBytes = 0): Promise<void> {
    this.#looking ??= this.#look(Math.max(USUAL_REQUEST_BYTES, wantedBytes))
      .catch((error: unknown) => {
        if (this.#isToTell(this.#o.folder)) this.#o.logger.failure('disk.not_looked_at', error);
      })
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  status(): DiskStatus {
    return {
      maxBytes: this.#o.maxBytes ?? null,
      keepFreeBytes: this.#keepFreeOf(this.#room),
      freeBytes: Number.isFinite(this.#room.freeBytes) ? this.#room.freeBytes : 0,
      usedBytes: this.#usedBytes,
      isFull: this.#full !== null,
      reason: this.#full,
      slowestSyncMs: Math.round(diskPace.slowestMs),
      kinds: DISK_KINDS.map((kind) => ({
        kind,
        bytes: this.#bytesOf(kind),
        givenBackBytes: this.#givenBack.get(kind) ?? 0,
      })),
    };
  }

  /** @throws DISK_FULL */
  async #makeRoomFor(bytes: number): Promise<void> {
    await this.#looking;
    const sinceMs = this.#o.clock.nowMonoMs() - (this.#lookedMonoMs ?? 0);
    if (this.#full === null ? !this.#fits(bytes) : sinceMs >= LOOK_AGAIN_MS) await this.look(bytes);
    if (this.problem) throw this.problem;
    if (!this.#fits(bytes)) throw new AppError('DISK_FULL', this.#shortOf(bytes) ?? undefined);
  }

  #fits(bytes: number): boolean {
    return this.#shortOf(bytes) === null;
  }

  /** Which bound so many bytes more would break. */
  #shortOf(bytes: number): string | null {
    const { maxBytes, folder } = this.#o;
    const used = this.#usedBytes;
    if (maxBytes !== undefined && used + bytes > maxBytes)
      return `the agent keeps ${used} bytes, its quota is ${maxBytes} (disk.maxBytes)`;
    const since = Math.max(0, this.#bytesOf('requests') - this.#requestBytesThen);
    const free = this.#room.freeBytes - since;
    const keepFree = this.#keepFreeOf(this.#room);
    if (free - bytes < keepFree)
      return `the disk of ${folder} has ${Math.max(0, free)} bytes free, ${keepFree} are to stay (disk.keepFree)`;
    return null;
  }

  get #usedBytes(): number {
    return DISK_KINDS.reduce((sum, kind) => sum + this.#bytesOf(kind), 0);
  }

  #bytesOf(kind: DiskKind): number {
    return kind === 'requests' ? this.#o.requestBytes() : (this.#bytes.get(kind) ?? 0);
  }

  /** @param room nobody can keep more free than there is */
  #keepFreeOf({ totalBytes }: Room): number {
    const byItself = Math.min(KEEP_FREE.maxBytes, totalBytes * KEEP_FREE.share);
    return Math.round(Math.min(totalBytes, this.#o.keepFreeBytes ?? byItself));
  }

  #next(): void {
    if (this.#isStopping) return;
    this.#cancel = this.#o.clock.after(LOOK_EVERY_MS, () => void this.look().then(() => this.#next()));
  }

  async #look(wantedBytes: number): Promise<void> {
    await this.#sumUp();
    const { maxBytes, folder } = this.#o;
    if (maxBytes !== undefined && this.#usedBytes + wantedBytes > maxBytes)
      await this.#giveBack(this.#usedBytes + wantedBytes - maxBytes * (1 - SLACK.ofQuota), () => true);
    for (const [id, { paths, room }] of await this.#rooms()) {
      const keepFree = this.#keepFreeOf(room);
      const wanted = id === this.#room.id ? wantedBytes : 0;
      if (room.freeBytes - wanted >= keepFree) continue;
      const missing = keepFree * (1 + SLACK.ofFree) + wanted - room.freeBytes;
      await this.#giveBack(missing, ({ path }) => paths.has(path));
    }
    this.#room = await this.#roomOf(folder);
    // What the disk says has them already.
    this.#requestBytesThen = this.#bytesOf('requests');
    this.#lookedMonoMs = this.#o.clock.nowMonoMs();
    this.#judge();
  }

  /** A bound that was broken must be kept by half of the slack before it counts as kept. */
  #judge(): void {
    const { maxBytes = 0, logger } = this.#o;
    const keepFree = this.#keepFreeOf(this.#room);
    const slack = this.#full === null ? 0 : Math.max(maxBytes * SLACK.ofQuota, keepFree * SLACK.ofFree) / 2;
    const short = this.#shortOf(Math.max(USUAL_REQUEST_BYTES, slack));
    if (short === null && this.#full !== null)
      logger.info('disk.has_room', { freeBytes: this.#room.freeBytes });
    if (short !== null && this.#full === null) logger.warn('disk.full', { reason: short });
    this.#full = short;
  }

  async #sumUp(): Promise<void> {
    const { clock, stateBytes, logger } = this.#o;
    const sums = new Map<DiskKind, number>();
    for (const kept of this.#kept) {
      const { kind, path } = kept;
      try {
        const { bytes } = await kept.look();
        sums.set(kind, (sums.get(kind) ?? 0) + bytes);
      } catch (error) {
        if (this.#isToTell(path)) logger.failure('disk.not_counted', error, { kind, path });
      }
    }
    for (const kind of DISK_KINDS) if (kind !== 'state') this.#bytes.set(kind, sums.get(kind) ?? 0);
    if (clock.nowMonoMs() - this.#countedMonoMs < COUNT_STATE_EVERY_MS) return;
    this.#countedMonoMs = clock.nowMonoMs();
    this.#bytes.set('state', await stateBytes());
  }

  #roomOf(path: string): Promise<Room> {
    return (this.#o.roomOf ?? roomOf)(path);
  }

  /** Each file system once, with the parts on it. */
  async #rooms(): Promise<Map<string, { readonly room: Room; readonly paths: Set<string> }>> {
    const rooms = new Map<string, { readonly room: Room; readonly paths: Set<string> }>();
    for (const path of new Set([this.#o.folder, ...this.#kept.map((kept) => kept.path)])) {
      const room = await this.#roomOf(path).catch((error: unknown) => {
        if (this.#isToTell(path)) this.#o.logger.failure('disk.not_looked_at', error, { path });
      });
      if (!room) continue;
      const known = rooms.get(room.id) ?? { room, paths: new Set() };
      rooms.set(room.id, known);
      known.paths.add(path);
      if (path === this.#o.folder) this.#room = room;
    }
    return rooms;
  }

  /** In the order of the kinds, in each the oldest first. */
  async #giveBack(bytes: number, isThere: (kept: Kept) => boolean): Promise<void> {
    let missing = bytes;
    for (const kind of DISK_KINDS) {
      const left = new Set(this.#kept.filter((kept) => kept.kind === kind && isThere(kept)));
      while (missing > 0 && left.size > 0) {
        const oldest = await oldestOf(left);
        if (!oldest) break;
        const freed = await this.#giveBackOf(
          oldest,
          left.size === 1 ? missing : Math.min(missing, STEP_BYTES),
        );
        if (freed === 0) left.delete(oldest);
        missing -= freed;
      }
      if (missing <= 0) return;
    }
  }

  async #giveBackOf(kept: Kept, bytes: number): Promise<number> {
    const { logger, metrics } = this.#o;
    const { kind, path } = kept;
    try {
      const freed = await kept.giveBack(bytes);
      if (freed === 0) return 0;
      this.#bytes.set(kind, Math.max(0, this.#bytesOf(kind) - freed));
      this.#givenBack.set(kind, (this.#givenBack.get(kind) ?? 0) + freed);
      metrics.count('outrider_disk_given_back_bytes_total', { kind }, freed);
      if (this.#isToTell(kind)) logger.warn('disk.given_back', { kind, path, bytes: freed });
      return freed;
    } catch (error) {
      if (this.#isToTell(path)) logger.failure('disk.not_given_back', error, { kind, path });
      return 0;
    }
  }

  #isToTell(what: string): boolean {
    const nowMonoMs = this.#o.clock.nowMonoMs();
    if (nowMonoMs - (this.#told.get(what) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return false;
    this.#told.set(what, nowMonoMs);
    return true;
  }
}

async function oldestOf(all: Iterable<Kept>): Promise<Kept | undefined> {
  let oldest: Kept | undefined;
  let oldestAtMs = Number.POSITIVE_INFINITY;
  for (const kept of all) {
    const found = await kept.look().catch(() => undefined);
    const atMs = found?.oldestAtMs ?? Number.POSITIVE_INFINITY;
    if (atMs >= oldestAtMs) continue;
    oldest = kept;
    oldestAtMs = atMs;
  }
  return oldest;
}
