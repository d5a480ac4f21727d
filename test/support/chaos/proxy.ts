/**
 * A TCP proxy of our own that makes a link as bad as links get: late, slow, lossy, damaged, half open, cut, reset; each switched
 * while it runs and for each direction. It stands between a program of ours and the broker, because netem isn't in every kernel.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { type Clock, systemClock } from '../../../shared/runtime/clock.ts';
import type { Random } from '../../../shared/runtime/random.ts';
import { freePort } from '../ports.ts';
import { Channel, type Faults, NO_FAULTS } from './channel.ts';

/** `up` is from who connects to whom it connects to. */
export type Direction = 'up' | 'down';

export interface ChaosProxyOptions {
  readonly targetPort: number;
  readonly random: Random;
  /** The system's when left out. */
  readonly clock?: Clock;
}

interface Connection {
  readonly near: Socket;
  readonly far: Socket;
  readonly channels: Readonly<Record<Direction, Channel>>;
}

const DIRECTIONS: readonly Direction[] = ['up', 'down'];
const HOST = '127.0.0.1';

export class ChaosProxy {
  readonly #options: ChaosProxyOptions;
  readonly #connections = new Set<Connection>();
  readonly #faults: Record<Direction, Faults> = { up: NO_FAULTS, down: NO_FAULTS };
  #server: Server | undefined;
  #port = 0;
  #isRefusing = false;
  /** Delivered so far. */
  readonly bytes: Record<Direction, number> = { up: 0, down: 0 };

  constructor(options: ChaosProxyOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `mqtt://${HOST}:${this.#port}`;
  }

  /** Open now, half-open ones included. */
  get connections(): number {
    return this.#connections.size;
  }

  /** What waits in it, of all connections. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const { channels } of this.#connections)
      for (const direction of DIRECTIONS) bytes += channels[direction].queuedBytes;
    return bytes;
  }

  async start(): Promise<void> {
    // The same again after a cut.
    this.#port = await freePort();
    await this.#listen();
  }

  async stop(): Promise<void> {
    this.#isRefusing = true;
    const closed = this.#close();
    this.#endAll((socket) => socket.destroy());
    await closed;
  }

  /** What these directions suffer from now on; what is not named is well. */
  set(where: Direction | 'both', faults: Partial<Faults>): void {
    for (const direction of where === 'both' ? DIRECTIONS : [where]) {
      const next = { ...NO_FAULTS, ...faults };
      this.#faults[direction] = next;
      for (const { channels } of this.#connections) channels[direction].set(next);
    }
  }

  /** Ends every connection and refuses new ones, until `heal`. */
  async cut(): Promise<void> {
    this.#isRefusing = true;
    const closed = this.#close();
    this.#endAll((socket) => socket.destroy());
    await closed;
  }

  /** Ends every connection with a RST; new ones go. */
  reset(): void {
    this.#endAll((socket) => socket.resetAndDestroy());
  }

  /** A good link again. A connection of which bytes have vanished stays half open until an end of it gives up. */
  async heal(): Promise<void> {
    this.set('both', {});
    if (!this.#isRefusing) return;
    this.#isRefusing = false;
    await this.#listen();
  }

  async #listen(): Promise<void> {
    this.#server = await listen(this.#port, (near) => this.#connect(near));
  }

  #close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    return new Promise((resolve) => (server ? server.close(() => resolve()) : resolve()));
  }

  #endAll(end: (socket: Socket) => void): void {
    for (const { near, far } of this.#connections) {
      end(near);
      end(far);
    }
  }

  #connect(near: Socket): void {
    if (this.#isRefusing) {
      near.destroy();
      return;
    }
    const far = createConnection({
      host: HOST,
      port: this.#options.targetPort,
      noDelay: true,
      allowHalfOpen: true,
    });
    const channel = (direction: Direction, from: Socket, to: Socket): Channel =>
      new Channel({
        from,
        to,
        faults: this.#faults[direction],
        random: this.#options.random,
        clock: this.#options.clock ?? systemClock,
        onBytes: (count) => {
          this.bytes[direction] += count;
        },
      });
    const channels = { up: channel('up', near, far), down: channel('down', far, near) };
    const connection: Connection = { near, far, channels };
    this.#connections.add(connection);
    for (const [direction, socket, other] of [
      ['up', near, far],
      ['down', far, near],
    ] as const) {
      // What goes wrong shows as a close.
      socket.on('error', () => undefined);
      socket.once('end', () => {
        // Nothing will ever be written to it again, so that it would never close.
        if (channels[direction === 'up' ? 'down' : 'up'].isDead) socket.destroy();
      });
      socket.once('close', (hadError) => {
        // The news of it vanishes too: the other end finds out by itself.
        if (!channels[direction].isDead && (hadError || !socket.readableEnded)) other.resetAndDestroy();
        if (near.destroyed && far.destroyed) this.#forget(connection);
      });
    }
  }

  #forget(connection: Connection): void {
    for (const direction of DIRECTIONS) connection.channels[direction].destroy();
    this.#connections.delete(connection);
  }
}

function listen(port: number, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true, allowHalfOpen: true }, onConnection);
    server.once('error', reject);
    server.listen(port, HOST, () => resolve(server));
  });
}
