/**
 * The link to an MQTT broker, kept up for ever: session after session with full-jitter backoff between them, the filters
 * renewed on each. It publishes only while connected and queues nothing: what must not be lost waits in an outbox.
 *
 * state      | event                          -> state
 * connecting | CONNACK, filters renewed       -> connected
 * connecting | MQTT 5 refused, protocol auto  -> connecting at once with 3.1.1
 * connecting | refused, unreachable, untrusted -> waiting
 * connected  | closed, taken over             -> waiting
 * waiting    | backoff over                   -> connecting
 * any        | end()                          -> ended
 */
import { backoffDelayMs } from '../runtime/backoff.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Trust } from '../runtime/trust.ts';
import { type LastWill, MqttSession, type Opening, type PublishOptions, unreachable } from './session.ts';
import type { WireBytes } from './wire.ts';

/** Broker to stay connected to, as whom, and whom to trust. */
export interface MqttConnectOptions {
  /** `mqtt`, `mqtts`, `ws` or `wss`; the latter two with the path `/mqtt` unless another is given. */
  readonly url: string;
  readonly clientId: string;
  readonly username: string;
  /** A function is asked at each connect: credentials are renewed. */
  readonly password: string | (() => string);
  readonly will?: LastWill;
  /** `auto` (the default): 5, and 3.1.1 (written 4, as on the wire) where 5 is refused. */
  readonly protocol?: 'auto' | 4 | 5;
  /** For `mqtts` and `wss`: whom to believe, asked at each connect; the system's authorities, when left out. */
  readonly trust?: () => Trust;
  /** The broker keeps neither subscriptions nor messages for this client while it is away; false when left out. */
  readonly cleanSession?: boolean;
  readonly logger: Logger;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
  /** Measures sessions and the waits between them; the system's, when left out. */
  readonly clock?: Clock;
  /** Largest packet that is taken; 1 MiB when left out. What is larger an MQTT 5 broker keeps to itself. */
  readonly maxIncomingBytes?: number;
}

/** A filter whose messages a group of subscribers shares, where the broker can; each gets them all where it cannot. */
export interface SharedFilter {
  readonly filter: string;
  readonly group: string;
}

/** Reconnecting link to a broker; it queues nothing while it is down. */
export interface MqttConnection {
  readonly connected: boolean;
  /** Why the last try did not connect; undefined: it did, or there was none. */
  readonly failure: AppError | undefined;
  /** Whether the broker spreads a `$share` filter among subscribers; false until it has said so. */
  readonly sharedSubscriptions: boolean;
  /** The broker's limit for one packet, Infinity when unknown. */
  readonly maxPacketBytes: number;
  /** What has gone over the sockets of all its sessions, with TLS and WebSocket where they are. */
  readonly wireBytes: WireBytes;
  /** Each time, after the filters have been renewed. */
  onConnect(run: () => void): void;
  onDisconnect(run: (reason: string) => void): void;
  /** Each time that the broker refuses the credential. */
  onRefused(run: () => void): void;
  /** Each time that it cannot be reached, is not trusted, or refuses the credential or a filter: BROKER_UNREACHABLE, HUB_UNTRUSTED, LINK_REFUSED. */
  onFailure(run: (error: AppError) => void): void;
  onMessage(run: (topic: string, payload: Uint8Array, retained: boolean) => void): void;
  /**
   * QoS 1, remembered and renewed on each connect; while not connected it is only remembered.
   *
   * @throws LINK_REFUSED (and forgets the filters)
   */
  subscribe(filters: readonly (string | SharedFilter)[]): Promise<void>;
  /**
   * Resolves when the broker has it (QoS 1) or when it is written (QoS 0); never queues.
   *
   * @throws BROKER_UNREACHABLE at once when not connected, INPUT_TOO_LARGE, LINK_REFUSED, QUEUE_FULL
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<void>;
  /** Says goodbye; publishes nothing by itself. */
  end(): Promise<void>;
}

/** docs/design/link.md 2: 1 s to 60 s. */
const RETRY = { firstMs: 1_000, maxMs: 60_000 };
/** A refused credential seldom heals by itself: at least this long between two tries. */
const REFUSED_MIN_MS = 5_000;
/**
 * A session that lasted this long has earned a fresh backoff. Longer than the longest wait: two programs with one client id
 * throw each other out, without a word in 3.1.1, and must slow each other down instead of starting afresh each time.
 */
const STABLE_MS = 2 * RETRY.maxMs;
/** Who has been thrown out waits at least this long: never fight. */
const TAKEN_OVER_MIN_MS = 60_000;
/** A session that outlived the longest wait of the other program has ended the quarrel. */
const PEACE_MS = 2 * (TAKEN_OVER_MIN_MS + RETRY.maxMs);
/** As many short sessions in a row are no chance any more. */
const SUSPICIOUS_SESSIONS = 4;

/**
 * Comes back at once and connects in the background.
 *
 * @throws CONFIG_INVALID (the URL)
 */
export async function connectMqtt(options: MqttConnectOptions): Promise<MqttConnection> {
  const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
  if (!url?.hostname || !PROTOCOLS.includes(url.protocol))
    throw new AppError(
      'CONFIG_INVALID',
      'the MQTT address must be mqtt://host:port, mqtts://host:port, ws://host:port/path or wss://host:port/path',
    );
  return new KeptConnection(options, url);
}

const PROTOCOLS = ['mqtt:', 'mqtts:', 'ws:', 'wss:'];

class KeptConnection implements MqttConnection {
  readonly #options: MqttConnectOptions;
  /** host:port, for people; never the user info of the URL. */
  readonly #broker: string;
  readonly #clock: Clock;
  readonly #url: URL;
  readonly #filters = new Set<string | SharedFilter>();
  readonly #onConnect: (() => void)[] = [];
  readonly #onDisconnect: ((reason: string) => void)[] = [];
  readonly #onRefused: (() => void)[] = [];
  readonly #onFailure: ((error: AppError) => void)[] = [];
  readonly #onMessage: ((topic: string, payload: Uint8Array, retained: boolean) => void)[] = [];
  readonly #ending = new AbortController();
  readonly #loop: Promise<void>;
  #protocolVersion: 4 | 5;
  #attempt = 0;
  /** Sessions in a row that did not last. */
  #shortSessions = 0;
  #isTakenOver = false;
  /** Of the sessions before this one. */
  #pastBytes: WireBytes = { up: 0, down: 0 };
  /** The session of this attempt, open or not. */
  #session: MqttSession | undefined;
  #isOpen = false;
  /** What has been reported in this episode: once, not at each try. */
  readonly #reported = new Set<string>();
  connected = false;
  failure: AppError | undefined;
  sharedSubscriptions = false;
  maxPacketBytes = Number.POSITIVE_INFINITY;

  constructor(options: MqttConnectOptions, url: URL) {
    this.#options = options;
    this.#url = url;
    this.#broker = url.host;
    this.#clock = options.clock ?? systemClock;
    this.#protocolVersion = options.protocol === 4 ? 4 : 5;
    this.#loop = this.#keepUp();
  }

  get wireBytes(): WireBytes {
    const { up, down } = this.#session?.wireBytes ?? { up: 0, down: 0 };
    return { up: this.#pastBytes.up + up, down: this.#pastBytes.down + down };
  }

  onConnect(run: () => void): void {
    this.#onConnect.push(run);
  }

  onDisconnect(run: (reason: string) => void): void {
    this.#onDisconnect.push(run);
  }

  onRefused(run: () => void): void {
    this.#onRefused.push(run);
  }

  onFailure(run: (error: AppError) => void): void {
    this.#onFailure.push(run);
  }

  onMessage(run: (topic: string, payload: Uint8Array, retained: boolean) => void): void {
    this.#onMessage.push(run);
  }

  async subscribe(filters: readonly (string | SharedFilter)[]): Promise<void> {
    for (const filter of filters) this.#filters.add(filter);
    if (!this.#isOpen) return;
    try {
      await this.#session?.subscribe(this.#toFilters(filters));
    } catch (error) {
      if (isAppError(error, 'BROKER_UNREACHABLE')) return;
      for (const filter of filters) this.#filters.delete(filter);
      throw error;
    }
  }

  async publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<void> {
    if (!this.connected || !this.#session) throw unreachable('not connected');
    await this.#session.publish(topic, payload, options);
  }

  async end(): Promise<void> {
    if (!this.#ending.signal.aborted) {
      this.#ending.abort(new AppError('STOPPING'));
      await this.#session?.end();
    }
    await this.#loop;
  }

  async #keepUp(): Promise<void> {
    // Listeners are added after the constructor.
    await Promise.resolve();
    while (!this.#ending.signal.aborted) {
      const delayMs = await this.#liveOnce();
      await this.#clock.sleep(delayMs, this.#ending.signal, true).catch(() => undefined);
    }
  }

  /** One session from CONNECT to close. @returns how long to wait before the next, in milliseconds */
  async #liveOnce(): Promise<number> {
    this.#pastBytes = this.wireBytes;
    const { password } = this.#options;
    const session = new MqttSession({
      url: this.#url,
      clientId: this.#options.clientId,
      username: this.#options.username,
      password: typeof password === 'string' ? password : password(),
      will: this.#options.will,
      protocolVersion: this.#protocolVersion,
      cleanSession: this.#options.cleanSession ?? false,
      trust: this.#options.trust?.() ?? {},
      maxIncomingBytes: this.#options.maxIncomingBytes,
      onMessage: (topic, payload, retained) =>
        this.#tell('message', this.#onMessage, topic, payload, retained),
    });
    this.#session = session;
    const opening = await session.opened;
    if (opening.outcome !== 'open') return this.#afterFailure(opening);
    const openedAtMonoMs = this.#clock.nowMonoMs();
    await this.#afterOpen(session, opening);
    const { reason, isTakenOver } = await session.closed;
    this.#isOpen = false;
    this.#noteLifetime(this.#clock.nowMonoMs() - openedAtMonoMs, isTakenOver);
    if (this.connected) {
      this.connected = false;
      this.#options.logger.info('mqtt.disconnected', { broker: this.#broker, reason });
      this.#tell('disconnect', this.#onDisconnect, reason);
    }
    return isTakenOver ? TAKEN_OVER_MIN_MS + this.#nextDelayMs() : this.#nextDelayMs();
  }

  #toFilters(filters: Iterable<string | SharedFilter>): string[] {
    return Array.from(filters, (one) => {
      if (typeof one === 'string') return one;
      return this.sharedSubscriptions ? `$share/${one.group}/${one.filter}` : one.filter;
    });
  }

  #noteLifetime(livedMs: number, isTakenOver: boolean): void {
    if (livedMs >= PEACE_MS) this.#isTakenOver = false;
    if (livedMs >= STABLE_MS) {
      this.#shortSessions = 0;
      this.#attempt = 0;
    }
    if (isTakenOver) this.#noteTakeover();
    if (isTakenOver || livedMs >= STABLE_MS) return;
    this.#attempt = this.#shortSessions++;
    if (this.#shortSessions === SUSPICIOUS_SESSIONS)
      this.#options.logger.warn('mqtt.unstable', {
        broker: this.#broker,
        clientId: this.#options.clientId,
        hint: 'does another program use this client id?',
      });
  }

  #noteTakeover(): void {
    if (this.#isTakenOver) return;
    this.#isTakenOver = true;
    this.#options.logger.warn('mqtt.taken_over', {
      broker: this.#broker,
      clientId: this.#options.clientId,
      hint: 'another program uses this device’s id',
    });
  }

  async #afterOpen(session: MqttSession, { traits }: Extract<Opening, { outcome: 'open' }>): Promise<void> {
    const { logger } = this.#options;
    this.#isOpen = true;
    this.sharedSubscriptions = traits.sharedSubscriptions;
    this.maxPacketBytes = traits.maxPacketBytes;
    this.#reported.clear();
    let refused: unknown;
    try {
      await session.subscribe(this.#toFilters(this.#filters));
    } catch (error) {
      if (isAppError(error, 'BROKER_UNREACHABLE')) return;
      refused = error;
    }
    if (this.#ending.signal.aborted) return;
    this.connected = true;
    this.failure = undefined;
    logger.info('mqtt.connected', { broker: this.#broker, protocolVersion: this.#protocolVersion });
    this.#tell('connect', this.#onConnect);
    if (refused !== undefined) this.#report('mqtt.subscription_refused', toAppError(refused));
  }

  #afterFailure(opening: Exclude<Opening, { outcome: 'open' }>): number {
    if (this.#ending.signal.aborted) return 0;
    const mayFallBack = this.#protocolVersion === 5 && (this.#options.protocol ?? 'auto') === 'auto';
    if (opening.outcome === 'refused' && opening.why === 'protocol' && mayFallBack) {
      this.#protocolVersion = 4;
      return 0;
    }
    if (opening.outcome === 'refused') {
      const what = opening.why === 'credential' ? 'credential' : 'protocol version';
      this.#failed(
        'mqtt.refused',
        new AppError(
          'LINK_REFUSED',
          `the broker ${this.#broker} refuses the ${what} of ${this.#options.clientId}: ${opening.reason}`,
        ),
      );
      if (opening.why === 'credential') this.#tell('refused', this.#onRefused);
      return REFUSED_MIN_MS + this.#nextDelayMs();
    }
    if (opening.outcome === 'untrusted') {
      this.#failed(
        'mqtt.untrusted',
        new AppError(
          'HUB_UNTRUSTED',
          `the certificate of the broker ${this.#broker} is not trusted: ${opening.reason}`,
        ),
      );
      return REFUSED_MIN_MS + this.#nextDelayMs();
    }
    this.#failed('mqtt.unreachable', unreachable(`${this.#broker}: ${opening.reason}`));
    // A silent close may mean "I don't know MQTT 5", or just a broker that is going down: try both in turn.
    if (opening.silent && (this.#options.protocol ?? 'auto') === 'auto')
      this.#protocolVersion = this.#protocolVersion === 5 ? 4 : 5;
    return this.#nextDelayMs();
  }

  #nextDelayMs(): number {
    const { random } = this.#options;
    return backoffDelayMs(this.#attempt++, { ...RETRY, ...(random && { random }) });
  }

  #failed(event: string, error: AppError): void {
    this.failure = error;
    this.#report(event, error);
  }

  #report(event: string, error: AppError): void {
    this.#tell('failure', this.#onFailure, error);
    if (this.#reported.has(event)) return;
    this.#reported.add(event);
    this.#options.logger.failure(event, error, { broker: this.#broker });
  }

  /** A listener that throws must not take the link, or the other listeners, down. */
  #tell<Args extends unknown[]>(what: string, listeners: ((...args: Args) => void)[], ...args: Args): void {
    for (const run of listeners) {
      try {
        run(...args);
      } catch (error) {
        this.#options.logger.failure('mqtt.listener_failed', error, { what });
      }
    }
  }
}
