/**
 * Bounds on what aedes keeps for clients that are away: its memory store has none. It also stores filters that were refused
 * when they came in one SUBSCRIBE with a granted one, and would queue their messages for ever.
 */
import type { Aedes, Client, Subscription } from 'aedes';

/** The part of aedes-persistence that is bounded here. */
interface Persistence {
  addSubscriptions(client: Pick<Client, 'id'>, subscriptions: Subscription[]): Promise<void>;
  outgoingEnqueueCombi(subscribers: { clientId: string }[], packet: StoredPacket): Promise<void>;
  outgoingClearMessageId(client: Pick<Client, 'id'>, packet: unknown): Promise<StoredPacket | undefined>;
  outgoingStream(client: Pick<Client, 'id'>): AsyncIterable<StoredPacket>;
  cleanSubscriptions(client: Pick<Client, 'id'>): Promise<void>;
}
interface StoredPacket {
  readonly payload: Uint8Array | string;
}

/** Mosquitto's default is 1,000 messages; replies to one device are far fewer, requests to a hub may burst. */
const MAX_QUEUED = 10_000;
const MAX_QUEUED_BYTES = 32 * 1024 * 1024;

interface Queue {
  messages: number;
  bytes: number;
}

/** The bounds of all MQTT sessions of this broker. */
export class BoundedSessions {
  readonly #persistence: Persistence;
  readonly #queues = new Map<string, Queue>();
  /** Messages that were not kept for a client that is away, since the start. */
  dropped = 0;

  constructor(broker: Aedes, maySubscribe: (clientId: string, filter: string) => boolean) {
    // aedes makes its store itself and has no typed way to reach it.
    const persistence = (broker as unknown as { persistence: Persistence }).persistence;
    this.#persistence = persistence;
    const add = persistence.addSubscriptions.bind(persistence);
    const enqueue = persistence.outgoingEnqueueCombi.bind(persistence);
    const clear = persistence.outgoingClearMessageId.bind(persistence);
    persistence.addSubscriptions = (client, subscriptions) =>
      add(
        client,
        subscriptions.filter(({ topic }) => maySubscribe(client.id, topic)),
      );
    persistence.outgoingEnqueueCombi = (subscribers, packet) =>
      enqueue(
        subscribers.filter(({ clientId }) => this.#admit(clientId, packet)),
        packet,
      );
    persistence.outgoingClearMessageId = async (client, packet) => {
      const cleared = await clear(client, packet);
      if (cleared) this.#release(client.id, cleared);
      return cleared;
    };
  }

  /** Forgets all that is kept for a client whose credential is gone. */
  async forget(clientId: string): Promise<void> {
    await this.#persistence.cleanSubscriptions({ id: clientId });
    const queued: StoredPacket[] = [];
    for await (const packet of this.#persistence.outgoingStream({ id: clientId })) queued.push(packet);
    for (const packet of queued) await this.#persistence.outgoingClearMessageId({ id: clientId }, packet);
    this.#queues.delete(clientId);
  }

  #admit(clientId: string, packet: StoredPacket): boolean {
    const queue = this.#queues.get(clientId) ?? { messages: 0, bytes: 0 };
    if (queue.messages >= MAX_QUEUED || queue.bytes + packet.payload.length > MAX_QUEUED_BYTES) {
      this.dropped += 1;
      return false;
    }
    queue.messages += 1;
    queue.bytes += packet.payload.length;
    this.#queues.set(clientId, queue);
    return true;
  }

  #release(clientId: string, packet: StoredPacket): void {
    const queue = this.#queues.get(clientId);
    if (!queue) return;
    queue.messages -= 1;
    queue.bytes -= packet.payload.length;
    if (queue.messages <= 0) this.#queues.delete(clientId);
  }
}
