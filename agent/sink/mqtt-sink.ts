/** Results on an MQTT topic of any broker, QoS 1: the broker's acknowledgement is what "taken" means. */
import type { Result } from '../../shared/contract/result.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { Sink } from '../ports.ts';

/** Sink that publishes Results on an MQTT topic. */
export class MqttSink implements Sink {
  readonly name: string;
  readonly type = 'mqtt';
  readonly #connection: MqttConnection;
  readonly #topic: string;
  readonly #qos: 0 | 1;
  readonly #retain: boolean;
  readonly #onSent: ((result: Result, bytes: number) => void) | undefined;

  /** @param qos 0 for the device's own shared results, which may be missed; 1 where the topic is the product */
  constructor(options: {
    readonly connection: MqttConnection;
    readonly topic: string;
    readonly qos: 0 | 1;
    /** The broker keeps the last one. */
    readonly retain?: boolean;
    /** A Result has left. */
    readonly onSent?: (result: Result, bytes: number) => void;
  }) {
    this.name = `mqtt:${options.topic}`;
    this.#connection = options.connection;
    this.#topic = options.topic;
    this.#qos = options.qos;
    this.#retain = options.retain ?? false;
    this.#onSent = options.onSent;
  }

  /** @throws BROKER_UNREACHABLE, HUB_UNTRUSTED, LINK_REFUSED */
  async put(result: Result): Promise<void> {
    const { connected, failure } = this.#connection;
    // Why it is away says more than that it is.
    if (!connected && failure) throw failure;
    const payload = JSON.stringify(result);
    await this.#connection.publish(this.#topic, payload, { qos: this.#qos, retain: this.#retain });
    this.#onSent?.(result, Buffer.byteLength(payload));
  }
}
