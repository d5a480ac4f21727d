/**
 * The hub's MQTT link. READ THIS FIRST.
 *
 *   devices -> infer (shared by all hubs), chunk (of this hub alone) -> intake
 *           -> presence, reported, telemetry, results               -> device-states.ts -> the records
 *   devices <- reply, chunk (acknowledgement)                       <- intake
 *           <- desired, retained                                    <- desired.ts
 *   all     <- the hub's presence, retained, and its last will      <- presence.ts
 *
 * A broker may let a device send as much as it likes, and have kept what it likes: what is over the bound is thrown away here before
 * it is read, what is kept and shouldn't be is taken back (taken-back.ts).
 */
import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import { DEVICE_PACKETS, MAX_STATE_BYTES } from '../../shared/contract/limits.ts';
import type { ChunkAck, Desired } from '../../shared/contract/messages.ts';
import { deviceTopics, HUB_GROUP, hubFilters, hubTopics, parseTopic } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { LastWill } from '../../shared/mqtt/session.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { TokenBuckets } from '../../shared/runtime/token-bucket.ts';
import { within } from '../../shared/runtime/within.ts';
import type { DeviceBook, DeviceLink } from '../ports.ts';
import { DesiredTeller } from './desired.ts';
import { DeviceStates, STATE_FILTERS } from './device-states.ts';
import { OwnPresence } from './presence.ts';
import { TakenBack } from './taken-back.ts';

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
/** Whose messages are counted; about 10 MB. */
const MAX_DEVICES = 100_000;
/** Floods are worth one line in this time, however many devices have a part in them. */
const FLOOD_LOG_MS = 60_000;

/** One connection to the broker, for as long as the hub runs. */
export class HubLink implements DeviceLink, Part {
  readonly #o: HubLinkOptions;
  readonly #presence: OwnPresence;
  readonly #desired: DesiredTeller;
  readonly #states: DeviceStates | undefined;
  readonly #takenBack = new TakenBack();
  readonly #rate: TokenBuckets;
  #flood = { untilMonoMs: 0, thrownAway: 0 };
  #connection: MqttConnection | undefined;
  #take: (deviceId: string, frame: Uint8Array) => void = () => undefined;
  #takeChunk: (deviceId: string, frame: Uint8Array) => void = () => undefined;

  constructor(options: HubLinkOptions) {
    this.#o = options;
    this.#presence = new OwnPresence(options);
    this.#desired = new DesiredTeller(options.logger);
    this.#rate = new TokenBuckets(options.clock, { ...DEVICE_PACKETS, maxKeys: MAX_DEVICES });
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
    connection.onMessage((from, payload, retained) => this.#onMessage(from, payload, retained));
    connection.onDisconnect((reason) => {
      if (this.#connection) logger.warn('link.disconnected', { reason });
    });
    connection.onConnect(() => {
      logger.info('link.connected');
      this.#desired.forget();
      this.#presence.tell(connection, true).catch((error: unknown) => logger.failure('link.not_told', error));
      this.#desired.tell(connection);
      this.#takenBack.tell(connection);
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

  /** A device is gone: what the broker keeps of it and for it goes, too. */
  forget(deviceId: string): void {
    this.#desired.forgetDevice(deviceId);
    const { desired, reported, presence } = deviceTopics(deviceId);
    for (const topic of [desired, reported, presence]) this.#takenBack.want(topic);
    if (this.#connection) this.#takenBack.tell(this.#connection);
  }

  #onMessage(topic: string, payload: Uint8Array, retained: boolean): void {
    const parsed = parseTopic(topic);
    if (!parsed || (parsed.kind === 'hub' && parsed.channel === 'presence')) return;
    const { deviceId, channel } = parsed;
    // A retained message has been taken back. An empty request is a malformed one, and counted as that.
    if (payload.length === 0 && (retained || channel !== 'infer')) return;
    if (this.#rate.take(deviceId) > 0) {
      this.#noteFlood(deviceId);
      return;
    }
    if (retained && !this.#mayBeKept(deviceId, channel, payload)) {
      this.#takenBack.want(topic);
      if (this.#connection) this.#takenBack.tell(this.#connection);
      // Whoever it was, it is said again to each hub that comes: it is no request of now.
      if (!isState(channel)) return;
    }
    if (parsed.kind === 'hub') this.#takeChunk(deviceId, payload);
    else if (channel === 'infer') this.#take(deviceId, payload);
    else this.#states?.take(channel, deviceId, payload);
  }

  #mayBeKept(deviceId: string, channel: string, payload: Uint8Array): boolean {
    return (
      isState(channel) && payload.length <= MAX_STATE_BYTES && this.#o.devices?.isActive(deviceId) !== false
    );
  }

  #noteFlood(deviceId: string): void {
    const nowMonoMs = this.#o.clock.nowMonoMs();
    this.#flood.thrownAway += 1;
    if (nowMonoMs < this.#flood.untilMonoMs) return;
    const { thrownAway } = this.#flood;
    this.#flood = { untilMonoMs: nowMonoMs + FLOOD_LOG_MS, thrownAway: 0 };
    this.#o.logger.warn('link.flooded', { deviceId, thrownAway });
  }
}

/** Channels whose last message a broker keeps. */
const isState = (channel: string): boolean => channel === 'reported' || channel === 'presence';
