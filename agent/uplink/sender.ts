/**
 * Keeps a window of requests under way. A request is out of the window when its reply has come; without one it is published
 * again after a while, when the link comes back, or when a hub appears. Inputs are read from the outbox when they go out.
 *
 * request    | event                        -> state
 * queued     | online and room              -> in flight
 * in flight  | final reply                  -> done
 * in flight  | reply "try again later"      -> waiting -> queued
 * queued     | reply "try again later"      -> waiting -> queued
 * in flight  | no reply for a while         -> queued (counted as republished)
 * in flight  | link or hub lost             -> queued
 */
import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import type { RequestHeader } from '../../shared/contract/messages.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { Outbox } from '../ports.ts';

/** Enough to fill the hub's batches, few enough that a slow hub is not flooded. */
const WINDOW = 32;
/** A reply that has not come by then (or twice the deadline) is asked for again. */
const SILENCE_MS = 30_000;
const SILENCE_MAX_MS = 10 * 60_000;
const LATER = { firstMs: 500, maxMs: 60_000 };

export interface SenderOptions {
  readonly outbox: Pick<Outbox, 'read' | 'has' | 'msUntilExpiry'>;
  readonly publish: (frame: Uint8Array) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random?: () => number;
}

interface Flight {
  sentMonoMs: number;
  cancelTimer: () => void;
}

export class Sender {
  readonly #options: SenderOptions;
  readonly #queue = new Set<string>();
  readonly #flights = new Map<string, Flight>();
  readonly #attempts = new Map<string, number>();
  readonly #waiting = new Map<string, () => void>();
  #online = false;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  enqueue(id: string): void {
    if (this.#flights.has(id) || this.#waiting.has(id)) return;
    this.#queue.add(id);
    this.#pump();
  }

  /** Going offline puts everything in flight back, in front and in order. */
  setOnline(online: boolean): void {
    this.#online = online;
    if (!online) {
      const lost = [...this.#flights.keys()];
      for (const id of lost) this.#land(id);
      const rest = [...this.#queue];
      this.#queue.clear();
      for (const id of [...lost, ...rest]) this.#queue.add(id);
      return;
    }
    this.#pump();
  }

  /** A hub has come up: what another one may have had in its memory is asked again. */
  resend(): void {
    this.setOnline(false);
    this.setOnline(true);
  }

  /** @returns milliseconds since the request was last published, or undefined when nothing was asked */
  replied(id: string): number | undefined {
    const flight = this.#land(id);
    this.#forget(id);
    this.#pump();
    return flight && this.#options.clock.nowMonoMs() - flight.sentMonoMs;
  }

  /** The hub cannot answer now. One that nobody waits for any more is forgotten. */
  postpone(id: string, retryAfterMs: number | undefined): void {
    if (!this.#options.outbox.has(id)) {
      this.replied(id);
      return;
    }
    this.#land(id);
    this.#queue.delete(id);
    const attempt = this.#attempts.get(id) ?? 0;
    this.#attempts.set(id, attempt + 1);
    const { clock, random } = this.#options;
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

  stop(): void {
    this.#online = false;
    for (const id of [...this.#flights.keys()]) this.#land(id);
    for (const cancel of this.#waiting.values()) cancel();
    this.#waiting.clear();
    this.#queue.clear();
  }

  #pump(): void {
    for (const id of this.#queue) {
      if (!this.#online || this.#flights.size >= WINDOW) return;
      this.#queue.delete(id);
      if (!this.#options.outbox.has(id)) {
        this.#forget(id);
        continue;
      }
      const flight: Flight = { sentMonoMs: this.#options.clock.nowMonoMs(), cancelTimer: () => undefined };
      this.#flights.set(id, flight);
      this.#send(id, flight).catch((error: unknown) => this.#failed(id, flight, error));
    }
  }

  async #send(id: string, flight: Flight): Promise<void> {
    const { outbox, publish, clock } = this.#options;
    const entry = await outbox.read(id);
    const leftMs = outbox.msUntilExpiry(id);
    // The link was lost while the disk was read: this flight is over.
    if (this.#flights.get(id) !== flight) return;
    if (!entry || entry.reply || leftMs === undefined || leftMs <= 0) {
      this.replied(id);
      return;
    }
    const { request } = entry;
    const header: RequestHeader = {
      id,
      pipeline: request.pipeline,
      model: request.model,
      task: request.task,
      contentType: request.input.contentType,
      ...(request.input.parameters && { parameters: { ...request.input.parameters } }),
      deadlineMs: request.deadlineMs - (request.expiresMs - leftMs),
      expiresMs: leftMs,
    };
    const frame = encodeEnvelope(header, request.input.body);
    flight.sentMonoMs = clock.nowMonoMs();
    flight.cancelTimer = clock.after(this.#silenceMs(id, request.deadlineMs), () => this.#silent(id));
    await publish(frame);
    this.#options.metrics.count(
      'outrider_uplink_bytes_total',
      { direction: 'up', purpose: 'request' },
      frame.length,
    );
  }

  #silenceMs(id: string, deadlineMs: number): number {
    return Math.min(
      SILENCE_MAX_MS,
      Math.max(SILENCE_MS, 2 * deadlineMs) * 2 ** (this.#attempts.get(id) ?? 0),
    );
  }

  #silent(id: string): void {
    this.#land(id);
    this.#attempts.set(id, (this.#attempts.get(id) ?? 0) + 1);
    this.#options.metrics.count('outrider_uplink_republished_total');
    this.#options.logger.warn('uplink.no_reply', { requestId: id });
    this.enqueue(id);
  }

  #failed(id: string, flight: Flight, error: unknown): void {
    this.#options.logger.failure('uplink.not_sent', error, { requestId: id });
    // It has been answered or published again since: that one counts.
    if (this.#flights.get(id) !== flight) return;
    this.postpone(id, undefined);
  }

  #land(id: string): Flight | undefined {
    const flight = this.#flights.get(id);
    flight?.cancelTimer();
    this.#flights.delete(id);
    return flight;
  }

  #forget(id: string): void {
    this.#queue.delete(id);
    this.#attempts.delete(id);
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }
}
