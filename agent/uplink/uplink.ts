/**
 * The agent's MQTT link: presence, what it has (reported), what the hub wants (desired), requests up, replies down. It never
 * publishes while disconnected; what waits is in the outbox. "Online" means that a broker is connected and a hub says that it is there.
 */

import { decodeEnvelope } from '../../shared/contract/envelope.ts';
import { MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, MAX_REQUEST_BYTES } from '../../shared/contract/limits.ts';
import {
  chunkAck,
  type Desired,
  type DevicePresence,
  desired,
  hubPresence,
  type LinkPurpose,
  type Reported,
  replyHeader,
  type Telemetry,
} from '../../shared/contract/messages.ts';
import type { Result } from '../../shared/contract/result.ts';
import { deviceTopics, HUB_PRESENCE_FILTER, hubTopics, parseTopic } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { LastWill } from '../../shared/mqtt/session.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { within } from '../../shared/runtime/within.ts';
import type { CloudReply, LinkMeter, Outbox, SentNote, Uplink } from '../ports.ts';
import { Sender } from './sender.ts';

/** Broker connection of a device, and what it reports and hears over it. */
export interface UplinkOptions {
  readonly deviceId: string;
  readonly agentVersion: string;
  /** What this run of the agent calls itself: two of one device are two programs. */
  readonly instance: string;
  /** Connects with this last will as soon as the device has a credential; rejects when there will never be one. */
  readonly connect: (will: LastWill, signal: AbortSignal) => Promise<MqttConnection>;
  readonly outbox: Outbox;
  readonly reported: () => Reported;
  readonly telemetry: () => Telemetry;
  /** How often it is told now; asked after each time. Once a minute, when left out. */
  readonly telemetryEveryMs?: () => number;
  readonly onDesired: (wanted: Desired) => void;
  /** Whether the hub may keep and show this pipeline's inputs; none, when left out. */
  readonly sharesInput?: (pipeline: string) => boolean;
  /** Whether something is taken out of this pipeline's texts before they leave; of none, when left out. */
  readonly redacts?: (pipeline: string) => boolean;
  /** Hears of what leaves. */
  readonly noteSent?: (note: Omit<SentNote, 'to'>) => void;
  readonly meter: LinkMeter;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** How long a goodbye may take through a broker that has fallen silent. */
const GOODBYE_MS = 1_000;
const TELEMETRY_EVERY_MS = 60_000;
/** What happens at once is told together. */
const NEWS_AFTER_MS = 1_000;

/** Agent’s side of the MQTT link, with the sender of its requests. */
export class MqttUplink implements Uplink, Part {
  readonly #o: UplinkOptions;
  readonly #topics: ReturnType<typeof deviceTopics>;
  /** What their present runs call themselves, by hub id. */
  readonly #hubs = new Map<string, string | undefined>();
  readonly #sender: Sender;
  #connection: MqttConnection | undefined;
  readonly #stopping = new AbortController();
  #opening: Promise<void> | undefined;
  #online = false;
  /** Ends the wait for the next telling of the counters. */
  #wake: () => void = () => undefined;
  #isNews = false;
  #takeReply: (id: string, reply: CloudReply, roundTripMs: number) => void = () => undefined;
  readonly #takeChange: ((online: boolean) => void)[] = [];

  constructor(options: UplinkOptions) {
    this.#o = options;
    this.#topics = deviceTopics(options.deviceId);
    const { outbox, meter, clock, logger, metrics, sharesInput, redacts } = options;
    this.#sender = new Sender({
      outbox,
      meter,
      clock,
      logger,
      metrics,
      ...(sharesInput && { sharesInput }),
      ...(redacts && { redacts }),
      onSent: ({ id, pipeline, reason }, bytes) =>
        this.#o.noteSent?.({ what: 'input', id, pipeline, bytes, topic: this.#topics.infer, why: reason }),
      maxMessageBytes: () => this.#maxMessageBytes(),
      publish: (frame) => this.#publish(this.#topics.infer, frame, false),
      publishChunk: (hubId, frame) => this.#publish(hubTopics(hubId).chunk(options.deviceId), frame, false),
    });
  }

  get online(): boolean {
    return this.#online;
  }

  /** The device has a credential, so that the link may come up soon. */
  get isOpening(): boolean {
    return this.#connection !== undefined;
  }

  /** Of the transport since the start; undefined before the first connection. */
  get wireBytes(): { readonly up: number; readonly down: number } | undefined {
    return this.#connection?.wireBytes;
  }

  get maxRequestBytes(): number {
    return MAX_REQUEST_BYTES;
  }

  enqueue(id: string): void {
    this.#sender.enqueue(id);
  }

  hurry(id: string): void {
    this.#sender.hurry(id);
  }

  onReply(take: (id: string, reply: CloudReply, roundTripMs: number) => void): void {
    this.#takeReply = take;
  }

  onChange(take: (online: boolean) => void): void {
    this.#takeChange.push(take);
  }

  /** Returns at once: a device without a link works. */
  start(): void {
    this.#opening = this.#open().catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) this.#o.logger.failure('uplink.not_opened', error);
    });
    this.#keepTelling().catch((error: unknown) => this.#o.logger.failure('uplink.telemetry_failed', error));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await this.#opening;
    this.#sender.stop();
    if (this.#connection?.connected) {
      const said = this.#tellPresence(false).catch(() => undefined);
      await within(this.#o.clock, GOODBYE_MS, said);
    }
    await this.#connection?.end();
    this.#connection = undefined;
  }

  /** Passes a Result on to the hub, if it is there: these may be missed. */
  share(result: Result): void {
    if (!this.#online) return;
    const payload = JSON.stringify(result);
    const { id, pipeline } = result;
    this.#pass(this.#topics.results, 'results', payload, pipeline);
    const bytes = Buffer.byteLength(payload);
    this.#o.noteSent?.({ what: 'result', id, pipeline, bytes, topic: this.#topics.results, why: 'share' });
  }

  /** Says again what this device has, when that has changed. */
  announce(): void {
    if (!this.#connection?.connected) return;
    this.#tellReported().catch((error: unknown) => this.#o.logger.failure('uplink.not_told', error));
  }

  async #open(): Promise<void> {
    const will = { topic: this.#topics.presence, payload: this.#presence(false), retain: true };
    const connection = await this.#o.connect(will, this.#stopping.signal);
    this.#connection = connection;
    connection.onMessage((topic, payload) => this.#onMessage(topic, payload));
    connection.onDisconnect((reason) => {
      this.#o.logger.info('uplink.disconnected', { reason });
      this.#hubs.clear();
      this.#update();
    });
    connection.onConnect(() => this.#onConnect());
    const { reply, chunk, desired: wanted } = this.#topics;
    await connection.subscribe([reply, chunk, wanted, HUB_PRESENCE_FILTER]);
  }

  #onConnect(): void {
    this.#o.logger.info('uplink.connected');
    this.#tellPresence(true).catch((error: unknown) => this.#o.logger.failure('uplink.not_told', error));
    this.announce();
    this.#update();
  }

  #onMessage(topic: string, payload: Uint8Array): void {
    const parsed = parseTopic(topic);
    if (parsed?.kind === 'hub' && parsed.channel === 'presence') this.#onHubPresence(parsed.hubId, payload);
    else if (topic === this.#topics.reply) this.#read(() => this.#onReplyFrame(payload));
    else if (topic === this.#topics.chunk) this.#read(() => this.#onChunkAck(payload));
    else if (topic === this.#topics.desired) this.#onDesired(payload);
  }

  #onHubPresence(hubId: string, payload: Uint8Array): void {
    this.#o.meter.count(null, 'presence', 'down', payload.length);
    const presence = hubPresence.safeParse(tryParseJson(payload));
    if (presence.success && presence.data.online) this.#hubs.set(hubId, presence.data.instance);
    else this.#hubs.delete(hubId);
    this.#update();
  }

  #onDesired(payload: Uint8Array): void {
    this.#o.meter.count(null, 'update', 'down', payload.length);
    const wanted = desired.safeParse(tryParseJson(payload));
    if (wanted.success) this.#o.onDesired(wanted.data);
    else if (payload.length > 0) this.#o.logger.warn('uplink.bad_desired', { bytes: payload.length });
  }

  /** What it does not understand is asked again; a hub that keeps answering nonsense shows in the log. */
  #read(take: () => void): void {
    try {
      take();
    } catch (error) {
      this.#o.logger.failure('uplink.bad_reply', error);
    }
  }

  #onChunkAck(frame: Uint8Array): void {
    const { header } = decodeEnvelope(frame, chunkAck);
    this.#countReply(header.id, frame);
    this.#sender.acknowledged(header);
  }

  #onReplyFrame(frame: Uint8Array): void {
    const { metrics, logger } = this.#o;
    const { header, body } = decodeEnvelope(frame, replyHeader);
    this.#countReply(header.id, frame);
    if (!header.ok && ERRORS[header.error.code].retry === 'backoff') {
      logger.info('uplink.later', { requestId: header.id, code: header.error.code });
      this.#sender.postpone(header.id, header.error.retryAfterMs);
      return;
    }
    const reply: CloudReply = header.ok
      ? { ok: true, output: parseOutput(body), model: header.model, timingsMs: header.timingsMs }
      : { ok: false, error: header.error };
    const roundTripMs = this.#sender.replied(header.id);
    if (roundTripMs !== undefined)
      metrics.observeSeconds('outrider_round_trip_seconds', {}, roundTripMs / 1000);
    this.#takeReply(header.id, reply, roundTripMs ?? 0);
  }

  #countReply(id: string, frame: Uint8Array): void {
    this.#o.meter.count(this.#o.outbox.find(id)?.pipeline ?? null, 'reply', 'down', frame.length);
  }

  #update(): void {
    const isUp = this.#connection?.connected === true;
    this.#sender.setHubs(isUp ? this.#hubs : new Map());
    const online = isUp && this.#hubs.size > 0;
    if (online === this.#online) return;
    this.#online = online;
    this.#o.logger.info(online ? 'uplink.online' : 'uplink.offline');
    if (online) this.#tellCounters();
    for (const take of this.#takeChange) take(online);
  }

  #presence(online: boolean): string {
    const { agentVersion, clock, instance } = this.#o;
    const presence: DevicePresence = { online, sinceAtMs: clock.nowAtMs(), agentVersion, instance };
    return JSON.stringify(presence);
  }

  #tellPresence(online: boolean): Promise<void> {
    return this.#tell(this.#topics.presence, this.#presence(online));
  }

  #tellReported(): Promise<void> {
    return this.#tell(this.#topics.reported, JSON.stringify(this.#o.reported()));
  }

  /** Retained; the next connect says it again anyway. */
  async #tell(topic: string, payload: string): Promise<void> {
    this.#o.meter.count(null, 'presence', 'up', Buffer.byteLength(payload));
    await this.#publish(topic, payload, true);
    this.#o.noteSent?.({ what: 'report', bytes: Buffer.byteLength(payload), topic });
  }

  /** The hub should not wait a minute for what the counters say now. */
  countersChanged(): void {
    this.#isNews = true;
    this.#wake();
  }

  /** Counters go up when the link comes up, and once a minute; more often while there is something to see. */
  async #keepTelling(): Promise<void> {
    const { signal } = this.#stopping;
    const { clock, telemetryEveryMs = () => TELEMETRY_EVERY_MS } = this.#o;
    while (!signal.aborted) {
      if (!this.#isNews) await this.#untilWoken(telemetryEveryMs());
      if (this.#isNews) await clock.sleep(NEWS_AFTER_MS, signal).catch(() => undefined);
      this.#isNews = false;
      if (this.#online && !signal.aborted) this.#tellCounters();
    }
  }

  #untilWoken(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#o.clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #tellCounters(): void {
    const payload = JSON.stringify(this.#o.telemetry());
    this.#pass(this.#topics.telemetry, 'telemetry', payload, null);
    this.#o.noteSent?.({ what: 'report', bytes: Buffer.byteLength(payload), topic: this.#topics.telemetry });
  }

  #pass(topic: string, purpose: LinkPurpose, payload: string, pipeline: string | null): void {
    this.#o.meter.count(pipeline, purpose, 'up', Buffer.byteLength(payload));
    this.#connection
      ?.publish(topic, payload, { qos: 0 })
      .catch((error: unknown) => this.#o.logger.failure('uplink.not_passed', error, { topic }));
  }

  async #publish(topic: string, payload: string | Uint8Array, retain: boolean): Promise<void> {
    if (!this.#connection) throw new AppError('BROKER_UNREACHABLE');
    await this.#connection.publish(topic, payload, { qos: 1, retain });
  }

  /** The input that fits one message, header and all. */
  #maxMessageBytes(): number {
    const brokerBytes = this.#connection?.maxPacketBytes ?? Number.POSITIVE_INFINITY;
    return Math.max(1_024, Math.min(MAX_PAYLOAD_BYTES, brokerBytes - MAX_HEADER_BYTES - 1_024));
  }
}

function parseOutput(body: Uint8Array): unknown {
  const output = tryParseJson(body);
  if (output === undefined) throw new AppError('MESSAGE_MALFORMED', 'the reply’s body is not JSON');
  return output;
}
