/**
 * The durable waiting room for cloud requests. What `put` has accepted is on disk; the reply is recorded before the entry can go.
 * In memory stands only what finds an entry again; inputs stay in the log.
 *
 * entry    | event             -> state
 * (none)   | put               -> waiting
 * waiting  | answer            -> answered (a second answer is ignored)
 * waiting  | close (expired)   -> (none)
 * answered | close             -> (none)
 */
import { join } from 'node:path';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { CloudReply, OpenEntry, Outbox, OutboxDepth, OutboxEntry, OutboxRequest } from '../ports.ts';
import { encodeRecord, type LogRecord, type PutRecord } from './record.ts';
import { type Position, SegmentLog } from './segment-log.ts';

export interface OutboxLimits {
  readonly maxEntries: number;
  /** Bytes of open entries. */
  readonly maxBytes: number;
  readonly segmentBytes: number;
}

/** 8 MiB: small enough to be given back soon, large enough that few files exist. */
const SEGMENT_BYTES = 8 * 1024 * 1024;
export const DEFAULT_LIMITS: OutboxLimits = {
  maxEntries: 100_000,
  maxBytes: 1024 ** 3,
  segmentBytes: SEGMENT_BYTES,
};

interface Held {
  readonly id: string;
  readonly pipeline: string;
  readonly deadlineMs: number;
  readonly acceptedAtMs: number;
  /** On the running-time clock. */
  readonly expiresRunMs: number;
  put: Position;
  answer: Position | undefined;
  /** A reply is being written: another one of the same moment is ignored. */
  answering: boolean;
}

/** The agent's running time, which no clock jump and no time switched off can move. */
export interface RunningTime {
  nowRunMs(): number;
}

export class DiskOutbox implements Outbox, Part {
  readonly #log: SegmentLog;
  readonly #limits: OutboxLimits;
  readonly #time: RunningTime;
  readonly #held = new Map<string, Held>();
  /** Records of open entries in each segment. */
  readonly #live = new Map<number, number>();
  #bytes = 0;
  #reserved = { entries: 0, bytes: 0 };
  #tidying: Promise<void> | undefined;

  constructor(options: {
    readonly folder: string;
    readonly time: RunningTime;
    readonly logger: Logger;
    readonly limits?: OutboxLimits;
  }) {
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#time = options.time;
    this.#log = new SegmentLog(join(options.folder, 'log'), {
      segmentBytes: this.#limits.segmentBytes,
      logger: options.logger,
    });
  }

  async start(): Promise<void> {
    await this.#log.open((record, position) => this.#replay(record, position));
    await this.#tidy();
  }

  async stop(): Promise<void> {
    await this.#tidying;
    await this.#log.close();
  }

  async put(request: OutboxRequest): Promise<void> {
    const acceptedRunMs = this.#time.nowRunMs();
    const frame = encodeRecord(toPutRecord(request, acceptedRunMs), request.input.body);
    const { maxEntries, maxBytes } = this.#limits;
    if (
      this.#held.size + this.#reserved.entries >= maxEntries ||
      this.#bytes + this.#reserved.bytes + frame.length > maxBytes
    ) {
      throw new AppError(
        'OUTBOX_FULL',
        `the outbox holds ${this.#held.size} requests (${this.#bytes} bytes), its cap is ${maxEntries} (${maxBytes} bytes)`,
      );
    }
    this.#reserved.entries++;
    this.#reserved.bytes += frame.length;
    try {
      const position = await this.#log.append(frame, false);
      this.#hold(heldOf(request, acceptedRunMs, position));
    } finally {
      this.#reserved.entries--;
      this.#reserved.bytes -= frame.length;
    }
  }

  async answer(id: string, reply: CloudReply): Promise<boolean> {
    const held = this.#held.get(id);
    if (!held || held.answer || held.answering) return false;
    held.answering = true;
    try {
      this.#setAnswer(held, await this.#log.append(encodeRecord({ type: 'answer', id, reply }), true));
    } finally {
      held.answering = false;
    }
    return true;
  }

  async close(id: string): Promise<void> {
    const held = this.#held.get(id);
    if (!held) return;
    await this.#log.append(encodeRecord({ type: 'close', id }), true);
    // Closed twice at once: it goes once.
    if (this.#held.get(id) === held) this.#release(held);
    await this.#tidy();
  }

  async read(id: string): Promise<OutboxEntry | undefined> {
    const held = this.#held.get(id);
    if (!held) return undefined;
    const { record, body } = await this.#log.read(held.put);
    if (record.type !== 'put')
      throw new AppError('INVARIANT_BROKEN', `the outbox record of ${id} is a ${record.type}`);
    return { request: toRequest(record, body), reply: await this.#readReply(held) };
  }

  *open(): Iterable<OpenEntry> {
    for (const { id, pipeline, answer, deadlineMs, acceptedAtMs } of this.#held.values()) {
      yield { id, pipeline, answered: answer !== undefined, deadlineMs, acceptedAtMs };
    }
  }

  has(id: string): boolean {
    return this.#held.has(id);
  }

  msUntilExpiry(id: string): number | undefined {
    const held = this.#held.get(id);
    return held && held.expiresRunMs - this.#time.nowRunMs();
  }

  get depth(): OutboxDepth {
    const oldest = this.#held.values().next().value;
    return { entries: this.#held.size, bytes: this.#bytes, oldestAtMs: oldest?.acceptedAtMs ?? null };
  }

  async #readReply(held: Held): Promise<CloudReply | undefined> {
    if (!held.answer) return undefined;
    const { record } = await this.#log.read(held.answer);
    if (record.type !== 'answer')
      throw new AppError('INVARIANT_BROKEN', `the reply record of ${held.id} is a ${record.type}`);
    return record.reply;
  }

  #replay(record: LogRecord, position: Position): void {
    const held = this.#held.get(record.id);
    switch (record.type) {
      case 'put':
        this.#hold(heldOf(record, record.acceptedRunMs, position));
        // A copy made by compaction: the newer place counts, the reply stays.
        if (held) this.#moved(held);
        break;
      case 'answer':
        if (held) this.#setAnswer(held, position);
        break;
      case 'close':
        if (held) this.#release(held);
    }
  }

  #moved(from: Held): void {
    const to = this.#held.get(from.id);
    this.#count(from, -1);
    if (to && from.answer) this.#setAnswer(to, from.answer);
  }

  #hold(held: Held): void {
    this.#held.set(held.id, held);
    this.#count(held, 1);
  }

  #release(held: Held): void {
    this.#held.delete(held.id);
    this.#count(held, -1);
  }

  #setAnswer(held: Held, position: Position): void {
    // Closed while its reply was written: its segments no longer count it.
    if (this.#held.get(held.id) !== held) return;
    if (held.answer) this.#countSegment(held.answer.segment, -1);
    held.answer = position;
    this.#countSegment(position.segment, 1);
  }

  #count(held: Held, by: 1 | -1): void {
    this.#bytes += by * held.put.length;
    this.#countSegment(held.put.segment, by);
    if (held.answer) this.#countSegment(held.answer.segment, by);
  }

  #countSegment(segment: number, by: 1 | -1): void {
    this.#live.set(segment, (this.#live.get(segment) ?? 0) + by);
  }

  /** Gives dead segments back, and moves the last few entries out of an old one that holds up the rest. One at a time. */
  #tidy(): Promise<void> {
    this.#tidying ??= this.#tidyOnce().finally(() => {
      this.#tidying = undefined;
    });
    return this.#tidying;
  }

  async #tidyOnce(): Promise<void> {
    for (;;) {
      const oldest = this.#log.oldestSegment;
      if (oldest === this.#log.activeSegment) return;
      if ((this.#live.get(oldest) ?? 0) > 0) {
        // Worth copying only when most of the log is dead.
        if (this.#log.bytes < 4 * this.#bytes + 2 * this.#limits.segmentBytes) return;
        await this.#moveOut(oldest);
      }
      this.#live.delete(oldest);
      await this.#log.drop(oldest);
    }
  }

  async #moveOut(segment: number): Promise<void> {
    const inside = [...this.#held.values()].filter(
      (held) => held.put.segment === segment || held.answer?.segment === segment,
    );
    for (const held of inside) {
      const { record, body } = await this.#log.read(held.put);
      const reply = await this.#readReply(held);
      const position = await this.#log.append(encodeRecord(record, body), true);
      if (!this.#held.has(held.id)) {
        // It was closed meanwhile, before the copy in the log: close the copy too.
        await this.#log.append(encodeRecord({ type: 'close', id: held.id }), true);
        continue;
      }
      this.#count(held, -1);
      held.put = position;
      this.#count(held, 1);
      if (reply)
        this.#setAnswer(
          held,
          await this.#log.append(encodeRecord({ type: 'answer', id: held.id, reply }), true),
        );
    }
  }
}

function heldOf(
  request: Pick<OutboxRequest, 'id' | 'pipeline' | 'deadlineMs' | 'acceptedAtMs' | 'expiresMs'>,
  acceptedRunMs: number,
  put: Position,
): Held {
  const { id, pipeline, deadlineMs, acceptedAtMs, expiresMs } = request;
  return {
    id,
    pipeline,
    deadlineMs,
    acceptedAtMs,
    expiresRunMs: acceptedRunMs + expiresMs,
    put,
    answer: undefined,
    answering: false,
  };
}

function toPutRecord({ input, ...request }: OutboxRequest, acceptedRunMs: number): PutRecord {
  const { contentType, parameters } = input;
  return { type: 'put', ...request, contentType, acceptedRunMs, ...(parameters && { parameters }) };
}

function toRequest(record: PutRecord, body: Uint8Array): OutboxRequest {
  const { type: _type, contentType, parameters, acceptedRunMs: _runMs, ...request } = record;
  return { ...request, input: { contentType, body, ...(parameters && { parameters }) } };
}
