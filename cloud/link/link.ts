/** The hub's MQTT link: its own presence, requests and state of devices in, replies out. */

import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import {
  type ChunkAck,
  type Desired,
  devicePresence,
  type HubPresence,
  reported,
  telemetry,
} from '../../shared/contract/messages.ts';
import { result } from '../../shared/contract/result.ts';
import { deviceTopics, HUB_GROUP, hubFilters, hubTopics, parseTopic } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { LastWill } from '../../shared/mqtt/session.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { within } from '../../shared/runtime/within.ts';
import type { DeviceBook, DeviceLink } from '../ports.ts';

export interface HubLinkOptions {
  readonly hubId: string;
  /** What this run of the hub calls itself: another one has forgotten what was under way. */
  readonly instance: string;
  readonly connect: (will: LastWill) => Promise<MqttConnection>;
  /** undefined: another hub keeps the records, this one answers only. */
  readonly devices: DeviceBook | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Larger state messages are nobody's. */
const MAX_STATE_BYTES = 64 * 1024;
/** How long a goodbye may take through a broker that has fallen silent. */
const GOODBYE_MS = 1_000;

export class HubLink implements DeviceLink, Part {
  readonly #o: HubLinkOptions;
  #connection: MqttConnection | undefined;
  /** What devices are still to be told; the newest of each. */
  readonly #wanted = new Map<string, Desired>();
  /** What each has been told since the broker was last connected, which may have forgotten what came before. */
  readonly #told = new Map<string, string>();
  #take: (deviceId: string, frame: Uint8Array) => void = () => undefined;
  #takeChunk: (deviceId: string, frame: Uint8Array) => void = () => undefined;

  constructor(options: HubLinkOptions) {
    this.#o = options;
  }

  get connected(): boolean {
    return this.#connection?.connected === true;
  }

  onRequest(handle: (deviceId: string, frame: Uint8Array) => void): void {
    this.#take = handle;
  }

  onChunk(handle: (deviceId: string, frame: Uint8Array) => void): void {
    this.#takeChunk = handle;
  }

  async start(): Promise<void> {
    const topic = hubTopics(this.#o.hubId).presence;
    const connection = await this.#o.connect({ topic, payload: this.#presence(false), retain: true });
    this.#connection = connection;
    connection.onMessage((from, payload) => this.#onMessage(from, payload));
    connection.onDisconnect((reason) => {
      if (this.#connection) this.#o.logger.warn('link.disconnected', { reason });
    });
    connection.onConnect(() => {
      this.#o.logger.info('link.connected');
      this.#told.clear();
      this.#tellPresence(true).catch((error: unknown) => this.#o.logger.failure('link.not_told', error));
      this.#tellWanted();
    });
    const { presence, reported: state, telemetry: counters, results } = hubFilters;
    await connection.subscribe([
      { filter: hubFilters.infer, group: HUB_GROUP },
      hubTopics(this.#o.hubId).chunkFilter,
      ...(this.#o.devices ? [presence, state, counters, results] : []),
    ]);
  }

  async stop(): Promise<void> {
    await this.sayGoodbye();
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.end();
  }

  /** Devices stop sending to a hub that is about to go. */
  async sayGoodbye(): Promise<void> {
    if (!this.connected) return;
    const said = this.#tellPresence(false).catch(() => undefined);
    await within(this.#o.clock, GOODBYE_MS, said);
  }

  async reply(deviceId: string, frame: Uint8Array): Promise<void> {
    if (!this.#connection) throw new AppError('BROKER_UNREACHABLE');
    await this.#connection.publish(deviceTopics(deviceId).reply, frame, { qos: 1 });
  }

  async acknowledge(deviceId: string, id: string, next: number): Promise<void> {
    if (!this.#connection) throw new AppError('BROKER_UNREACHABLE');
    const ack: ChunkAck = { id, hubId: this.#o.hubId, next };
    await this.#connection.publish(deviceTopics(deviceId).chunk, encodeEnvelope(ack), { qos: 1 });
  }

  /** Tells a device, retained, so that one that is away finds it; without a broker as soon as there is one. */
  want(deviceId: string, wanted: Desired): void {
    // Retained reports come while the filters are renewed, before the link counts as connected.
    this.#wanted.set(deviceId, wanted);
    if (this.connected) this.#tellWanted();
  }

  #tellWanted(): void {
    const all = [...this.#wanted];
    this.#wanted.clear();
    for (const [deviceId, wanted] of all) {
      const message = JSON.stringify(wanted);
      if (this.#told.get(deviceId) === message) continue;
      this.#told.set(deviceId, message);
      this.#connection
        ?.publish(deviceTopics(deviceId).desired, message, { qos: 1, retain: true })
        .catch((error: unknown) => {
          this.#told.delete(deviceId);
          this.#o.logger.failure('link.not_told', error, { deviceId });
          if (!this.#wanted.has(deviceId)) this.#wanted.set(deviceId, wanted);
        });
    }
  }

  #onMessage(topic: string, payload: Uint8Array): void {
    const parsed = parseTopic(topic);
    if (parsed?.kind === 'hub' && parsed.channel === 'chunk') this.#takeChunk(parsed.deviceId, payload);
    if (parsed?.kind !== 'device') return;
    const { deviceId, channel } = parsed;
    const { devices } = this.#o;
    if (channel === 'infer') this.#take(deviceId, payload);
    else if (channel === 'presence')
      this.#onState(payload, devicePresence, (state) => devices?.seen(deviceId, state));
    else if (channel === 'reported')
      this.#onState(payload, reported, (state) => devices?.reported(deviceId, state));
    else if (channel === 'telemetry')
      this.#onState(payload, telemetry, (state) => devices?.counted(deviceId, state));
    else if (channel === 'results')
      this.#onState(payload, result, (answered) => devices?.answered(deviceId, answered));
  }

  #onState<T>(
    payload: Uint8Array,
    schema: { safeParse(value: unknown): { success: true; data: T } | { success: false } },
    take: (state: T) => void,
  ): void {
    if (payload.length === 0 || payload.length > MAX_STATE_BYTES) return;
    const parsed = schema.safeParse(tryParseJson(payload));
    if (parsed.success) take(parsed.data);
    else this.#o.logger.warn('link.bad_state', { bytes: payload.length });
  }

  #presence(online: boolean): string {
    const { clock, instance } = this.#o;
    const presence: HubPresence = { online, sinceAtMs: clock.nowAtMs(), instance };
    return JSON.stringify(presence);
  }

  async #tellPresence(online: boolean): Promise<void> {
    await this.#connection?.publish(hubTopics(this.#o.hubId).presence, this.#presence(online), {
      qos: 1,
      retain: true,
    });
  }
}
