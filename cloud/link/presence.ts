/** The hub's own presence: retained, told at each connection and before it goes, and left to the broker as its last will. */
import type { HubPresence } from '../../shared/contract/messages.ts';
import { hubTopics } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { LastWill } from '../../shared/mqtt/session.ts';
import type { Clock } from '../../shared/runtime/clock.ts';

/** Presence messages of this run of the hub. */
export class OwnPresence {
  readonly #topic: string;
  readonly #instance: string;
  readonly #clock: Clock;

  /** @param options.instance name of this run of the hub */
  constructor(options: { readonly hubId: string; readonly instance: string; readonly clock: Clock }) {
    this.#topic = hubTopics(options.hubId).presence;
    this.#instance = options.instance;
    this.#clock = options.clock;
  }

  /** Last will: the broker says it for the hub when it is gone. */
  will(): LastWill {
    return { topic: this.#topic, payload: this.#message(false), retain: true };
  }

  /** Resolves when the broker has it. @throws BROKER_UNREACHABLE */
  async tell(connection: MqttConnection, online: boolean): Promise<void> {
    await connection.publish(this.#topic, this.#message(online), { qos: 1, retain: true });
  }

  #message(online: boolean): string {
    const presence: HubPresence = { online, sinceAtMs: this.#clock.nowAtMs(), instance: this.#instance };
    return JSON.stringify(presence);
  }
}
