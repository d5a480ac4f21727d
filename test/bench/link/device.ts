/** A device's link, put together of the agent's own parts as in agent/main.ts; everything is escalated. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ResultStore } from '../../../agent/api/result-store.ts';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import { DiskOutbox } from '../../../agent/outbox/outbox.ts';
import { Pipeline } from '../../../agent/pipeline/pipeline.ts';
import type { LocalModel, Outbox } from '../../../agent/ports.ts';
import { noLocalModel } from '../../../agent/slot/slot.ts';
import type { StoredLinkMeter } from '../../../agent/uplink/link-meter.ts';
import { MqttUplink } from '../../../agent/uplink/uplink.ts';
import { isFailure } from '../../../shared/contract/result.ts';
import { deviceTopics } from '../../../shared/contract/topics.ts';
import { connectMqtt, type MqttConnection } from '../../../shared/mqtt/connect.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { newId } from '../../../shared/runtime/ids.ts';
import { Lifecycle } from '../../../shared/runtime/lifecycle.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import type { TestUser } from '../../support/broker.ts';
import { routerWith } from '../../support/routing.ts';
import { uncappedMeter } from '../meter.ts';
import { until } from '../program.ts';

/** Milliseconds from `outbox.put`. */
export interface Asked {
  readonly resultMs: number;
  /** The reply is on disk, and the entry closed. */
  readonly closedMs: number;
}

interface Waiting {
  readonly putMonoMs: number;
  onClosed: (ms: number) => void;
}

const usual = { clock, logger };

export interface BenchDeviceOptions {
  readonly user: TestUser;
  readonly folder: string;
  /** undefined: offline for ever. */
  readonly url: string | undefined;
  /** None, when left out: everything waits for the cloud. */
  readonly local?: LocalModel;
  /** A minute, when left out: no Result is late. */
  readonly deadlineMs?: number;
}

export class BenchDevice {
  readonly outbox: DiskOutbox;
  readonly #meter: StoredLinkMeter;
  readonly #uplink: MqttUplink;
  readonly #pipeline: Pipeline;
  readonly #folder: string;
  readonly #lifecycle = new Lifecycle((name, error) => console.error(`${name} did not stop`, error));
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: BenchDeviceOptions) {
    const { user, url, local = noLocalModel } = options;
    this.#folder = options.folder;
    const metrics = createAgentMetrics();
    this.outbox = new DiskOutbox({
      folder: join(options.folder, 'outbox'),
      time: { nowRunMs: () => clock.nowMonoMs() },
      metrics,
      ...usual,
    });
    // Offline nothing is timed, and what is remembered here would count as the device's memory.
    const watched = url === undefined ? this.outbox : this.#watched(this.outbox);
    const results = new ResultStore();
    this.#meter = uncappedMeter({
      folder: options.folder,
      outbox: this.outbox,
      wireBytes: () => this.#uplink.wireBytes,
      metrics,
    });
    this.#uplink = new MqttUplink({
      deviceId: user.id,
      agentVersion: 'bench',
      instance: newId(),
      connect: (will) =>
        url === undefined
          ? Promise.reject(new AppError('BROKER_UNREACHABLE'))
          : connectMqtt({ url, clientId: user.id, username: user.id, password: user.secret, will, logger }),
      outbox: watched,
      reported: () => ({ agentVersion: 'bench', pipelines: [] }),
      telemetry: () => ({ atMs: clock.nowAtMs(), outbox: this.outbox.depth, link: { day: '', use: [] } }),
      onDesired: () => undefined,
      meter: this.#meter,
      metrics,
      ...usual,
    });
    this.#pipeline = new Pipeline({
      name: 'bench',
      task: 'image-classification',
      cloud: 'echo',
      deadlineMs: options.deadlineMs ?? 60_000,
      expiresMs: 3_600_000,
      local,
      router: routerWith({ maxRequestBytes: () => this.#uplink.maxRequestBytes }),
      outbox: watched,
      uplink: this.#uplink,
      meter: this.#meter,
      shrinking: () => undefined,
      show: (result) => results.add(result),
      deliver: () => Promise.resolve(),
      metrics,
      ...usual,
    });
    this.#uplink.onReply((id, reply, roundTripMs) => this.#pipeline.onReply(id, reply, roundTripMs));
  }

  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await this.#lifecycle.start('outbox', this.outbox);
    await this.#lifecycle.start('link ledger', this.#meter);
    await this.#lifecycle.start('pipeline', this.#pipeline);
    await this.#lifecycle.start('uplink', this.#uplink);
  }

  untilOnline(): Promise<void> {
    return until(() => this.#uplink.online, 'the device did not find the hub');
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  /** Resolves when it is on disk. */
  async accept(body: Uint8Array): Promise<void> {
    await this.#pipeline.accept(itemOf(body));
  }

  /** @throws the code of a Result that is a failure: INPUT_TOO_LARGE where the link does not carry such a request */
  async ask(body: Uint8Array): Promise<Asked> {
    const { id, first } = await this.#pipeline.accept(itemOf(body));
    const waiting = this.#waiting.get(id);
    const closed = new Promise<number>((resolve) => {
      if (waiting) waiting.onClosed = resolve;
    });
    const result = await first;
    const resultMs = performance.now() - (waiting?.putMonoMs ?? Number.NaN);
    if (isFailure(result)) throw new AppError(result.error.code, result.error.message);
    return { resultMs, closedMs: await closed };
  }

  /** Notes when an entry comes and goes. */
  #watched(outbox: DiskOutbox): Outbox {
    return new Proxy(outbox, {
      get: (target, name) => {
        if (name === 'put')
          return (request: Parameters<Outbox['put']>[0]) => {
            const putMonoMs = performance.now();
            this.#waiting.set(request.id, { putMonoMs, onClosed: () => undefined });
            return target.put(request);
          };
        if (name === 'close')
          return async (id: string) => {
            await target.close(id);
            const waiting = this.#waiting.get(id);
            this.#waiting.delete(id);
            waiting?.onClosed(performance.now() - waiting.putMonoMs);
          };
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}

const itemOf = (body: Uint8Array) => ({ input: { contentType: 'image/jpeg', body }, label: null });

/** Messages of the same size through the same broker, there and back, and nothing else. */
export class RawDevice {
  readonly #connection: MqttConnection;
  readonly #topics: ReturnType<typeof deviceTopics>;
  /** Replies come in the order of their requests. */
  readonly #waiting: (() => void)[] = [];

  private constructor(connection: MqttConnection, id: string) {
    this.#connection = connection;
    this.#topics = deviceTopics(id);
    connection.onMessage(() => this.#waiting.shift()?.());
  }

  static async open(url: string, { id, secret }: TestUser): Promise<RawDevice> {
    return new RawDevice(
      await connectMqtt({ url, clientId: id, username: id, password: secret, logger }),
      id,
    );
  }

  async start(): Promise<void> {
    await this.#connection.subscribe([this.#topics.reply]);
    await until(() => this.#connection.connected, 'the raw device did not connect');
  }

  /** @returns milliseconds there and back */
  async ask(body: Uint8Array): Promise<number> {
    const startedMonoMs = performance.now();
    const back = new Promise<void>((resolve) => this.#waiting.push(resolve));
    const sent = this.#connection.publish(this.#topics.results, body, { qos: 1 });
    await back;
    const ms = performance.now() - startedMonoMs;
    await sent;
    return ms;
  }

  stop(): Promise<void> {
    return this.#connection.end();
  }
}
