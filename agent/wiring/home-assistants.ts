/** The Home Assistants that this device is shown in: one for each broker and prefix that sinks with `discovery` name. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Desired, UpdateReport } from '../../shared/contract/messages.ts';
import { connectMqtt, type MqttConnection } from '../../shared/mqtt/connect.ts';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import { hostOf } from '../../shared/runtime/host-of.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import { isLoopback, isWildcard, urlHost } from '../../shared/runtime/loopback.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import { saysLabels } from '../../shared/tasks/labels-in.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { SinkConfig } from '../config/sink.ts';
import type { AgentConfig } from '../config.ts';
import type { NoteSent, PictureOf, Sink, TellSink } from '../ports.ts';
import { type ShownPipeline, topicsOf } from '../sink/home-assistant/discovery.ts';
import { announced, type DeviceFacts, HomeAssistant } from '../sink/home-assistant/home-assistant.ts';
import type { ShownModel } from '../sink/home-assistant/state.ts';
import { type Broker, brokerOf } from './brokers.ts';
import type { AgentProgram } from './program.ts';

/** What the device is doing, for its entities. */
export interface DeviceParts {
  readonly online: () => boolean;
  readonly outbox: () => number;
  readonly feedOf: (pipeline: string) => string | null;
  /** Version of a local model that answers now. */
  readonly installed: (model: string) => string | null;
  readonly desired: () => Desired | undefined;
  readonly updates: () => readonly UpdateReport[];
  /** Tries the wanted versions now. */
  readonly onInstall: () => void;
}

type MqttConfig = Extract<SinkConfig, { type: 'mqtt' }>;

/** A sink with `discovery`, and what its pipeline gives it. */
interface Shown {
  readonly pipeline: PipelineConfig;
  readonly sink: MqttConfig;
  /** PEM of who vouches for its broker. */
  readonly ca: string | undefined;
  readonly name: string;
  readonly tell: TellSink;
  readonly pictureOf: PictureOf;
}

/** One of them before it is connected: pipelines are added one by one. */
interface Group {
  readonly broker: Broker;
  readonly prefix: string;
  readonly ca: string | undefined;
  readonly shown: Shown[];
  made?: HomeAssistant;
  /** Sinks by pipeline, once it is made. */
  readonly sinks: Map<string, Sink>;
}

const UNDER_WAY = ['checking', 'downloading', 'trying', 'trial'];

/** Links to Home Assistant of one device. */
export class HomeAssistants implements Part {
  readonly #config: AgentConfig;
  readonly #program: AgentProgram;
  readonly #device: DeviceParts;
  readonly #noteSent: NoteSent | undefined;
  readonly #groups = new Map<string, Group>();

  constructor(config: AgentConfig, program: AgentProgram, device: DeviceParts, noteSent?: NoteSent) {
    this.#config = config;
    this.#program = program;
    this.#device = device;
    this.#noteSent = noteSent;
  }

  /** The sink that shows one pipeline; it works from `start` on. */
  sink(shown: Shown): Sink {
    const { sink, ca, pipeline, name, tell } = shown;
    const group = this.#group(brokerOf(sink), sink.discoveryPrefix, ca);
    group.shown.push(shown);
    return {
      name,
      tell,
      put: async (result) => group.sinks.get(pipeline.name)?.put(result),
    };
  }

  async start(): Promise<void> {
    await this.#addForgotten();
    for (const [key, group] of this.#groups) group.made = await this.#make(key, group);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#groups.values()].map(async ({ made }) => made?.stop()));
  }

  #group(broker: Broker, prefix: string, ca: string | undefined): Group {
    const key = sha256Hex(`${broker.url} ${prefix}`).slice(0, 16);
    const known = this.#groups.get(key);
    if (known) return known;
    const group: Group = { broker, prefix, ca, shown: [], sinks: new Map() };
    this.#groups.set(key, group);
    return group;
  }

  /** What an earlier configuration announced is taken away, where its broker is known still. */
  async #addForgotten(): Promise<void> {
    const folder = join(this.#program.dataDir, 'home-assistant');
    for (const file of await readdir(folder).catch((): string[] => [])) {
      if (!file.endsWith('.json') || this.#groups.has(file.slice(0, -'.json'.length))) continue;
      const left = await readJson(join(folder, file), announced).catch(() => undefined);
      if (!left || Object.keys(left.devices).length === 0) continue;
      const broker = this.#knownBroker(left.broker);
      if (broker) this.#group(broker, left.prefix, undefined);
      else
        this.#program.logger.warn('home_assistant.left_behind', {
          broker: left.broker,
          topics: Object.keys(left.devices),
        });
    }
  }

  #knownBroker(url: string): Broker | undefined {
    const sinks = this.#config.pipelines.flatMap((pipeline) => pipeline.sinks);
    return sinks
      .flatMap((sink) => (sink.type === 'mqtt' ? [brokerOf(sink)] : []))
      .find((one) => one.url === url);
  }

  async #make(key: string, group: Group): Promise<HomeAssistant> {
    const { dataDir, clock, logger } = this.#program;
    const { broker, prefix, ca, shown } = group;
    const device = {
      id: this.#config.device,
      version: VERSION,
      page: this.#page(),
      prefix,
      pipelines: shown.map(({ pipeline, sink }) => shownPipeline(pipeline, sink)),
      models: [...new Set(shown.flatMap(({ pipeline: { edge } }) => edge ?? []))],
    };
    const connection: MqttConnection = await connectMqtt({
      ...broker,
      ...(ca !== undefined && { trust: () => ({ ca }) }),
      clientId: `${device.id}-home-assistant-${key.slice(0, 4)}`,
      cleanSession: true,
      ...(shown.length > 0 && {
        will: { topic: topicsOf(device.id).availability, payload: 'offline', retain: true },
      }),
      logger,
    });
    const made = new HomeAssistant({
      device,
      connection,
      broker: broker.url,
      memoryPath: join(dataDir, 'home-assistant', `${key}.json`),
      facts: () => this.#facts(device.models),
      onInstall: () => this.#device.onInstall(),
      onSent: (topic, payload) =>
        this.#noteSent?.({
          what: typeof payload === 'string' ? 'state' : 'picture',
          pipeline: /\/pipeline\/([^/]+)\//.exec(topic)?.[1] ?? null,
          bytes: Buffer.byteLength(payload),
          to: hostOf(broker.url),
          topic,
          why: 'sink',
        }),
      clock,
      logger,
    });
    for (const { pipeline, name, tell, pictureOf } of shown)
      group.sinks.set(pipeline.name, made.sink(pipeline.name, { name, tell, pictureOf }));
    await made.start();
    return made;
  }

  #facts(models: readonly string[]): DeviceFacts {
    const { online, outbox, feedOf } = this.#device;
    return { online: online(), outbox: outbox(), feedOf, models: models.map((name) => this.#model(name)) };
  }

  #model(name: string): ShownModel {
    const installed = this.#device.installed(name);
    const wanted = this.#device.desired()?.models.find((one) => one.name === name)?.version ?? null;
    const update = this.#device.updates().find(({ model }) => model.name === name);
    const isUnderWay = update !== undefined && UNDER_WAY.includes(update.phase) && update.error === null;
    const { window } = this.#config.sync;
    const waits = window === undefined ? null : `It is tried in the window ${window}.`;
    const said = update?.error ? `${update.phase}: ${update.error.message}` : null;
    return {
      name,
      installed,
      latest: wanted,
      isUnderWay,
      summary: said ?? (update?.phase === 'staged' ? waits : null),
    };
  }

  /** Where others reach the device's page; undefined for one that listens on loopback, or everywhere. */
  #page(): string | undefined {
    const { host, port, certificate } = this.#config;
    if (isLoopback(host) || isWildcard(host)) return undefined;
    return `${certificate ? 'https' : 'http'}://${urlHost(host)}:${port}`;
  }
}

function shownPipeline({ name, task, feed, cloud }: PipelineConfig, { pictures }: MqttConfig): ShownPipeline {
  return {
    name,
    saysLabels: saysLabels(task),
    hasPictures: pictures && TASKS[task].inputKind === 'image',
    hasFeed: feed !== undefined,
    asksCloud: cloud !== undefined,
  };
}
