/**
 * An MQTT connection in memory, with the manners of the real one (shared/mqtt/connect.ts): it publishes only while connected,
 * passes on only what was subscribed to, and fails what nobody acknowledged before it says that the link is gone.
 * The test plays the broker.
 */
import type { MqttConnection, SharedFilter } from '../../shared/mqtt/connect.ts';
import type { PublishOptions } from '../../shared/mqtt/session.ts';
import { AppError } from '../../shared/runtime/errors.ts';

export interface Published extends PublishOptions {
  readonly topic: string;
  readonly payload: Buffer;
  readonly text: string;
}

export class MemoryMqtt implements MqttConnection {
  connected = false;
  readonly failure = undefined;
  sharedSubscriptions = false;
  maxPacketBytes = Number.POSITIVE_INFINITY;
  readonly wireBytes = { up: 0, down: 0 };
  ended = false;
  /** False: publishes wait for `acknowledge`. */
  acknowledges = true;
  readonly published: Published[] = [];
  readonly filters = new Set<string>();
  readonly #waiting = new Set<{ readonly resolve: () => void; readonly reject: (error: AppError) => void }>();
  readonly #onConnect: (() => void)[] = [];
  readonly #onDisconnect: ((reason: string) => void)[] = [];
  readonly #onRefused: (() => void)[] = [];
  readonly #onMessage: ((topic: string, payload: Uint8Array, retained: boolean) => void)[] = [];

  onConnect(run: () => void): void {
    this.#onConnect.push(run);
  }

  onDisconnect(run: (reason: string) => void): void {
    this.#onDisconnect.push(run);
  }

  onRefused(run: () => void): void {
    this.#onRefused.push(run);
  }

  onFailure(): void {
    // It never fails: the test says when it is connected.
  }

  onMessage(run: (topic: string, payload: Uint8Array, retained: boolean) => void): void {
    this.#onMessage.push(run);
  }

  async subscribe(filters: readonly (string | SharedFilter)[]): Promise<void> {
    // It shares with nobody, as a broker that cannot.
    for (const one of filters) this.filters.add(typeof one === 'string' ? one : one.filter);
  }

  async publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<void> {
    if (!this.connected) throw new AppError('BROKER_UNREACHABLE');
    const bytes = Buffer.from(payload);
    this.published.push({ ...options, topic, payload: bytes, text: bytes.toString() });
    if (this.acknowledges || options.qos === 0) return;
    await new Promise<void>((resolve, reject) => this.#waiting.add({ resolve, reject }));
  }

  async end(): Promise<void> {
    this.ended = true;
    this.disconnect('ended');
  }

  /** The broker has taken the session. */
  connect(): void {
    this.connected = true;
    for (const run of this.#onConnect) run();
  }

  /** The broker does not take the credential. */
  refuse(): void {
    for (const run of this.#onRefused) run();
  }

  disconnect(reason = 'cut'): void {
    if (!this.connected) return;
    for (const { reject } of this.#waiting) reject(new AppError('BROKER_UNREACHABLE'));
    this.#waiting.clear();
    this.connected = false;
    for (const run of this.#onDisconnect) run(reason);
  }

  /** The broker acknowledges everything so far. */
  acknowledge(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** The broker has a message; one that no filter asks for goes nowhere. */
  receive(topic: string, payload: Uint8Array | string, retained = false): void {
    if (!this.connected || ![...this.filters].some((filter) => matches(filter, topic))) return;
    for (const run of this.#onMessage) run(topic, Buffer.from(payload), retained);
  }

  /** What has been published on a topic, as text. */
  on(topic: string): string[] {
    return this.published.filter((one) => one.topic === topic).map(({ text }) => text);
  }
}

/** Filters of ours have `+` and no `#`. */
function matches(filter: string, topic: string): boolean {
  const [wanted, given] = [filter.split('/'), topic.split('/')];
  return wanted.length === given.length && wanted.every((level, i) => level === '+' || level === given[i]);
}
