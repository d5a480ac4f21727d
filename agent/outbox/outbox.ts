/**
 * The durable waiting room for cloud requests. What `put` has accepted is on disk; the reply is recorded before the entry can go.
 * In memory stands only what finds an entry again; inputs stay in the log.
 *
 * entry    | event             -> state
 * (none)   | put               -> waiting
 * waiting  | noteShown         -> waiting (its provisional Result is not given again)
 * waiting  | answer            -> answered (a second answer is ignored)
 * waiting  | close, bury       -> (none)
 * answered | close, bury       -> (none)
 *
 * `bury` leaves the request among the dead letters.
 */
import { join } from 'node:path';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorBody, isAppError, systemCode } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type {
  CloudReply,
  DeadLetter,
  DeadLetterNote,
  Kept,
  OpenEntry,
  Outbox,
  OutboxAsk,
  OutboxDepth,
  OutboxEntry,
  OutboxRequest,
} from '../ports.ts';
import { DEFAULT_DEAD_LETTER_LIMITS, type DeadLetterLimits, DeadLetters } from './dead-letters.ts';
import { Entries, type Held, heldOf, toOpenEntry } from './entries.ts';
import { FreshRequests } from './fresh.ts';
import { encodeRecord, type Frame, type LogRecord, type PutRecord } from './record.ts';
import { type Position, SegmentLog } from './segment-log.ts';

/** Caps on what may wait for the cloud; at either of them new requests are refused. */
export interface OutboxLimits {
  readonly maxEntries: number;
  /** Bytes of open entries. */
  readonly maxBytes: number;
  readonly segmentBytes: number;
  readonly deadLetters?: DeadLetterLimits;
}

/**
 * What has ended leaves the disk by a new segment: two syncs of the folder, which are not spent more often than this, and for a segment
 * that still holds open entries only where it is worth it.
 */
const ROLL_EVERY_MS = 10_000;
const WORTH_ROLLING_BYTES = 64 * 1024;
/** The log may be so many times what is open before that is copied for the room of the rest. */
const MOSTLY_DEAD = 4;
/** 8 MiB: small enough to be given back soon, large enough that few files exist. */
const SEGMENT_BYTES = 8 * 1024 * 1024;
/** Caps on the outbox where the configuration names none. */
export const DEFAULT_LIMITS: OutboxLimits = {
  maxEntries: 100_000,
  maxBytes: 1024 ** 3,
  segmentBytes: SEGMENT_BYTES,
  deadLetters: DEFAULT_DEAD_LETTER_LIMITS,
};

/** The agent's running time, which no clock jump and no time switched off can move. */
export interface RunningTime {
  nowRunMs(): number;
  /** It was so late at least, whatever was stored of it. */
  atLeast?(runMs: number): void;
}

/** The disk as the outbox asks it for room. */
export interface DiskRoom {
  /** undefined: there is, at once. @throws DISK_FULL */
  roomFor(bytes: number): Promise<void> | undefined;
  /** The disk was full: gives back what it can. */
  look(bytes: number): Promise<void>;
}

/** Folder of the outbox, its caps, and the time by which entries expire. */
export interface OutboxOptions {
  readonly folder: string;
  readonly time: RunningTime;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly limits?: OutboxLimits;
  /** Makes room of what is worth less than a request; left out, the disk is as it is. */
  readonly disk?: DiskRoom;
}

/** Outbox on disk: a request that it has accepted outlives a power cut. */
export class DiskOutbox implements Outbox, Part {
  readonly #log: SegmentLog;
  readonly #dead: DeadLetters;
  readonly #limits: OutboxLimits;
  readonly #time: RunningTime;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #folder: string;
  readonly #disk: DiskRoom | undefined;
  readonly #entries = new Entries();
  readonly #fresh = new FreshRequests();
  #reserved = { entries: 0, bytes: 0 };
  #tidying: Promise<void> | undefined;
  #rolledMonoMs = Number.NEGATIVE_INFINITY;
  #rolling: Promise<void> | undefined;
  #cancelRoll: (() => void) | undefined;
  #isStopping = false;

  constructor({ folder, time, clock, logger, metrics, limits = DEFAULT_LIMITS, disk }: OutboxOptions) {
    this.#limits = limits;
    this.#folder = folder;
    this.#disk = disk;
    this.#time = time;
    this.#clock = clock;
    this.#logger = logger;
    this.#log = new SegmentLog(join(folder, 'log'), { segmentBytes: limits.segmentBytes, logger });
    this.#dead = new DeadLetters({
      folder: join(folder, 'dead'),
      logger,
      metrics,
      ...(limits.deadLetters && { limits: limits.deadLetters }),
    });
  }

  async start(): Promise<void> {
    await this.#log.open((record, position, bodyBytes) => this.#entries.replay(record, position, bodyBytes));
    this.#entries.sort();
    for (const { acceptedRunMs } of this.#entries.all()) this.#time.atLeast?.(acceptedRunMs);
    await this.#dead.open();
    await this.#tidy(0);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const isOwed = this.#cancelRoll !== undefined;
    this.#cancelRoll?.();
    await this.#rolling;
    if (isOwed) await this.#roll();
    await this.#tidying;
    await this.#log.close();
  }

  async put(request: OutboxRequest): Promise<void> {
    const acceptedRunMs = this.#time.nowRunMs();
    const { body } = request.input;
    const frame = encodeRecord(toPutRecord(request, acceptedRunMs), body);
    this.#admit(frame.length);
    this.#reserved.entries++;
    this.#reserved.bytes += frame.length;
    try {
      const position = await this.#append(frame);
      this.#entries.add(heldOf(request, acceptedRunMs, position, body.length));
      this.#fresh.add(request);
    } finally {
      this.#reserved.entries--;
      this.#reserved.bytes -= frame.length;
    }
  }

  /** What is worth less makes room for it. @throws DISK_FULL */
  async #append(frame: Frame): Promise<Position> {
    const making = this.#disk?.roomFor(frame.length);
    if (making) await making;
    try {
      return await this.#log.append(frame, 'request');
    } catch (error) {
      // Somebody else has filled the disk since it was last looked at.
      if (!this.#disk || !isAppError(error, 'DISK_FULL')) throw error;
      await this.#disk.look(frame.length);
      return this.#log.append(frame, 'request');
    }
  }

  async answer(id: string, reply: CloudReply): Promise<boolean> {
    const held = this.#entries.get(id);
    if (!held || held.answer || held.answering) return false;
    held.answering = true;
    this.#fresh.remove(id);
    try {
      const position = await this.#log.append(encodeRecord({ type: 'answer', id, reply }), 'acknowledgement');
      this.#entries.setAnswer(held, position);
    } finally {
      held.answering = false;
    }
    return true;
  }

  async noteShown(id: string): Promise<void> {
    const held = this.#entries.get(id);
    if (!held || held.answer || held.isShown) return;
    held.isShown = true;
    await this.#log.append(encodeRecord({ type: 'shown', id }), 'note');
  }

  async close(id: string): Promise<void> {
    const held = this.#entries.get(id);
    if (!held) return;
    this.#fresh.remove(id);
    await this.#log.append(encodeRecord({ type: 'close', id }), 'acknowledgement');
    this.#entries.remove(held);
    this.#rollSoon();
    await this.#tidy(2 * this.#limits.segmentBytes);
  }

  async bury(id: string, error: ErrorBody): Promise<void> {
    const held = this.#entries.get(id);
    if (!held) return;
    // An entry that cannot be read any more has nothing to keep.
    const letter = await this.#readPut(held).catch(() => undefined);
    if (letter) await this.#dead.put(letter.record, letter.body, error, this.#clock.nowAtMs());
    await this.close(id);
  }

  async read(id: string): Promise<OutboxEntry | undefined> {
    const held = this.#entries.get(id);
    if (!held) return undefined;
    const fresh = this.#fresh.get(id);
    if (fresh) return { request: fresh, reply: undefined };
    return this.#unlessClosed(held, async () => {
      const { record, body } = await this.#readPut(held);
      return { request: toRequest(record, body), reply: await this.#readReply(held) };
    });
  }

  async readAsk(id: string): Promise<OutboxAsk | undefined> {
    const held = this.#entries.get(id);
    if (!held) return undefined;
    const fresh = this.#fresh.get(id);
    if (fresh) return withoutInput(fresh);
    return this.#unlessClosed(held, async () =>
      toAsk(
        asPut(
          await readWhereIs(
            () => held.put,
            (at) => this.#log.readHead(at),
          ),
        ),
      ),
    );
  }

  find(id: string): OpenEntry | undefined {
    const held = this.#entries.get(id);
    return held && toOpenEntry(held, this.#time.nowRunMs());
  }

  *open(): Iterable<OpenEntry> {
    const nowRunMs = this.#time.nowRunMs();
    for (const held of this.#entries.all()) yield toOpenEntry(held, nowRunMs);
  }

  has(id: string): boolean {
    return this.#entries.get(id) !== undefined;
  }

  deadLetters(): readonly string[] {
    return this.#dead.ids();
  }

  async describeDeadLetter(id: string): Promise<DeadLetterNote | undefined> {
    const found = await this.#dead.describe(id);
    if (!found) return undefined;
    const { put, error, atMs } = found.record;
    return { ask: toAsk(put), error, atMs, bodyBytes: found.bytes };
  }

  async readDeadLetter(id: string): Promise<DeadLetter | undefined> {
    const found = await this.#dead.read(id);
    if (!found) return undefined;
    const { put, error, atMs } = found.record;
    return { request: toRequest(put, found.body), error, atMs };
  }

  async dropDeadLetter(id: string): Promise<boolean> {
    if (!this.#dead.has(id)) return false;
    await this.#dead.remove(id);
    return true;
  }

  waiting(pipeline: string): { readonly entries: number; readonly bytes: number } {
    return this.#entries.of(pipeline);
  }

  /** What requests take on the disk, with what of them has not been tidied away yet. */
  get diskBytes(): number {
    return this.#log.bytes;
  }

  /** The dead letters in the quota. */
  get kept(): Kept {
    const dead = this.#dead;
    return {
      kind: 'dead-letters',
      path: join(this.#folder, 'dead'),
      look: async () => ({ bytes: dead.bytes, oldestAtMs: dead.oldestAtMs }),
      giveBack: (bytes) => dead.giveBack(bytes),
    };
  }

  get depth(): OutboxDepth {
    const { size, bytes, oldest } = this.#entries;
    return {
      entries: size,
      bytes,
      oldestAtMs: oldest?.acceptedAtMs ?? null,
      deadLetters: this.#dead.count,
    };
  }

  /** @throws OUTBOX_FULL */
  #admit(frameBytes: number): void {
    const { maxEntries, maxBytes } = this.#limits;
    const { size, bytes } = this.#entries;
    if (size + this.#reserved.entries < maxEntries && bytes + this.#reserved.bytes + frameBytes <= maxBytes)
      return;
    throw new AppError(
      'OUTBOX_FULL',
      `the outbox holds ${size} requests (${bytes} bytes), its cap is ${maxEntries} (${maxBytes} bytes)`,
    );
  }

  async #readPut(held: Held): Promise<{ record: PutRecord; body: Buffer }> {
    const { record, body } = await readWhereIs(
      () => held.put,
      (at) => this.#log.read(at),
    );
    return { record: asPut(record), body };
  }

  async #readReply(held: Held): Promise<CloudReply | undefined> {
    const { answer } = held;
    if (!answer) return undefined;
    const { record } = await readWhereIs(
      () => held.answer ?? answer,
      (at) => this.#log.read(at),
    );
    if (record.type !== 'answer')
      throw new AppError('INVARIANT_BROKEN', `the reply record of ${held.id} is a ${record.type}`);
    return record.reply;
  }

  /** undefined where it was closed while it was read: its segment may be gone then. */
  async #unlessClosed<T>(held: Held, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (this.#entries.get(held.id) !== held) return undefined;
      throw error;
    }
  }

  #rollSoon(): void {
    if (this.#cancelRoll || this.#isStopping) return;
    const delayMs = this.#rolledMonoMs + ROLL_EVERY_MS - this.#clock.nowMonoMs();
    this.#cancelRoll = this.#clock.after(Math.max(0, delayMs), () => {
      this.#cancelRoll = undefined;
      this.#rolling = this.#roll();
    });
  }

  /** What has ended in the open segment leaves the disk with it. */
  async #roll(): Promise<void> {
    this.#rolledMonoMs = this.#clock.nowMonoMs();
    try {
      if (this.#isWorthRolling()) await this.#log.roll();
      while (this.#tidying) await this.#tidying;
      await this.#tidy(0);
    } catch (error) {
      // It stays until the next one ends, or until the segment is full.
      this.#logger.failure('outbox.not_rolled', error);
    }
  }

  #isWorthRolling(): boolean {
    const { activeSegment, activeBytes } = this.#log;
    if (activeBytes === 0) return false;
    return (
      !this.#entries.isNeeded(activeSegment) || activeBytes >= WORTH_ROLLING_BYTES || this.#isMostlyDead(0)
    );
  }

  #isMostlyDead(slackBytes: number): boolean {
    return this.#log.bytes >= MOSTLY_DEAD * this.#entries.bytes + slackBytes;
  }

  /**
   * Gives dead segments back, and moves the last few entries out of an old one that holds up the rest. One at a time.
   *
   * @param slackBytes what may be dead before an entry is moved
   */
  #tidy(slackBytes: number): Promise<void> {
    this.#tidying ??= this.#tidyOnce(slackBytes).finally(() => {
      this.#tidying = undefined;
    });
    return this.#tidying;
  }

  async #tidyOnce(slackBytes: number): Promise<void> {
    for (;;) {
      const oldest = this.#log.oldestSegment;
      if (oldest === this.#log.activeSegment) return;
      if (this.#entries.isNeeded(oldest)) {
        // Worth copying only when most of the log is dead.
        if (!this.#isMostlyDead(slackBytes)) return;
        await this.#moveOut(oldest);
      }
      this.#entries.forgetSegment(oldest);
      await this.#log.drop(oldest);
    }
  }

  async #moveOut(segment: number): Promise<void> {
    const inside = [...this.#entries.all()].filter(
      (held) => held.put.segment === segment || held.answer?.segment === segment,
    );
    for (const held of inside) {
      const { record, body } = await this.#readPut(held);
      const reply = await this.#readReply(held);
      const position = await this.#log.append(encodeRecord(record, body), 'acknowledgement');
      if (!this.has(held.id)) {
        // It was closed meanwhile, before the copy in the log: close the copy too.
        await this.#log.append(encodeRecord({ type: 'close', id: held.id }), 'acknowledgement');
        continue;
      }
      this.#entries.move(held, position);
      if (held.isShown)
        await this.#log.append(encodeRecord({ type: 'shown', id: held.id }), 'acknowledgement');
      if (!reply) continue;
      const answer = encodeRecord({ type: 'answer', id: held.id, reply });
      this.#entries.setAnswer(held, await this.#log.append(answer, 'acknowledgement'));
    }
  }
}

/** Reads what an entry has, and once more where it was moved on, and its old segment given back, between the look and the read. */
async function readWhereIs<T>(place: () => Position, read: (at: Position) => Promise<T>): Promise<T> {
  for (;;) {
    const at = place();
    try {
      return await read(at);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' || place() === at) throw error;
    }
  }
}

function toPutRecord({ input, ...request }: OutboxRequest, acceptedRunMs: number): PutRecord {
  const { contentType, parameters } = input;
  return { type: 'put', ...request, contentType, acceptedRunMs, ...(parameters && { parameters }) };
}

function asPut(record: LogRecord): PutRecord {
  if (record.type === 'put') return record;
  throw new AppError('INVARIANT_BROKEN', `the outbox record of ${record.id} is a ${record.type}`);
}

function toAsk(record: PutRecord): OutboxAsk {
  const {
    type: _type,
    contentType: _contentType,
    parameters: _parameters,
    acceptedRunMs: _runMs,
    ...ask
  } = record;
  return ask;
}

function withoutInput({ input: _input, ...ask }: OutboxRequest): OutboxAsk {
  return ask;
}

function toRequest(record: PutRecord, body: Uint8Array): OutboxRequest {
  const { contentType, parameters } = record;
  return { ...toAsk(record), input: { contentType, body, ...(parameters && { parameters }) } };
}
