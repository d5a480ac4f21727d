/**
 * Retained messages that the broker should not keep: of a device that is gone, or where the protocol retains nothing. The embedded broker
 * keeps none; Mosquitto 2.0.11 cannot deny it, so that the hub takes back what it sees of them (docs/decisions/0025).
 */
import type { MqttConnection } from '../../shared/mqtt/connect.ts';

/** A device has seven topics that it writes; what does not fit is seen again at the next connect. */
const MAX_TOPICS = 10_000;

/** Takes retained messages back, each topic once at a time. */
export class TakenBack {
  /** Topics that wait for a connection, or for the broker's acknowledgement. */
  readonly #topics = new Map<string, 'waits' | 'said'>();

  want(topic: string): void {
    if (this.#topics.size < MAX_TOPICS && !this.#topics.has(topic)) this.#topics.set(topic, 'waits');
  }

  /** Publishes what has not been said yet: an empty retained message, [MQTT-3.3.1-10]. */
  tell(connection: MqttConnection): void {
    if (!connection.connected) return;
    for (const [topic, state] of this.#topics) {
      if (state === 'said') continue;
      this.#topics.set(topic, 'said');
      connection.publish(topic, '', { qos: 1, retain: true }).then(
        () => this.#topics.delete(topic),
        // It comes again with the filters.
        () => this.#topics.delete(topic),
      );
    }
  }
}
