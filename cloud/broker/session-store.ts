/**
 * What aedes keeps for clients: sessions with their subscriptions and queues, retained messages, last wills. aedes' own store has no
 * bounds; here all that one client can make us keep is bounded, whatever it connects how often, and goes with its credential.
 * QoS 2 is nobody's in this protocol (docs/protocol.md#mqtt-topics), so that nothing is kept for it.
 */
import { Readable } from 'node:stream';
import type { AedesPublishPacket, Subscription } from 'aedes';
import { matchesFilter } from '../../shared/mqtt/topic-filter.ts';
import { AppError } from '../../shared/runtime/errors.ts';

/** Who may have what kept. */
export interface SessionStoreOptions {
  /** Asked for each filter: aedes hands over those that were refused, too, when one beside them was granted. */
  readonly maySubscribe: (clientId: string, filter: string) => boolean;
  /** Whether the topic is of somebody who is there: what is said for a device that is gone is not kept. */
  readonly mayRetain: (topic: string) => boolean;
}

/** Messages of one client that it has not acknowledged; replies to a device are far fewer, requests to a hub may burst. */
export const MAX_QUEUED = 10_000;
/** Payloads of them. */
export const MAX_QUEUED_BYTES = 32 * 1024 * 1024;

interface Client {
  readonly id: string;
}
interface Subscriber extends Subscription {
  readonly clientId: string;
}
interface Acknowledgeable {
  readonly messageId?: number | undefined;
}
/** A message, or a step of its delivery. */
interface Packet extends Acknowledgeable {
  readonly cmd: string;
  readonly topic: string;
  readonly payload: Uint8Array | string;
  /** Counts the messages of this broker. */
  readonly brokerCounter: number;
}
type Will = AedesPublishPacket & { clientId?: string };

/** The store of one broker, in memory: what must not be lost waits in outboxes. Its methods are those that aedes calls. */
export class SessionStore {
  readonly #options: SessionStoreOptions;
  readonly #filters = new FilterIndex();
  /** By client. */
  readonly #subscriptions = new Map<string, Map<string, Subscription>>();
  readonly #queues = new Map<string, Queue>();
  readonly #retained = new RetainedMessages();
  readonly #wills = new Map<string, Will>();
  #brokerId = '';

  constructor(options: SessionStoreOptions) {
    this.#options = options;
  }

  /** Forgets all that is kept for a client, and these retained messages. */
  forget(clientId: string, topics: readonly string[]): void {
    this.#unsubscribe(clientId, [...(this.#subscriptions.get(clientId)?.keys() ?? [])]);
    this.#queues.delete(clientId);
    this.#wills.delete(clientId);
    for (const topic of topics) this.#retained.delete(topic);
  }

  async setup({ id }: Client): Promise<void> {
    this.#brokerId = id;
  }

  async storeRetained(packet: Packet): Promise<void> {
    if (packet.payload.length === 0) this.#retained.delete(packet.topic);
    else if (this.#options.mayRetain(packet.topic)) this.#retained.set({ ...packet });
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(filters.flatMap((filter) => this.#retained.matching(filter)));
  }

  async addSubscriptions({ id }: Client, subscriptions: readonly Subscription[]): Promise<void> {
    const granted = subscriptions.filter(({ topic }) => this.#options.maySubscribe(id, topic));
    const own = this.#subscriptions.get(id) ?? new Map<string, Subscription>();
    if (granted.length > 0) this.#subscriptions.set(id, own);
    for (const { topic, qos } of granted) {
      own.set(topic, { topic, qos });
      // What goes out at QoS 0 waits for nobody.
      if (qos > 0) this.#filters.add(topic, id, qos);
      else this.#filters.delete(topic, id);
    }
  }

  async removeSubscriptions({ id }: Client, filters: readonly string[]): Promise<void> {
    this.#unsubscribe(id, filters);
  }

  async cleanSubscriptions({ id }: Client): Promise<void> {
    this.#unsubscribe(id, [...(this.#subscriptions.get(id)?.keys() ?? [])]);
  }

  async subscriptionsByClient({ id }: Client): Promise<Subscription[]> {
    return [...(this.#subscriptions.get(id)?.values() ?? [])];
  }

  async subscriptionsByTopic(topic: string): Promise<Subscriber[]> {
    return this.#filters.matching(topic);
  }

  async outgoingEnqueue({ clientId }: Pick<Subscriber, 'clientId'>, packet: Packet): Promise<void> {
    const queue = this.#queues.get(clientId) ?? new Queue();
    if (queue.put(packet)) this.#queues.set(clientId, queue);
  }

  async outgoingEnqueueCombi(subscribers: readonly Subscriber[], packet: Packet): Promise<void> {
    for (const subscriber of subscribers) await this.outgoingEnqueue(subscriber, packet);
  }

  /**
   * A message goes out under this id; one that has been acknowledged meanwhile goes out twice.
   *
   * @throws QUEUE_FULL where there was no room for it: who acknowledges nothing is cut off
   */
  async outgoingUpdate({ id }: Client, packet: Packet): Promise<void> {
    // A PUBREL would mean QoS 2.
    if (packet.cmd !== 'publish') throw noQos2();
    const queue = this.#queues.get(id);
    if (queue?.number(packet) === false && queue.hasRefused)
      throw new AppError('QUEUE_FULL', 'the client does not acknowledge what it is sent');
  }

  async outgoingClearMessageId({ id }: Client, packet: Acknowledgeable): Promise<Packet | undefined> {
    const queue = this.#queues.get(id);
    const found = queue?.take(packet);
    if (queue?.isEmpty) this.#queues.delete(id);
    return found;
  }

  outgoingStream({ id }: Client): Readable {
    return Readable.from(this.#queues.get(id)?.all() ?? []);
  }

  async incomingStorePacket(): Promise<void> {
    throw noQos2();
  }

  async incomingGetPacket(): Promise<never> {
    throw noQos2();
  }

  async incomingDelPacket(): Promise<void> {
    throw noQos2();
  }

  async putWill({ id }: Client, will: Will): Promise<void> {
    this.#wills.set(id, Object.assign(will, { brokerId: this.#brokerId, clientId: id }));
  }

  async delWill({ id }: Client): Promise<void> {
    this.#wills.delete(id);
  }

  /** Wills of brokers that are gone: there is one broker, and its wills go with it. */
  streamWill(): Readable {
    return Readable.from([]);
  }

  #unsubscribe(id: string, filters: readonly string[]): void {
    const own = this.#subscriptions.get(id);
    for (const filter of filters) {
      own?.delete(filter);
      this.#filters.delete(filter, id);
    }
    if (own?.size === 0) this.#subscriptions.delete(id);
  }
}

/** Messages of one client, oldest first, until it has acknowledged them. */
class Queue {
  readonly #packets = new Map<number, Packet>();
  /** Packet id on the wire to what it stands for. */
  readonly #counters = new Map<number, number>();
  /** Whether there was no room for a message since it was last empty. */
  hasRefused = false;
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#packets.size === 0;
  }

  /** @returns whether there was room */
  put(packet: Packet): boolean {
    const { length } = packet.payload;
    if (this.#packets.size >= MAX_QUEUED || this.#bytes + length > MAX_QUEUED_BYTES) {
      this.hasRefused = true;
      return false;
    }
    this.#packets.set(packet.brokerCounter, { ...packet });
    this.#bytes += length;
    return true;
  }

  /** @returns whether it is there */
  number({ brokerCounter, messageId }: Packet): boolean {
    const found = this.#packets.get(brokerCounter);
    if (!found || messageId === undefined) return false;
    this.#packets.set(brokerCounter, { ...found, messageId });
    this.#counters.set(messageId, brokerCounter);
    return true;
  }

  take({
    messageId,
    ...packet
  }: Acknowledgeable & Partial<Pick<Packet, 'brokerCounter'>>): Packet | undefined {
    const counter = messageId === undefined ? packet.brokerCounter : this.#counters.get(messageId);
    const found = counter === undefined ? undefined : this.#packets.get(counter);
    if (messageId !== undefined) this.#counters.delete(messageId);
    if (!found) return undefined;
    this.#packets.delete(found.brokerCounter);
    this.#bytes -= found.payload.length;
    return found;
  }

  all(): Packet[] {
    return [...this.#packets.values()];
  }
}

/** Who wants a topic at QoS 1: each filter once, however many clients have it, and a topic is looked up, not compared. */
class FilterIndex {
  readonly #byTopic = new Map<string, Map<string, Subscriber>>();
  readonly #byWildcard = new Map<string, Map<string, Subscriber>>();

  add(filter: string, clientId: string, qos: Subscription['qos']): void {
    const kind = this.#kindOf(filter);
    const clients = kind.get(filter) ?? new Map<string, Subscriber>();
    kind.set(filter, clients.set(clientId, { clientId, topic: filter, qos }));
  }

  delete(filter: string, clientId: string): void {
    const kind = this.#kindOf(filter);
    const clients = kind.get(filter);
    clients?.delete(clientId);
    if (clients?.size === 0) kind.delete(filter);
  }

  /** Each client once: its queue holds a message once. */
  matching(topic: string): Subscriber[] {
    const found = new Map(this.#byTopic.get(topic));
    for (const [filter, clients] of this.#byWildcard)
      if (matchesFilter(filter, topic)) for (const [id, one] of clients) found.set(id, one);
    return [...found.values()];
  }

  #kindOf(filter: string): Map<string, Map<string, Subscriber>> {
    return /[+#]/.test(filter) ? this.#byWildcard : this.#byTopic;
  }
}

/** Levels of a topic by which retained messages are found: `outrider/v1/hubs` is not looked for among all devices. */
const FOLDER_LEVELS = 3;

/** Last messages by topic. */
class RetainedMessages {
  readonly #folders = new Map<string, Map<string, Packet>>();

  set(packet: Packet): void {
    const name = folderOf(packet.topic);
    const folder = this.#folders.get(name) ?? new Map<string, Packet>();
    this.#folders.set(name, folder.set(packet.topic, packet));
  }

  delete(topic: string): void {
    const name = folderOf(topic);
    const folder = this.#folders.get(name);
    folder?.delete(topic);
    if (folder?.size === 0) this.#folders.delete(name);
  }

  matching(filter: string): Packet[] {
    const name = folderOf(filter);
    if (!/[+#]/.test(filter))
      return [this.#folders.get(name)?.get(filter)].filter((one) => one !== undefined);
    const folders = /[+#]/.test(name) ? [...this.#folders.values()] : [this.#folders.get(name)];
    return folders.flatMap((folder) =>
      [...(folder?.values() ?? [])].filter(({ topic }) => matchesFilter(filter, topic)),
    );
  }
}

const folderOf = (topic: string): string => topic.split('/', FOLDER_LEVELS).join('/');

const noQos2 = (): AppError => new AppError('INVARIANT_BROKEN', 'a QoS 2 message has come past the door');
