/**
 * The hub's MQTT link. READ THIS FIRST.
 *
 *   devices -> infer (shared by all hubs), chunk (of this hub alone) -> intake
 *           -> presence, reported, telemetry, results               -> device-states.ts -> the records
 *   devices <- reply, chunk (acknowledgement)                       <- intake
 *           <- desired, retained                                    <- desired.ts
 *   all     <- the hub's presence, retained, and its last will      <- presence.ts
 */
import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import type { ChunkAck, Desired } from '../../shared/contract/messages.ts';
import { deviceTopics, HUB_GROUP, hubFilters, hubTopics, parseTopic } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { LastWill } from '../../shared/mqtt/session.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { within } from '../../shared/runtime/within.ts';
import type { DeviceBook, DeviceLink } from '../ports.ts';
import { DesiredTeller } from './desired.ts';
import { DeviceStates, STATE_FILTERS } from './device-states.ts';
import { OwnPresence } from './presence.ts';

/** Identity of this hub process, its broker connection, and the records it feeds. */
export interface HubLinkOptions {
  readonly hubId: string;
  /** Name of this run of the hub: another one has forgotten what was under way. */
  readonly instance: string;
  readonly connect: (will: LastWill) => Promise<MqttConnection>;
  /** undefined: another hub keeps the records, this one answers only. */
  readonly devices: DeviceBook | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long a goodbye may take through a broker that has fallen silent. */
const GOODBYE_MS = 1_000;

/** One connection to the broker, for as long as the hub runs. */
export class HubLink implements DeviceLink, Part {
  readonly #o: HubLinkOptions;
  readonly #presence: OwnPresence;
  readonly #desired: DesiredTeller;
  readonly #states: DeviceStates | undefined;
  #connection: MqttConnection | undefined;
  #take: (deviceId: string, frame: Uint8Array) => void = () => undefined;
  #takeChunk: (deviceId: string, frame: Uint8Array) => void = () => undefined;

  constructor(options: HubLinkOptions) {
    this.#o = options;
    this.#presence = new OwnPresence(options);
    this.#desired = new DesiredTeller(options.logger);
    this.#states = options.devices && new DeviceStates(options.devices, options.logger);
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
    const { logger, hubId } = this.#o;
    const connection = await this.#o.connect(this.#presence.will());
    this.#connection = connection;
    connection.onMessage((from, payload) => this.#onMessage(from, payload));
    connection.onDisconnect((reason) => {
      if (this.#connection) logger.warn('link.disconnected', { reason });
    });
    connection.onConnect(() => {
      logger.info('link.connected');
      this.#desired.forget();
      this.#presence.tell(connection, true).catch((error: unknown) => logger.failure('link.not_told', error));
      this.#desired.tell(connection);
    });
    await connection.subscribe([
      { filter: hubFilters.infer, group: HUB_GROUP },
      hubTopics(hubId).chunkFilter,
      ...(this.#states ? STATE_FILTERS : []),
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
    if (!this.#connection?.connected) return;
    const said = this.#presence.tell(this.#connection, false).catch(() => undefined);
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
    this.#desired.want(deviceId, wanted);
    if (this.#connection?.connected) this.#desired.tell(this.#connection);
  }

  #onMessage(topic: string, payload: Uint8Array): void {
    const parsed = parseTopic(topic);
    if (parsed?.kind === 'hub' && parsed.channel === 'chunk') this.#takeChunk(parsed.deviceId, payload);
    if (parsed?.kind !== 'device') return;
    if (parsed.channel === 'infer') this.#take(parsed.deviceId, payload);
    else this.#states?.take(parsed.channel, parsed.deviceId, payload);
  }
}
