/**
 * Events of the hub, streamed to whoever watches (server-sent events). Everything is bounded: how many watch, how much is kept
 * for who comes back, how much waits for a slow one, who is then cut off and comes back by itself.
 */
import type { HubEvent } from '../../shared/contract/admin.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { EventSink, EventStream } from '../ports.ts';

const MAX_READERS = 100;
/** Of the ring: what a page misses while it reconnects. */
const MAX_KEPT = 1_000;
const MAX_KEPT_BYTES = 512 * 1024;
const MAX_REFUSALS = 20;
/** Of one reader's queue: all that is kept, and as much again. */
const MAX_WAITING_BYTES = 2 * MAX_KEPT_BYTES;
/** Below the idle time-outs of usual proxies. */
const HEARTBEAT_MS = 15_000;

const HEARTBEAT = Buffer.from(': still here\n\n');
/** Sent when Last-Event-ID is no longer kept: read the lists again. */
const LOST = Buffer.from('event: lost\ndata: {}\n\n');

interface Kept {
  readonly id: string;
  readonly frame: Uint8Array;
}

interface Reader {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  readonly isStillAllowed: () => boolean;
  readonly cutOff: () => void;
}

/** The ring of events, and who reads it. */
export class EventFeed implements EventSink, EventStream, Part {
  readonly #clock: Clock;
  /** Ids of another start of the hub are not ours. */
  readonly #start = newId().slice(-12);
  #count = 0;
  #kept: Kept[] = [];
  #keptBytes = 0;
  /** Of versions: the lists do not have them, so that whoever comes later is told of them too. */
  #refusals: Uint8Array[] = [];
  readonly #readers = new Set<Reader>();
  #cancelHeartbeat: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many watch now. */
  get readers(): number {
    return this.#readers.size;
  }

  start(): void {
    this.#cancelHeartbeat = this.#clock.after(HEARTBEAT_MS, () => this.#beat());
  }

  stop(): void {
    this.#cancelHeartbeat?.();
    for (const { controller } of this.#readers) controller.close();
    this.#readers.clear();
  }

  publish(event: HubEvent): void {
    const id = `${this.#start}-${++this.#count}`;
    const frame = Buffer.from(`id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    this.#keep({ id, frame });
    if (event.type === 'version-refused') this.#refusals = [...this.#refusals, frame].slice(-MAX_REFUSALS);
    for (const reader of this.#readers) this.#send(reader, frame);
  }

  open(options: {
    readonly lastEventId: string | undefined;
    readonly isStillAllowed: () => boolean;
    readonly cutOff: () => void;
  }): ReadableStream<Uint8Array> {
    if (this.#readers.size >= MAX_READERS) throw new AppError('QUEUE_FULL', `${MAX_READERS} watch already`);
    let reader: Reader | undefined;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          reader = { controller, isStillAllowed: options.isStillAllowed, cutOff: options.cutOff };
          this.#readers.add(reader);
          // Something at once: the headers go out with it.
          controller.enqueue(HEARTBEAT);
          for (const frame of this.#missedSince(options.lastEventId)) this.#send(reader, frame);
        },
        cancel: () => {
          if (reader) this.#readers.delete(reader);
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: MAX_WAITING_BYTES }),
    );
  }

  #missedSince(lastEventId: string | undefined): Uint8Array[] {
    if (lastEventId === undefined || lastEventId === '') return this.#refusals;
    const at = this.#kept.findIndex(({ id }) => id === lastEventId);
    return at === -1 ? [LOST] : this.#kept.slice(at + 1).map(({ frame }) => frame);
  }

  #keep(one: Kept): void {
    this.#kept.push(one);
    this.#keptBytes += one.frame.length;
    while (this.#kept.length > MAX_KEPT || this.#keptBytes > MAX_KEPT_BYTES)
      this.#keptBytes -= this.#kept.shift()?.frame.length ?? 0;
  }

  #send(reader: Reader, frame: Uint8Array): void {
    if ((reader.controller.desiredSize ?? 0) >= frame.length) reader.controller.enqueue(frame);
    else this.#cutOff(reader, new AppError('QUEUE_FULL', 'this reader is too slow'));
  }

  #cutOff(reader: Reader, why: AppError): void {
    this.#readers.delete(reader);
    reader.controller.error(why);
    // The server hears of that when it has written what came before: of one that does not read, never.
    reader.cutOff();
  }

  #beat(): void {
    for (const reader of this.#readers) {
      if (reader.isStillAllowed()) this.#send(reader, HEARTBEAT);
      else this.#cutOff(reader, new AppError('UNAUTHORIZED', 'the sign-in has ended'));
    }
    this.start();
  }
}
