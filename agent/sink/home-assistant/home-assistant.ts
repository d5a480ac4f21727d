/**
 * A device in Home Assistant, over one broker: its entities, their states, and the installation of model updates. Only what is newest is
 * told, so nothing waits here while the broker is away, and nothing is sent while nothing changes.
 *
 * state        | event                       -> state (what is published)
 * disconnected | connected                   -> announced (discovery, availability, every state)
 * announced    | Home Assistant has started  -> announced (all of it again)
 * announced    | a state has changed         -> announced (that state)
 * any          | stop                        -> ended (availability: offline; the last will says it of a crash)
 *
 * What was announced is remembered on disk: entities of what is not configured any more are taken away at the next start.
 */
import { z } from 'zod';
import { isFailure, type Result } from '../../../shared/contract/result.ts';
import type { MqttConnection } from '../../../shared/mqtt/connect.ts';
import { readJson, writeJsonAtomic } from '../../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../../shared/runtime/errors.ts';
import type { Part } from '../../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../../shared/runtime/logger.ts';
import { SerialQueue } from '../../../shared/runtime/serial-queue.ts';
import type { PictureOf, PictureWish, Sink, TellSink } from '../../ports.ts';
import {
  componentsOf,
  discoveryMessage,
  discoveryTopic,
  INSTALL,
  type ShownDevice,
  stateTopicsOf,
  topicsOf,
} from './discovery.ts';
import { modelState, pipelineState, type ShownModel } from './state.ts';

/** What the device is doing, read again and again. */
export interface DeviceFacts {
  readonly online: boolean;
  /** Requests that wait for the cloud. */
  readonly outbox: number;
  /** State of the feed of a pipeline; null: it has none. */
  readonly feedOf: (pipeline: string) => string | null;
  readonly models: readonly ShownModel[];
}

/** How the sink of a pipeline is called, who hears of it, and where its pictures are. */
export interface PipelineSink {
  readonly name: string;
  readonly tell: TellSink;
  readonly pictureOf: PictureOf;
}

/** Device to show, the broker that Home Assistant listens to, and where what was announced is remembered. */
export interface HomeAssistantOptions {
  readonly device: ShownDevice;
  readonly connection: MqttConnection;
  /** Address of that broker, without credentials. */
  readonly broker: string;
  readonly memoryPath: string;
  readonly facts: () => DeviceFacts;
  /** Somebody wants this model's update now. */
  readonly onInstall: (model: string) => void;
  /** A state or a picture has left. */
  readonly onSent?: (topic: string, payload: string | Uint8Array) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What was announced at one broker, below one prefix. */
export const announced = z.object({
  /** Its address, without credentials. */
  broker: z.string(),
  prefix: z.string(),
  /** By the topics of their discovery messages. */
  devices: z.record(
    z.string(),
    z.object({ components: z.record(z.string(), z.string()), topics: z.array(z.string()) }),
  ),
});
type Announced = z.infer<typeof announced>;

const LOOK_EVERY_MS = 2_000;
/** A picture for people, of a stream that may give many. */
const PICTURE_EVERY_MS = 1_000;
const PICTURE: PictureWish = { longestPx: 1_280, annotate: true, maxBytes: 512 * 1024 };
const RETAINED = { qos: 1, retain: true } as const;

/** Link of a device to Home Assistant. */
export class HomeAssistant implements Part {
  readonly #o: HomeAssistantOptions;
  readonly #topics: ReturnType<typeof topicsOf>;
  /** What each topic is to hold. */
  readonly #wanted = new Map<string, string | Uint8Array>();
  /** What was published of it on this connection. */
  readonly #told = new Map<string, string | Uint8Array>();
  readonly #tellers = new Map<string, TellSink>();
  readonly #work = new SerialQueue();
  readonly #picturedMonoMs = new Map<string, number>();
  #isDue = false;
  #cancelLook = (): void => undefined;
  #isStopping = false;

  constructor(options: HomeAssistantOptions) {
    this.#o = options;
    this.#topics = topicsOf(options.device.id);
  }

  async start(): Promise<void> {
    const { connection, device } = this.#o;
    connection.onConnect(() => this.#announceSoon());
    connection.onMessage((topic, payload) => this.#onMessage(topic, Buffer.from(payload).toString('utf8')));
    await connection.subscribe([
      `${device.prefix}/status`,
      ...device.models.map((model) => this.#topics.install(model)),
    ]);
    this.#look();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelLook();
    await this.#work.settled();
    const { connection } = this.#o;
    if (connection.connected && this.#o.device.pipelines.length > 0)
      await connection.publish(this.#topics.availability, 'offline', RETAINED).catch(() => undefined);
    await connection.end();
  }

  /** The sink of one pipeline: shows its newest answer. */
  sink(pipeline: string, parts: PipelineSink): Sink {
    const { name, tell } = parts;
    this.#tellers.set(pipeline, tell);
    return { name, tell, put: (result) => this.#put(pipeline, result, parts) };
  }

  async #put(pipeline: string, result: Result, { tell, pictureOf }: PipelineSink): Promise<void> {
    if (isFailure(result)) return;
    this.#wanted.set(this.#topics.state(pipeline), JSON.stringify(pipelineState(result)));
    const { connected, failure } = this.#o.connection;
    if (!connected)
      tell.refused(
        failure ?? new AppError('BROKER_UNREACHABLE', 'the broker of Home Assistant is not connected'),
      );
    if (this.#mayShowPicture(pipeline)) {
      const picture = await pictureOf(result, PICTURE);
      if (picture) this.#wanted.set(this.#topics.picture(pipeline), picture);
      else tell.dropped('no-picture');
    }
    this.#flushSoon();
  }

  #mayShowPicture(pipeline: string): boolean {
    const shown = this.#o.device.pipelines.find(({ name }) => name === pipeline);
    const nowMonoMs = this.#o.clock.nowMonoMs();
    const lastMonoMs = this.#picturedMonoMs.get(pipeline) ?? Number.NEGATIVE_INFINITY;
    if (!shown?.hasPictures || nowMonoMs - lastMonoMs < PICTURE_EVERY_MS) return false;
    this.#picturedMonoMs.set(pipeline, nowMonoMs);
    return true;
  }

  #look(): void {
    const { facts, device, clock } = this.#o;
    const { online, outbox, feedOf, models } = facts();
    if (device.pipelines.length > 0) {
      this.#wanted.set(this.#topics.link, online ? 'online' : 'offline');
      this.#wanted.set(this.#topics.outbox, String(outbox));
    }
    for (const { name, hasFeed } of device.pipelines)
      if (hasFeed) this.#wanted.set(this.#topics.feed(name), feedOf(name) ?? 'starting');
    for (const model of models)
      if (device.models.includes(model.name))
        this.#wanted.set(this.#topics.model(model.name), JSON.stringify(modelState(model)));
    this.#flushSoon();
    this.#cancelLook = clock.after(LOOK_EVERY_MS, () => this.#look());
  }

  #onMessage(topic: string, text: string): void {
    const { device, logger, onInstall } = this.#o;
    if (topic === `${device.prefix}/status`) {
      if (text === 'online') this.#announceSoon();
      return;
    }
    const model = device.models.find((name) => topic === this.#topics.install(name));
    if (model === undefined || text !== INSTALL) return;
    logger.info('home_assistant.install', { model });
    onInstall(model);
  }

  #announceSoon(): void {
    this.#told.clear();
    void this.#work.run(() => this.#announce()).catch((error: unknown) => this.#refused(error));
  }

  /** In this order: Home Assistant hears of an entity before its state, and of its state before it is available. */
  async #announce(): Promise<void> {
    const { connection, device } = this.#o;
    const topic = discoveryTopic(device);
    const components = device.pipelines.length > 0 ? componentsOf(device) : {};
    const topics = device.pipelines.length > 0 ? stateTopicsOf(device) : [];
    const remembered = await this.#remembered();
    // Before anything is published: what a crash leaves behind here is known.
    const platforms = Object.fromEntries(Object.entries(components).map(([key, { p }]) => [key, p]));
    const before = remembered.devices[topic] ?? { components: {}, topics: [] };
    const all = {
      components: { ...before.components, ...platforms },
      topics: [...new Set([...before.topics, ...topics])],
    };
    await this.#remember(remembered, { ...remembered.devices, [topic]: all });
    for (const [other, { topics: left }] of Object.entries(remembered.devices))
      if (other !== topic) await this.#clear([other, ...left]);
    const gone = Object.fromEntries(
      Object.entries(before.components).filter(([key]) => !(key in components)),
    );
    if (Object.keys(components).length === 0) await this.#clear([topic, this.#topics.availability]);
    else {
      const say = (missing: Record<string, string>): Promise<void> =>
        connection.publish(topic, JSON.stringify(discoveryMessage(device, components, missing)), RETAINED);
      if (Object.keys(gone).length > 0) await say(gone);
      await say({});
    }
    await this.#clear(before.topics.filter((one) => !topics.includes(one)));
    await this.#remember(await this.#remembered(), {
      ...(Object.keys(components).length > 0 && { [topic]: { components: platforms, topics } }),
    });
    if (Object.keys(components).length === 0) return;
    await this.#flush();
    await connection.publish(this.#topics.availability, 'online', RETAINED);
  }

  /** A retained message goes by an empty one. [MQTT-3.3.1-6] */
  async #clear(topics: readonly string[]): Promise<void> {
    for (const topic of topics) await this.#o.connection.publish(topic, '', RETAINED);
  }

  async #remembered(): Promise<Announced> {
    const { memoryPath, logger } = this.#o;
    const known = await readJson(memoryPath, announced).catch((error: unknown) => {
      logger.failure('home_assistant.memory_lost', error);
      return undefined;
    });
    return known ?? { broker: this.#o.broker, prefix: this.#o.device.prefix, devices: {} };
  }

  /** Written only where it has changed. */
  async #remember(known: Announced, devices: Announced['devices']): Promise<void> {
    if (JSON.stringify(known.devices) === JSON.stringify(devices)) return;
    const { broker, device, memoryPath } = this.#o;
    try {
      await writeJsonAtomic(memoryPath, { broker, prefix: device.prefix, devices } satisfies Announced);
    } catch (error) {
      // A full disk costs no entity: at worst one that goes later has to be taken away by hand.
      this.#o.logger.failure('home_assistant.not_remembered', error);
    }
  }

  #flushSoon(): void {
    if (this.#isDue || this.#isStopping) return;
    this.#isDue = true;
    void this.#work
      .run(() => {
        this.#isDue = false;
        return this.#flush();
      })
      .catch((error: unknown) => this.#refused(error));
  }

  async #flush(): Promise<void> {
    const { connection } = this.#o;
    // All of it is told at the next connection.
    if (!connection.connected) return;
    for (const [topic, payload] of this.#wanted) {
      if (this.#told.get(topic) === payload) continue;
      await connection.publish(topic, payload, RETAINED).catch((error: unknown) => {
        // It will not get smaller: the next one may be.
        if (!isAppError(error, 'INPUT_TOO_LARGE')) throw error;
        this.#o.logger.failure('home_assistant.too_large', error, { topic });
      });
      this.#told.set(topic, payload);
      this.#o.onSent?.(topic, payload);
      const pipeline = this.#o.device.pipelines.find(({ name }) => topic === this.#topics.state(name));
      if (pipeline) this.#tellers.get(pipeline.name)?.delivered();
    }
  }

  #refused(error: unknown): void {
    for (const tell of this.#tellers.values()) tell.refused(toAppError(error));
  }
}
