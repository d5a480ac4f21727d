/**
 * The agent's MQTT link: presence, what it has (reported), requests up, replies down. It never publishes while disconnected;
 * what waits is in the outbox. "Online" means that a broker is connected and a hub says that it is there.
 */
import { decodeEnvelope } from '../../shared/contract/envelope.ts';
import { MAX_PAYLOAD_BYTES } from '../../shared/contract/limits.ts';
import {
  type DevicePresence,
  hubPresence,
  type Reported,
  replyHeader,
} from '../../shared/contract/messages.ts';
import type { Result } from '../../shared/contract/result.ts';
import { deviceTopics, HUB_PRESENCE_FILTER, parseTopic } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { LastWill } from '../../shared/mqtt/session.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { CloudReply, Outbox, Uplink } from '../ports.ts';
import { Sender } from './sender.ts';

export interface UplinkOptions {
  readonly deviceId: string;
  readonly agentVersion: string;
  /** Connects with this last will as soon as the device has a credential; rejects when there will never be one. */
  readonly connect: (will: LastWill, signal: AbortSignal) => Promise<MqttConnection>;
  readonly outbox: Outbox;
  readonly reported: () => Reported;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** How long a goodbye may take through a broker that has fallen silent. */
const GOODBYE_MS = 1_000;

export class MqttUplink implements Uplink, Part {
  readonly #options: UplinkOptions;
  readonly #topics: ReturnType<typeof deviceTopics>;
  readonly #hubs = new Set<string>();
  readonly #sender: Sender;
  #connection: MqttConnection | undefined;
  readonly #stopping = new AbortController();
  #opening: Promise<void> | undefined;
  #online = false;
  #takeReply: (id: string, reply: CloudReply, roundTripMs: number) => void = () => undefined;
  readonly #takeChange: ((online: boolean) => void)[] = [];

  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#topics = deviceTopics(options.deviceId);
    const { outbox, clock, logger, metrics } = options;
    this.#sender = new Sender({
      outbox,
      clock,
      logger,
      metrics,
      publish: (frame) => this.#publish(this.#topics.infer, frame, false),
    });
  }

  get online(): boolean {
    return this.#online;
  }

  /** The device has a credential, so that the link may come up soon. */
  get isOpening(): boolean {
    return this.#connection !== undefined;
  }

  get maxRequestBytes(): number {
    return Math.min(MAX_PAYLOAD_BYTES, this.#connection?.maxPacketBytes ?? MAX_PAYLOAD_BYTES);
  }

  enqueue(id: string): void {
    this.#sender.enqueue(id);
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
      if (!this.#stopping.signal.aborted) this.#options.logger.failure('uplink.not_opened', error);
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#opening;
    this.#sender.stop();
    if (this.#connection?.connected) {
      const said = this.#publish(this.#topics.presence, this.#presence(false), true).catch(() => undefined);
      await Promise.race([said, this.#options.clock.sleep(GOODBYE_MS)]);
    }
    await this.#connection?.end();
    this.#connection = undefined;
  }

  /** Passes a Result on to the hub, if it is there: these may be missed. */
  share(result: Result): void {
    if (!this.#online) return;
    this.#connection
      ?.publish(this.#topics.results, JSON.stringify(result), { qos: 0 })
      .catch((error: unknown) => this.#options.logger.failure('uplink.not_shared', error));
  }

  /** Says again what this device has, when that has changed. */
  announce(): void {
    if (!this.#connection?.connected) return;
    this.#tell(this.#topics.reported, JSON.stringify(this.#options.reported()));
  }

  async #open(): Promise<void> {
    const will = { topic: this.#topics.presence, payload: this.#presence(false), retain: true };
    const connection = await this.#options.connect(will, this.#stopping.signal);
    this.#connection = connection;
    connection.onMessage((topic, payload) => this.#onMessage(topic, payload));
    connection.onDisconnect((reason) => {
      this.#options.logger.info('uplink.disconnected', { reason });
      this.#hubs.clear();
      this.#update();
    });
    connection.onConnect(() => this.#onConnect());
    await connection.subscribe([this.#topics.reply, HUB_PRESENCE_FILTER]);
  }

  #onConnect(): void {
    this.#options.logger.info('uplink.connected');
    this.#tell(this.#topics.presence, this.#presence(true));
    this.announce();
    this.#update();
  }

  #onMessage(topic: string, payload: Uint8Array): void {
    const parsed = parseTopic(topic);
    if (parsed?.kind === 'hub') this.#onHubPresence(parsed.hubId, payload);
    else if (topic === this.#topics.reply) this.#onReplyFrame(payload);
  }

  #onHubPresence(hubId: string, payload: Uint8Array): void {
    const presence = hubPresence.safeParse(tryParseJson(payload));
    if (presence.success && presence.data.online) {
      const another = this.#online && !this.#hubs.has(hubId);
      this.#hubs.add(hubId);
      this.#update();
      if (another) this.#sender.resend();
    } else {
      this.#hubs.delete(hubId);
      this.#update();
    }
  }

  #onReplyFrame(frame: Uint8Array): void {
    const { metrics, logger } = this.#options;
    metrics.count('outrider_uplink_bytes_total', { direction: 'down', purpose: 'reply' }, frame.length);
    try {
      const { header, body } = decodeEnvelope(frame, replyHeader);
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
    } catch (error) {
      // It will be asked again; a hub that keeps answering nonsense shows in the log.
      logger.failure('uplink.bad_reply', error);
    }
  }

  #update(): void {
    const online = this.#connection?.connected === true && this.#hubs.size > 0;
    if (online === this.#online) return;
    this.#online = online;
    this.#options.logger.info(online ? 'uplink.online' : 'uplink.offline');
    this.#sender.setOnline(online);
    for (const take of this.#takeChange) take(online);
  }

  #presence(online: boolean): string {
    const { agentVersion, clock } = this.#options;
    const presence: DevicePresence = { online, sinceAtMs: clock.nowAtMs(), agentVersion };
    return JSON.stringify(presence);
  }

  /** For messages that the next connect says again anyway. */
  #tell(topic: string, payload: string): void {
    this.#publish(topic, payload, true).catch((error: unknown) =>
      this.#options.logger.failure('uplink.not_told', error, { topic }),
    );
  }

  async #publish(topic: string, payload: string | Uint8Array, retain: boolean): Promise<void> {
    if (!this.#connection) throw new AppError('BROKER_UNREACHABLE');
    await this.#connection.publish(topic, payload, { qos: 1, retain });
  }
}

function parseOutput(body: Uint8Array): unknown {
  const output = tryParseJson(body);
  if (output === undefined) throw new AppError('MESSAGE_MALFORMED', 'the reply’s body is not JSON');
  return output;
}
