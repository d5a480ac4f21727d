/**
 * Sends what the outbox holds: many small requests in flight and one large one in chunks, each again when it must be. It holds
 * ids only, reads an entry when its turn comes, and never has anything in flight while no hub is there.
 *
 * request    | event                       -> state
 * queued     | hub there and room          -> in flight
 * in flight  | final reply                 -> done
 * in flight  | reply "try again later"     -> waiting -> queued (its pipeline's breaker counts)
 * queued     | reply "try again later"     -> waiting -> queued
 * in flight  | no reply for a while        -> queued (counted as republished); a large one asks where to go on
 * in flight  | link or a hub lost          -> queued; a large one waits for its hub, and starts again when that is gone
 */
import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import type { ChunkAck, RequestHeader } from '../../shared/contract/messages.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { LinkMeter, OpenEntry, Outbox, OutboxRequest } from '../ports.ts';
import { Breaker } from './breaker.ts';
import { withEdgeAnswer } from './edge-answer.ts';
import { Lanes } from './lanes.ts';
import { Transfer } from './transfer.ts';

/** Enough to fill the hub's batches, few enough that a slow hub is not flooded. */
const WINDOW = 32;
/** A reply that has not come by then (or twice the deadline) is asked for again. */
const SILENCE_MS = 30_000;
const SILENCE_MAX_MS = 10 * 60_000;
/** A large request whose hub does not come back with the link starts again after this. */
const HUB_GRACE_MS = 2_000;
/** So often a silent hub is asked where to go on before the request starts again. */
const MAX_RESUMES = 3;
const LATER = { firstMs: 500, maxMs: 60_000 };
/** The day's bytes are used up: look again after this. */
const HELD_BACK_MS = 30_000;
/** Before anything is known of the link. */
const FIRST_WINDOW = 2;
const nothing = (): void => undefined;

/** The hubs that are there, each with what its present run calls itself. */
export type Hubs = ReadonlyMap<string, string | undefined>;

/** Outbox to send from, and the ways to the hub for small and for large requests. */
export interface SenderOptions {
  readonly outbox: Pick<Outbox, 'read' | 'find'>;
  /** To whichever hub takes it. */
  readonly publish: (frame: Uint8Array) => Promise<void>;
  /** To the hub that has the first chunk. */
  readonly publishChunk: (hubId: string, frame: Uint8Array) => Promise<void>;
  /** Largest input that goes in one message; it also bounds a chunk. */
  readonly maxMessageBytes: () => number;
  /** Whether the hub may keep and show this pipeline's inputs; none, when left out. */
  readonly sharesInput?: (pipeline: string) => boolean;
  /** Whether something is taken out of this pipeline's texts before they leave; of none, when left out. */
  readonly redacts?: (pipeline: string) => boolean;
  /** A request goes, or begins to go where it is large; each time. */
  readonly onSent?: (request: OutboxRequest, bytes: number) => void;
  readonly meter: Pick<LinkMeter, 'count' | 'mayTransmit'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random?: () => number;
}

interface Flight {
  readonly entry: OpenEntry;
  sentMonoMs: number;
  cancelTimer: () => void;
  /** Milliseconds without a word from the hub after which it is asked again. */
  silenceMs: number;
  transfer: Transfer | undefined;
  /** Which run of its hub has the first chunks. */
  hubRun: string | undefined;
  resumes: number;
}

/** Sender of waiting requests: what may go now, what is in flight, and what must go again. */
export class Sender {
  readonly #o: SenderOptions;
  readonly #small = new Lanes();
  readonly #large = new Lanes();
  readonly #flights = new Map<string, Flight>();
  readonly #attempts = new Map<string, number>();
  readonly #waiting = new Map<string, () => void>();
  readonly #breakers = new Map<string, Breaker>();
  #hubs: Hubs = new Map();
  /** Chunks under way, as the last large request found it good. */
  #window = FIRST_WINDOW;
  #cancelHeldBack = nothing;
  #cancelGrace = nothing;

  constructor(options: SenderOptions) {
    this.#o = options;
  }

  enqueue(id: string): void {
    const entry = this.#o.outbox.find(id);
    if (!entry || this.#flights.has(id) || this.#waiting.has(id)) return;
    if (this.#small.has(entry) || this.#large.has(entry)) return;
    (this.#isLarge(entry) ? this.#large : this.#small).add(entry);
    this.#pump();
  }

  /** Hubs have come or gone: what one that is gone, or has forgotten, may have had is asked again. */
  setHubs(next: Hubs): void {
    const before = this.#hubs;
    this.#hubs = new Map(next);
    const isSame =
      next.size === before.size && [...next].every(([id, run]) => before.has(id) && before.get(id) === run);
    if (isSame) return;
    const back = [...this.#flights.values()].filter(({ transfer }) => transfer?.hubId === undefined);
    this.#requeue(back);
    for (const flight of this.#flights.values()) this.#followHub(flight, before);
    this.#pump();
  }

  /** @returns milliseconds since the request was last published, or undefined when nothing was asked */
  replied(id: string): number | undefined {
    const flight = this.#land(id);
    this.#forget(id);
    if (flight) this.#breakerOf(flight.entry.pipeline).succeeded();
    this.#pump();
    return flight && this.#o.clock.nowMonoMs() - flight.sentMonoMs;
  }

  /** A hub has taken chunks of a large request. */
  acknowledged(ack: ChunkAck): void {
    const flight = this.#flights.get(ack.id);
    if (!flight?.transfer) return;
    flight.resumes = 0;
    flight.hubRun ??= this.#hubs.get(ack.hubId);
    this.#armSilence(flight);
    // Unknown there, or broken on the way: from the beginning, but not at once for ever.
    if (flight.transfer.onAck(ack) === 'over') this.#tryLater(ack.id, undefined);
    else if (flight.transfer.isDelivered) {
      this.#window = flight.transfer.window;
      this.#pump();
    }
  }

  /** The hub cannot answer now. One that nobody waits for any more is forgotten. */
  postpone(id: string, retryAfterMs: number | undefined): void {
    const entry = this.#o.outbox.find(id);
    if (!entry) {
      this.replied(id);
      return;
    }
    if (this.#breakerOf(entry.pipeline).failed(retryAfterMs))
      this.#o.logger.warn('uplink.breaker_open', { pipeline: entry.pipeline });
    this.#tryLater(id, retryAfterMs);
  }

  /** It is tried at once, however long it should have waited. */
  hurry(id: string): void {
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
    this.#attempts.delete(id);
    this.enqueue(id);
  }

  stop(): void {
    this.#hubs = new Map();
    for (const id of [...this.#flights.keys()]) this.#land(id);
    for (const cancel of this.#waiting.values()) cancel();
    for (const breaker of this.#breakers.values()) breaker.stop();
    this.#waiting.clear();
    this.#small.clear();
    this.#large.clear();
    this.#cancelHeldBack();
    this.#cancelGrace();
  }

  #pump(): void {
    if (this.#hubs.size === 0 || this.#isHeldBack()) return;
    const isOpen = (pipeline: string): boolean => this.#hasRoom(pipeline);
    while (this.#flights.size < WINDOW) {
      const id = (this.#isTransferring() ? undefined : this.#large.take(isOpen)) ?? this.#small.take(isOpen);
      if (id === undefined) return;
      const entry = this.#o.outbox.find(id);
      if (entry && !entry.answered) this.#depart(entry);
      else this.#forget(id);
    }
  }

  #depart(entry: OpenEntry): void {
    const sentMonoMs = this.#o.clock.nowMonoMs();
    const flight: Flight = {
      entry,
      sentMonoMs,
      cancelTimer: nothing,
      silenceMs: SILENCE_MS,
      transfer: undefined,
      hubRun: undefined,
      resumes: 0,
    };
    this.#flights.set(entry.id, flight);
    this.#send(flight).catch((error: unknown) => this.#failed(flight, error));
  }

  async #send(flight: Flight): Promise<void> {
    const { id } = flight.entry;
    const entry = await this.#o.outbox.read(id);
    const open = this.#o.outbox.find(id);
    // The link was lost while the disk was read: this flight is over.
    if (this.#flights.get(id) !== flight) return;
    if (!entry || !open || entry.reply || open.expiresMs <= 0) {
      this.replied(id);
      return;
    }
    const { request } = entry;
    const header = this.#headerOf(request, open);
    flight.sentMonoMs = this.#o.clock.nowMonoMs();
    flight.silenceMs = Math.max(SILENCE_MS, 2 * request.deadlineMs);
    this.#armSilence(flight);
    if (this.#isLarge(open)) {
      flight.transfer = this.#transferOf(flight, request.input.body);
      this.#o.onSent?.(request, request.input.body.length);
      return flight.transfer.offer(header);
    }
    const frame = encodeEnvelope(header, request.input.body);
    await this.#publish(flight, frame, this.#o.publish);
    this.#o.onSent?.(request, frame.length);
  }

  #headerOf(request: OutboxRequest, open: OpenEntry): RequestHeader {
    const header = toHeader(request, open);
    const { sharesInput, redacts } = this.#o;
    if (sharesInput?.(request.pipeline) !== true) return header;
    return withEdgeAnswer({ ...header, shareInput: true }, request, redacts?.(request.pipeline) === true);
  }

  async #publish(flight: Flight, frame: Buffer, publish: (frame: Buffer) => Promise<void>): Promise<void> {
    // Counted as it goes: what is lost on the way has been paid for as well.
    this.#o.meter.count(flight.entry.pipeline, 'request', 'up', frame.length);
    await publish(frame);
  }

  #transferOf(flight: Flight, body: Uint8Array): Transfer {
    return new Transfer({
      id: flight.entry.id,
      body,
      chunkBytes: this.#o.maxMessageBytes(),
      window: this.#window,
      clock: this.#o.clock,
      offer: (frame) => this.#publish(flight, frame, this.#o.publish),
      send: (hubId, frame) => this.#publish(flight, frame, (chunk) => this.#o.publishChunk(hubId, chunk)),
      onFailure: (error) => this.#failed(flight, error),
    });
  }

  /** A large request stays with the hub that has its first chunks, as long as that is the same run of the same hub. */
  #followHub(flight: Flight, before: Hubs): void {
    const hubId = flight.transfer?.hubId;
    if (hubId === undefined || this.#hubs.size === 0) return;
    if (!this.#hubs.has(hubId)) {
      // Presences come one by one after a reconnect: its own may be the next.
      this.#cancelGrace();
      this.#cancelGrace = this.#o.clock.after(HUB_GRACE_MS, () => this.#restartOrphans());
    } else if (this.#hubs.get(hubId) !== flight.hubRun) this.#requeue([flight]);
    else if (!before.has(hubId)) flight.transfer?.resume();
  }

  #restartOrphans(): void {
    if (this.#hubs.size === 0) return;
    const orphans = [...this.#flights.values()].filter(
      ({ transfer }) => transfer?.hubId !== undefined && !this.#hubs.has(transfer.hubId),
    );
    this.#requeue(orphans);
    this.#pump();
  }

  #requeue(flights: readonly Flight[]): void {
    for (const large of [true, false]) {
      const entries = flights.map(({ entry }) => entry).filter((entry) => this.#isLarge(entry) === large);
      for (const { id } of entries) this.#land(id);
      (large ? this.#large : this.#small).putBack(entries);
    }
  }

  #tryLater(id: string, retryAfterMs: number | undefined): void {
    this.#land(id);
    this.#unqueue(id);
    const attempt = this.#attempts.get(id) ?? 0;
    this.#attempts.set(id, attempt + 1);
    const { clock, random } = this.#o;
    const jitterMs = backoffDelayMs(attempt, { ...LATER, ...(random && { random }) });
    this.#waiting.get(id)?.();
    this.#waiting.set(
      id,
      clock.after((retryAfterMs ?? 0) + jitterMs, () => {
        this.#waiting.delete(id);
        this.enqueue(id);
      }),
    );
    this.#pump();
  }

  #armSilence(flight: Flight): void {
    const { id } = flight.entry;
    flight.cancelTimer();
    const attempts = this.#attempts.get(id) ?? 0;
    const ms = Math.min(SILENCE_MAX_MS, flight.silenceMs * 2 ** attempts);
    flight.cancelTimer = this.#o.clock.after(ms, () => this.#silent(flight));
  }

  #silent(flight: Flight): void {
    const { id, pipeline } = flight.entry;
    this.#o.logger.warn('uplink.no_reply', { requestId: id });
    if (flight.transfer?.hubId !== undefined && flight.resumes < MAX_RESUMES) {
      flight.resumes++;
      this.#armSilence(flight);
      flight.transfer.resume();
      return;
    }
    this.#attempts.set(id, (this.#attempts.get(id) ?? 0) + 1);
    this.#o.metrics.count('outrider_uplink_republished_total');
    if (this.#breakerOf(pipeline).failed()) this.#o.logger.warn('uplink.breaker_open', { pipeline });
    this.#land(id);
    this.enqueue(id);
  }

  #failed(flight: Flight, error: unknown): void {
    const { id } = flight.entry;
    // It has been answered or published again since, or waits for its hub: that counts.
    if (this.#flights.get(id) !== flight || (flight.transfer?.hubId !== undefined && this.#hubs.size === 0))
      return;
    this.#o.logger.failure('uplink.not_sent', error, { requestId: id });
    if (this.#o.outbox.find(id)) this.#tryLater(id, undefined);
    else this.replied(id);
  }

  #land(id: string): Flight | undefined {
    const flight = this.#flights.get(id);
    flight?.cancelTimer();
    this.#flights.delete(id);
    return flight;
  }

  #unqueue(id: string): void {
    this.#small.remove(id);
    this.#large.remove(id);
  }

  #forget(id: string): void {
    this.#unqueue(id);
    this.#attempts.delete(id);
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }

  #hasRoom(pipeline: string): boolean {
    const room = this.#breakerOf(pipeline).room;
    if (room === Number.POSITIVE_INFINITY || room === 0) return room > 0;
    let inFlight = 0;
    for (const { entry } of this.#flights.values()) if (entry.pipeline === pipeline) inFlight++;
    return inFlight < room;
  }

  #isTransferring(): boolean {
    for (const { entry, transfer } of this.#flights.values())
      if (this.#isLarge(entry) && transfer?.isDelivered !== true) return true;
    return false;
  }

  /** The day's bytes are used up: what was accepted waits for the next day, or its expiry. */
  #isHeldBack(): boolean {
    if (this.#o.meter.mayTransmit()) return false;
    this.#cancelHeldBack();
    this.#cancelHeldBack = this.#o.clock.after(HELD_BACK_MS, () => this.#pump());
    return true;
  }

  #isLarge({ bodyBytes }: OpenEntry): boolean {
    return bodyBytes > this.#o.maxMessageBytes();
  }

  #breakerOf(pipeline: string): Breaker {
    const known = this.#breakers.get(pipeline);
    if (known) return known;
    const { clock, random } = this.#o;
    const breaker = new Breaker({ clock, random, onHalfOpen: () => this.#pump() });
    this.#breakers.set(pipeline, breaker);
    return breaker;
  }
}

function toHeader(request: OutboxRequest, { ageMs, expiresMs }: OpenEntry): RequestHeader {
  const { id, pipeline, model, task, input, deadlineMs } = request;
  return {
    id,
    pipeline,
    model,
    task,
    contentType: input.contentType,
    ...(input.parameters && { parameters: { ...input.parameters } }),
    deadlineMs: deadlineMs - ageMs,
    expiresMs,
    ...(request.priority === 'background' && { background: true }),
  };
}
