/**
 * One connection to a broker, from CONNECT to close. It never reconnects and never sends again: `connect.ts` opens the
 * next one, and what was not acknowledged belongs to the outbox. The only file that speaks to mqtt.js; its errors become ours here.
 */
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import { connect, type IClientOptions, type ISubscriptionGrant, type MqttClient } from 'mqtt';
import { AppError, textOf } from '../runtime/errors.ts';
import { isUntrusted, type Trust, toTlsOptions } from '../runtime/trust.ts';
import { writeNumbersAsNeeded } from './packets.ts';
import { Wire, type WireBytes } from './wire.ts';

/** Message that the broker publishes for a client that vanishes without a goodbye. */
export interface LastWill {
  readonly topic: string;
  readonly payload: Uint8Array | string;
  readonly retain: boolean;
}

/** Broker, credential and protocol version of a single connection. */
export interface SessionOptions {
  readonly url: URL;
  readonly clientId: string;
  readonly username: string;
  readonly password: string;
  readonly will: LastWill | undefined;
  readonly protocolVersion: 4 | 5;
  /** The broker keeps nothing of this client when it is away. */
  readonly cleanSession: boolean;
  /** For `mqtts` and `wss`. */
  readonly trust: Trust;
  /** Largest packet that is taken; as MAX_INCOMING_BYTES when left out. */
  readonly maxIncomingBytes?: number | undefined;
  readonly onMessage: (topic: string, payload: Uint8Array, retained: boolean) => void;
}

/** What the broker said it can do. */
interface BrokerTraits {
  readonly sharedSubscriptions: boolean;
  /** Infinity when the broker did not say. */
  readonly maxPacketBytes: number;
}

/** How an attempt to connect ended; a value, not an error. */
export type Opening =
  | { readonly outcome: 'open'; readonly traits: BrokerTraits }
  | { readonly outcome: 'refused'; readonly why: 'protocol' | 'credential'; readonly reason: string }
  /** The certificate that the broker shows is not believed. */
  | { readonly outcome: 'untrusted'; readonly reason: string }
  /** `silent`: it took the connection and closed it without a CONNACK, as brokers do that don't know MQTT 5. */
  | { readonly outcome: 'failed'; readonly silent: boolean; readonly reason: string };

/** How a session ended. */
export interface Ending {
  readonly reason: string;
  /** Another connection with the same client id has taken its place; only MQTT 5 tells. */
  readonly isTakenOver: boolean;
}

/** A request lives at most this long, so nothing older is worth keeping for us in the broker. */
const SESSION_EXPIRY_SECONDS = 86_400;
/** Messages that the broker may send before we acknowledge; bounds what a burst puts into our memory. */
const RECEIVE_MAXIMUM = 256;
/** Eight times our own largest message: anything above is not ours. */
const MAX_INCOMING_BYTES = 1024 * 1024;
/** Packet ids end at 65,535, where mqtt.js loses messages without a word (docs/design/link.md 2). */
const MAX_IN_FLIGHT = 16_384;
const KEEPALIVE_SECONDS = 30;
const CONNECT_TIMEOUT_MS = 15_000;
/** How long a goodbye may wait for acknowledgements. */
const GOODBYE_MS = 2_000;

/** MQTT 3.1.1 table 3.1 and MQTT 5 table 3-1. */
const PROTOCOL_REFUSED = new Set([1, 132]);
const CREDENTIAL_REFUSED = new Set([2, 4, 5, 133, 134, 135, 138, 140]);
const NOT_AUTHORIZED = 135;
const PACKET_TOO_LARGE = 149;
/** MQTT 5 4.13, DISCONNECT */
const SESSION_TAKEN_OVER = 142;
/** [MQTT-6.0.0] names no path; this is what brokers listen on. */
const WEB_SOCKET_PATH = '/mqtt';

/** One connection to a broker, over as soon as it closes. */
export class MqttSession {
  readonly opened: Promise<Opening>;
  readonly closed: Promise<Ending>;
  readonly #client: MqttClient;
  readonly #wire = new Wire();
  /** Rejects of publishes that nobody has acknowledged yet. */
  readonly #inFlight = new Set<(error: AppError) => void>();
  #maxPacketBytes = Number.POSITIVE_INFINITY;
  #lastError: (Error & { code?: unknown }) | undefined;
  /** Of the DISCONNECT that the broker sent, MQTT 5. */
  #goodbyeCode: number | undefined;

  constructor(options: SessionOptions) {
    const { url } = options;
    writeNumbersAsNeeded();
    this.#client = connect({
      ...toAddress(url),
      ...toClientOptions(options),
      ...toTransportOptions(options, this.#wire),
    });
    if (!isWebSocket(url)) this.#wire.takeSocket(this.#client.stream as Socket, url.protocol === 'mqtts:');
    this.opened = this.#watchOpening();
    this.closed = this.#watchClosing();
    this.#client.on('message', (topic, payload, packet) => options.onMessage(topic, payload, packet.retain));
  }

  /** What has gone over its socket, so far or in all. */
  get wireBytes(): WireBytes {
    return this.#wire.bytes;
  }

  /** @throws LINK_REFUSED when the broker does not grant one of them, BROKER_UNREACHABLE */
  async subscribe(filters: readonly string[]): Promise<void> {
    if (filters.length === 0) return;
    let granted: ISubscriptionGrant[];
    try {
      // [MQTT-3.3.1-13]: says of a message as it comes whether it is kept; 3.1.1 says it of older ones only.
      granted = await this.#client.subscribeAsync([...filters], { qos: 1, rap: true });
    } catch (error) {
      throw this.#client.connected
        ? new AppError('LINK_REFUSED', `the broker does not grant ${filters.join(', ')}`, { cause: error })
        : unreachable('the connection was lost', error);
    }
    const refused = granted.filter(({ qos }) => qos >= 128).map(({ topic }) => topic);
    if (refused.length > 0)
      throw new AppError('LINK_REFUSED', `the broker does not grant ${refused.join(', ')}`);
  }

  /** @throws BROKER_UNREACHABLE, INPUT_TOO_LARGE (over the broker's limit), LINK_REFUSED, QUEUE_FULL */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<void> {
    const bytes = typeof payload === 'string' ? Buffer.from(payload, 'utf8') : asBuffer(payload);
    const packetBytes = packetSize(topic, bytes.length);
    if (packetBytes > this.#maxPacketBytes) {
      // Sent anyway it would end the connection, again at each reconnect (docs/design/link.md 2).
      throw new AppError(
        'INPUT_TOO_LARGE',
        `the message is ${packetBytes} bytes, the broker takes at most ${this.#maxPacketBytes}`,
      );
    }
    if (this.#inFlight.size >= MAX_IN_FLIGHT)
      throw new AppError('QUEUE_FULL', `${MAX_IN_FLIGHT} messages wait for the broker's acknowledgement`);
    return new Promise((resolve, reject) => {
      this.#inFlight.add(reject);
      this.#client.publish(topic, bytes, { qos: options.qos, retain: options.retain ?? false }, (error) => {
        this.#inFlight.delete(reject);
        if (error) reject(toPublishError(error, topic));
        else resolve();
      });
    });
  }

  /** Says goodbye, so that the last will is not published; waits a moment for acknowledgements. */
  async end(): Promise<void> {
    const force = setTimeout(() => this.#client.stream.destroy(), GOODBYE_MS);
    this.#client.end(!this.#client.connected);
    await this.closed;
    clearTimeout(force);
  }

  #watchOpening(): Promise<Opening> {
    const client = this.#client;
    // mqtt.js says nothing of errors without a code, such as an HTTP answer to the upgrade.
    client.stream.on('error', (error) => {
      this.#lastError ??= error;
    });
    client.on('disconnect', ({ reasonCode }) => {
      this.#goodbyeCode = reasonCode;
    });
    client.on('error', (error) => {
      this.#lastError = error;
      // mqtt.js leaves the socket open after some errors (a packet that it cannot read): a session ends with its first error.
      client.stream.destroy();
    });
    return new Promise((resolve) => {
      client.once('connect', ({ properties }) => {
        const isVersion5 = client.options.protocolVersion === 5;
        this.#maxPacketBytes = properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY;
        resolve({
          outcome: 'open',
          traits: {
            // [MQTT-3.2.2.3.13]: absent means that they are available
            sharedSubscriptions: isVersion5 && properties?.sharedSubscriptionAvailable !== false,
            maxPacketBytes: this.#maxPacketBytes,
          },
        });
      });
      client.once('close', () => resolve(toOpening(this.#lastError, this.#wire.isUp)));
    });
  }

  #watchClosing(): Promise<Ending> {
    return new Promise((resolve) => {
      this.#client.once('close', () => {
        const ending = toEnding(this.#lastError, this.#goodbyeCode);
        for (const reject of this.#inFlight) reject(unreachable('the connection was lost', this.#lastError));
        this.#inFlight.clear();
        this.#client.end(true);
        resolve(ending);
      });
    });
  }
}

/** Delivery of one message: 0 is sent once, 1 waits for the broker’s acknowledgement. */
export interface PublishOptions {
  readonly qos: 0 | 1;
  readonly retain?: boolean;
}

function toClientOptions(options: SessionOptions): IClientOptions {
  const { will, protocolVersion, cleanSession } = options;
  return {
    clientId: options.clientId,
    username: options.username,
    password: options.password,
    protocolVersion,
    clean: cleanSession,
    // One session is one connection: the fixed period of mqtt.js would bring a fleet back in one wave.
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    keepalive: KEEPALIVE_SECONDS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    ...(will && {
      will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1 as const, retain: will.retain },
    }),
    ...(protocolVersion === 5 && {
      properties: {
        ...(!cleanSession && { sessionExpiryInterval: SESSION_EXPIRY_SECONDS }),
        receiveMaximum: RECEIVE_MAXIMUM,
        maximumPacketSize: options.maxIncomingBytes ?? MAX_INCOMING_BYTES,
      },
    }),
  };
}

/** Taken apart here: from an address as text mqtt.js asks `url.parse`, which Node warns of. */
function toAddress(url: URL): IClientOptions {
  const auth = [url.username, url.password].filter(Boolean).map(decodeURIComponent).join(':');
  return {
    protocol: url.protocol.replace(/:$/, '') as NonNullable<IClientOptions['protocol']>,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    ...(url.port !== '' && { port: Number(url.port) }),
    path: `${url.pathname}${url.search}`,
    ...(auth !== '' && { auth }),
  };
}

const isWebSocket = ({ protocol }: URL): boolean => protocol === 'ws:' || protocol === 'wss:';

/** What lies under MQTT. */
function toTransportOptions(
  { url, trust, maxIncomingBytes = MAX_INCOMING_BYTES }: SessionOptions,
  wire: Wire,
): IClientOptions {
  if (!isWebSocket(url)) return toTlsOptions(trust) as IClientOptions;
  const target = new URL(url);
  if (target.pathname === '/') target.pathname = WEB_SOCKET_PATH;
  target.username = '';
  target.password = '';
  return {
    // mqtt.js loses the brackets of an IPv6 host.
    transformWsUrl: () => target.href,
    wsOptions: {
      ...toTlsOptions(trust),
      perMessageDeflate: false,
      // A frame may hold several packets; none that large is ours.
      maxPayload: 2 * maxIncomingBytes,
      handshakeTimeout: CONNECT_TIMEOUT_MS,
      finishRequest(request: ClientRequest) {
        wire.takeRequest(request);
        request.end();
      },
    },
  };
}

function toEnding(error: Error | undefined, goodbyeCode: number | undefined): Ending {
  const isTakenOver = goodbyeCode === SESSION_TAKEN_OVER;
  if (isTakenOver) return { reason: 'another program uses this device’s id', isTakenOver };
  const said = goodbyeCode === undefined ? '' : ` (reason code ${goodbyeCode})`;
  return { reason: error ? textOf(error) : `the broker closed the connection${said}`, isTakenOver };
}

function toOpening(error: (Error & { code?: unknown }) | undefined, isSocketUp: boolean): Opening {
  const code = error?.code;
  const reason = error ? textOf(error) : 'the broker closed the connection';
  if (isUntrusted(error)) return { outcome: 'untrusted', reason };
  if (typeof code === 'number' && PROTOCOL_REFUSED.has(code))
    return { outcome: 'refused', why: 'protocol', reason };
  if (typeof code === 'number' && CREDENTIAL_REFUSED.has(code))
    return { outcome: 'refused', why: 'credential', reason };
  return { outcome: 'failed', silent: isSocketUp && typeof code !== 'number', reason };
}

function toPublishError(error: Error & { code?: unknown }, topic: string): AppError {
  if (error.code === NOT_AUTHORIZED)
    return new AppError('LINK_REFUSED', `the broker does not take messages to ${topic}`, { cause: error });
  if (error.code === PACKET_TOO_LARGE)
    return new AppError('INPUT_TOO_LARGE', 'the message is over the limit of the broker', { cause: error });
  return unreachable('the broker did not take the message', error);
}

/** The one error for "not now": the sender asks again when the link is back. */
export const unreachable = (why: string, cause?: unknown): AppError =>
  new AppError('BROKER_UNREACHABLE', `the MQTT broker cannot be reached: ${why}`, { cause });

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Upper bound of a PUBLISH packet: fixed header, topic, packet id, no properties. */
const packetSize = (topic: string, payloadBytes: number): number =>
  5 + 2 + Buffer.byteLength(topic) + 2 + 1 + payloadBytes;
