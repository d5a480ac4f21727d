/** Makes the sinks that a pipeline's configuration asks for, and ends their files and connections. */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import { readAuthority } from '../../shared/runtime/certificate-files.ts';
import { hostOf } from '../../shared/runtime/host-of.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { SinkConfig } from '../config/sink.ts';
import type { AgentConfig } from '../config.ts';
import type { Kept, NoteSent, PictureOf, Sink } from '../ports.ts';
import { FileSink } from '../sink/file-sink.ts';
import { MqttSink } from '../sink/mqtt-sink.ts';
import { ruled } from '../sink/ruled.ts';
import type { SinkStates } from '../sink/sink-states.ts';
import { SnapshotSink } from '../sink/snapshots.ts';
import { removeQueue, WebhookQueue } from '../sink/webhook/queue.ts';
import type { WebhookSink } from '../sink/webhook/webhook-sink.ts';
import { brokerOf } from './brokers.ts';
import { type DeviceParts, HomeAssistants } from './home-assistants.ts';
import type { AgentProgram } from './program.ts';

const SNAPSHOTS = { ageMs: 7 * 86_400_000, bytes: 500e6 };
const WEBHOOK = { ageMs: 86_400_000, bytes: 20e6 };
const MAX_SNAPSHOT_BYTES = 16 * 1024 * 1024;

type Of<Type extends SinkConfig['type']> = Extract<SinkConfig, { type: Type }>;

/** A sink that is to be made, and how it is called. */
interface Wanted<Type extends SinkConfig['type']> {
  readonly pipeline: PipelineConfig;
  readonly sink: Of<Type>;
  readonly name: string;
  readonly pictureOf: PictureOf;
}

/** Whether a pipeline's inputs must be at hand for its sinks. */
export const showsPictures = ({ sinks }: Pick<PipelineConfig, 'sinks'>): boolean =>
  sinks.some(
    (sink) =>
      sink.type === 'snapshots' ||
      (sink.type === 'webhook' && sink.picture) ||
      (sink.type === 'mqtt' && sink.discovery !== undefined && sink.pictures),
  );

/** Maker of sinks, which owns their files and connections and closes them at the stop. */
export class SinkMaker implements Part {
  readonly #config: AgentConfig;
  readonly #program: AgentProgram;
  readonly #states: SinkStates;
  readonly #homeAssistants: HomeAssistants;
  readonly #noteSent: NoteSent;
  readonly #parts: Part[] = [];
  /** By path: two writers of one file would write over each other. */
  readonly #files = new Map<string, FileSink>();
  readonly #queues = new Set<string>();
  /** What they keep on the disk. */
  readonly kept: Kept[] = [];

  constructor(
    config: AgentConfig,
    program: AgentProgram,
    states: SinkStates,
    device: DeviceParts,
    noteSent: NoteSent = () => undefined,
  ) {
    this.#config = config;
    this.#program = program;
    this.#states = states;
    this.#homeAssistants = new HomeAssistants(config, program, device, noteSent);
    this.#noteSent = noteSent;
  }

  async start(): Promise<void> {
    for (const part of this.#parts) await part.start?.();
    await this.#homeAssistants.start();
    await this.#removeOldQueues();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#parts.map((part) => part.stop?.()), this.#homeAssistants.stop()]);
  }

  async make(pipeline: PipelineConfig, pictureOf: PictureOf): Promise<Sink[]> {
    const names = new Set<string>();
    const made: Sink[] = [];
    for (const [index, sink] of pipeline.sinks.entries())
      for (const one of await this.#make(pipeline, sink, index, names, pictureOf))
        made.push(ruled(one, sink.when, this.#program.clock));
    return made;
  }

  async #make(
    pipeline: PipelineConfig,
    sink: SinkConfig,
    index: number,
    names: Set<string>,
    pictureOf: PictureOf,
  ): Promise<Sink[]> {
    const name = uniqueName(this.#nameOf(sink), names);
    switch (sink.type) {
      case 'file':
        return [this.#fileSink(resolve(this.#program.dataDir, sink.path), sink.maxBytes)];
      case 'mqtt':
        return this.#mqttSinks({ pipeline, sink, name, pictureOf }, index);
      case 'webhook':
        return [await this.#webhook({ pipeline, sink, name, pictureOf })];
      case 'snapshots':
        return [this.#snapshots({ pipeline, sink, name, pictureOf })];
    }
  }

  /** Nothing of it is a secret: of a webhook's address the path may be one. */
  #nameOf(sink: SinkConfig): string {
    switch (sink.type) {
      case 'file':
      case 'snapshots':
        return `${sink.type}:${resolve(this.#program.dataDir, sink.path)}`;
      case 'mqtt':
        return `mqtt:${sink.topic}`;
      case 'webhook':
        return `webhook:${new URL(sink.url).host}`;
    }
  }

  #fileSink(path: string, maxBytes: number | undefined): FileSink {
    const known = this.#files.get(path);
    if (known) return known;
    const made = new FileSink({ path, ...(maxBytes !== undefined && { maxBytes }) });
    this.#files.set(path, made);
    // A file elsewhere is somebody's own, whoever turns it over.
    if (isWithin(this.#program.dataDir, path)) this.kept.push(made.kept('results'));
    this.#parts.push({ stop: () => made.close() });
    return made;
  }

  async #mqttSinks({ pipeline, sink, pictureOf }: Wanted<'mqtt'>, index: number): Promise<Sink[]> {
    const { device, baseDir } = this.#config;
    const { logger } = this.#program;
    const broker = brokerOf(sink);
    const ca = sink.ca === undefined ? undefined : await readAuthority(resolve(baseDir, sink.ca));
    const connection = await connectMqtt({
      ...broker,
      ...(ca !== undefined && { trust: () => ({ ca }) }),
      clientId: `${device}-${pipeline.name}-${index}`,
      logger,
    });
    this.#parts.push({ stop: () => connection.end() });
    const { topic, qos, retain } = sink;
    const results = new MqttSink({
      ...{ connection, topic, qos, retain },
      onSent: ({ id }, bytes) =>
        this.#noteSent({
          ...{ what: 'result', id, pipeline: pipeline.name, bytes },
          ...{ to: hostOf(broker.url), topic, why: 'sink' },
        }),
    });
    if (!sink.discovery) return [results];
    const name = `homeassistant:${pipeline.name}`;
    const tell = this.#states.add({ pipeline: pipeline.name, name, type: 'homeassistant' }, () => 0);
    return [results, this.#homeAssistants.sink({ pipeline, sink, ca, name, tell, pictureOf })];
  }

  async #webhook({ pipeline, sink, name, pictureOf }: Wanted<'webhook'>): Promise<WebhookSink> {
    const { baseDir, device } = this.#config;
    const { dataDir, clock } = this.#program;
    const file = `${pipeline.name}-${shortHash(sink.url)}.ndjson`;
    this.#queues.add(file);
    const { ageMs, bytes } = {
      ageMs: sink.keep.age ?? WEBHOOK.ageMs,
      bytes: sink.keep.bytes ?? WEBHOOK.bytes,
    };
    const path = join(dataDir, 'webhooks', file);
    const queue = new WebhookQueue(path, { ageMs, bytes });
    await queue.open();
    const { url, allowPrivate, secret } = sink;
    const ca = sink.ca === undefined ? undefined : await readAuthority(resolve(baseDir, sink.ca));
    const { WebhookSink } = await import('../sink/webhook/webhook-sink.ts');
    const made = new WebhookSink(name, {
      place: { url, allowPrivate, ca },
      secret,
      device,
      pictureOf: sink.picture ? pictureOf : undefined,
      queue,
      onSent: (id, bytes) =>
        this.#noteSent({
          ...{ what: 'result', id, pipeline: pipeline.name, bytes },
          ...{ to: hostOf(url), why: 'sink' },
        }),
      tell: this.#states.add({ pipeline: pipeline.name, name, type: 'webhook' }, () => queue.length),
      clock,
    });
    this.#parts.push(made);
    this.kept.push(made.kept(path));
    return made;
  }

  #snapshots({ pipeline, sink, name, pictureOf }: Wanted<'snapshots'>): SnapshotSink {
    const { dataDir, clock } = this.#program;
    const { keep, maxSide, annotate } = sink;
    const made = new SnapshotSink(name, {
      folder: resolve(dataDir, sink.path),
      keep: { ageMs: keep.age ?? SNAPSHOTS.ageMs, bytes: keep.bytes ?? SNAPSHOTS.bytes },
      wish: { longestPx: maxSide, annotate, maxBytes: MAX_SNAPSHOT_BYTES },
      pictureOf,
      tell: this.#states.add({ pipeline: pipeline.name, name, type: 'snapshots' }, () => 0),
      clock,
    });
    this.#parts.push(made);
    this.kept.push(made);
    return made;
  }

  /** What waits for a webhook that is not configured any more has nowhere to go. */
  async #removeOldQueues(): Promise<void> {
    const folder = join(this.#program.dataDir, 'webhooks');
    for (const file of await readdir(folder).catch((): string[] => [])) {
      if (this.#queues.has(file) || !file.endsWith('.ndjson')) continue;
      this.#program.logger.info('webhook.queue_removed', { file });
      await removeQueue(join(folder, file));
    }
  }
}

/** Of an address that may hold a secret. */
const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

const isWithin = (folder: string, path: string): boolean => !/^\.\.(?:$|[\\/])/.test(relative(folder, path));

function uniqueName(name: string, taken: Set<string>): string {
  let unique = name;
  for (let count = 2; taken.has(unique); count++) unique = `${name} (${count})`;
  taken.add(unique);
  return unique;
}
