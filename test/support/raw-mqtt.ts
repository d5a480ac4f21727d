/** MQTT packets by hand, for what no client library would send, and a client that pours them out as fast as the broker takes them. */
import { createConnection, type Socket } from 'node:net';

/** MQTT 3.1.1 and 5, as on the wire. */
export type Level = 4 | 5;

export interface Connect {
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  readonly level?: Level;
  /** The broker keeps subscriptions and messages; with MQTT 5 for an hour. */
  readonly isKept?: boolean;
  readonly will?: {
    readonly topic: string;
    readonly payload: Buffer;
    readonly qos: number;
    readonly retain: boolean;
  };
  /** MQTT 5: in the place of those that it would have. */
  readonly properties?: Buffer;
}

export interface Publish {
  readonly topic: string;
  readonly payload?: Buffer;
  readonly qos?: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly id?: number;
  readonly level?: Level;
  readonly properties?: Buffer;
}

export const PINGREQ = Buffer.from([0xc0, 0]);

/** A field with its length before it. */
export const field = (value: Buffer | string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
};

/** MQTT 5 2.2.2: with their length before them. */
export const properties = (...all: Buffer[]): Buffer => {
  const body = Buffer.concat(all);
  return Buffer.concat([lengthOf(body.length), body]);
};
export const userProperty = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0x26]), field(name), field(value)]);

export function packet(firstByte: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([firstByte]), lengthOf(body.length), body]);
}

export function connectPacket(options: Connect): Buffer {
  const { clientId, username = '', password = '', level = 4, isKept = false, will } = options;
  const flags = 0xc0 | (isKept ? 0 : 2) | (will ? 4 | (will.qos << 3) | (will.retain ? 32 : 0) : 0);
  const session = properties(...(isKept ? [Buffer.from([0x11, 0, 0, 0x0e, 0x10])] : []));
  return packet(
    0x10,
    Buffer.concat([
      field('MQTT'),
      Buffer.from([level, flags, 0, 60]),
      ...(level === 5 ? [options.properties ?? session] : []),
      field(clientId),
      ...(will ? [...(level === 5 ? [properties()] : []), field(will.topic), field(will.payload)] : []),
      field(username),
      field(password),
    ]),
  );
}

export function publishPacket(options: Publish): Buffer {
  const { topic, payload = Buffer.alloc(0), qos = 0, retain = false, id = 1, level = 4 } = options;
  return packet(
    0x30 | (qos << 1) | (retain ? 1 : 0),
    Buffer.concat([
      field(topic),
      ...(qos > 0 ? [idOf(id)] : []),
      ...(level === 5 ? [options.properties ?? properties()] : []),
      payload,
    ]),
  );
}

export const subscribePacket = (filters: readonly string[], { qos = 1, level = 4 as Level } = {}): Buffer =>
  packet(
    0x82,
    Buffer.concat([
      idOf(1),
      ...(level === 5 ? [properties()] : []),
      ...filters.flatMap((filter) => [field(filter), Buffer.from([qos])]),
    ]),
  );

export const unsubscribePacket = (filters: readonly string[], level: Level = 4): Buffer =>
  packet(0xa2, Buffer.concat([idOf(1), ...(level === 5 ? [properties()] : []), ...filters.map(field)]));

/** PUBACK, PUBREC, PUBREL or PUBCOMP. */
export const acknowledgement = (firstByte: number, id: number): Buffer => packet(firstByte, idOf(id));

const idOf = (id: number): Buffer => Buffer.from([id >> 8, id & 0xff]);

function lengthOf(bytes: number): Buffer {
  const length: number[] = [];
  for (let left = bytes; ; left >>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return Buffer.from(length);
}

/** A connection on which anything may be written. */
export class RawClient {
  readonly socket: Socket;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  /** Resolves with the return code of the CONNACK, or undefined where there was none. */
  readonly connack: Promise<number | undefined>;

  constructor(port: number, first?: Buffer) {
    this.socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()));
    this.connack = new Promise((resolve) => {
      this.socket.once('data', (bytes: Buffer) => resolve(bytes[3]));
      void this.closed.then(() => resolve(undefined));
    });
    // Whoever watches sees what comes; the rest is read and forgotten.
    this.socket.on('data', () => undefined);
    if (first) this.socket.write(first);
  }

  /** It reads no more: what the broker sends it stays with the broker, after what the system takes. */
  stopReading(): void {
    this.socket.pause();
  }

  /** @returns whether there is a connection still */
  async write(bytes: Buffer): Promise<boolean> {
    if (this.socket.destroyed) return false;
    if (this.socket.write(bytes)) return true;
    await Promise.race([new Promise<void>((resolve) => this.socket.once('drain', resolve)), this.closed]);
    return !this.socket.destroyed;
  }

  end(): void {
    this.socket.destroy();
  }
}
