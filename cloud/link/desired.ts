/** Desired states, told to each device on its own topic, retained, so that one that is away finds it; and told once. */
import type { Desired } from '../../shared/contract/messages.ts';
import { deviceTopics } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

/** Tells each device the newest that is wanted of it. */
export class DesiredTeller {
  readonly #logger: Logger;
  /** Messages that devices are still to be told; the newest of each. */
  readonly #wanted = new Map<string, Desired>();
  /** Message that each has been told since the broker was last connected, which may have forgotten what came before. */
  readonly #told = new Map<string, string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Kept until `tell`, in the place of what was wanted of the device before. */
  want(deviceId: string, wanted: Desired): void {
    this.#wanted.set(deviceId, wanted);
  }

  /** Another broker, or the same after a restart: all may be new to it. */
  forget(): void {
    this.#told.clear();
  }

  /** The device is gone; one of its name is told anew. */
  forgetDevice(deviceId: string): void {
    this.#wanted.delete(deviceId);
    this.#told.delete(deviceId);
  }

  /** Publishes what has not been told yet; what could not be waits for the next time. */
  tell(connection: MqttConnection): void {
    const all = [...this.#wanted];
    this.#wanted.clear();
    for (const [deviceId, wanted] of all) {
      const message = JSON.stringify(wanted);
      if (this.#told.get(deviceId) === message) continue;
      this.#told.set(deviceId, message);
      connection
        .publish(deviceTopics(deviceId).desired, message, { qos: 1, retain: true })
        .catch((error: unknown) => {
          this.#told.delete(deviceId);
          this.#logger.failure('link.not_told', error, { deviceId });
          if (!this.#wanted.has(deviceId)) this.#wanted.set(deviceId, wanted);
        });
    }
  }
}
