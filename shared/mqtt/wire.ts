/**
 * The TCP socket under a session, whatever lies on it (nothing, TLS, WebSocket, both): made to send at once, and asked how
 * much has gone over it. The only place that reaches for it.
 */
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';

/** Bytes over a socket in each direction, transport included. */
export interface WireBytes {
  readonly up: number;
  readonly down: number;
}

/** What a TLS socket hides: the TCP handle below it, whose counts include the records and the handshake. */
type Layered = { readonly _handle?: { readonly _parent?: Counts } | null };
type Counts = Pick<Socket, 'bytesRead' | 'bytesWritten'>;

/** Socket under an MQTT session: sends at once, and counts its bytes. */
export class Wire {
  /** Whether the other side has agreed to the transport: TCP connected, TLS verified, WebSocket upgraded. */
  isUp = false;
  #counts: Counts = { bytesRead: 0, bytesWritten: 0 };

  /** So far; TLS included. */
  get bytes(): WireBytes {
    return { up: this.#counts.bytesWritten, down: this.#counts.bytesRead };
  }

  /** A session's stream that is the socket itself: `mqtt` and `mqtts`. */
  takeSocket(socket: Socket, isSecure: boolean): void {
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      this.isUp = true;
    });
    this.#watch(socket);
  }

  /** `ws` and `wss`: the stream that mqtt.js makes hides its WebSocket and that one its socket, but the request to upgrade has it. */
  takeRequest(request: ClientRequest): void {
    request.once('socket', (socket) => this.#watch(socket));
    request.prependOnceListener('upgrade', () => {
      this.isUp = true;
    });
  }

  #watch(socket: Socket): void {
    // Measured: 44 ms a round trip without it, 0.1 ms with it (docs/design/link.md 1). Node keeps the wish until the socket is
    // up.
    socket.setNoDelay(true);
    // Not before: the handle is replaced when a host has two addresses and the first does not answer.
    socket.once('connect', () => {
      this.#counts = (socket as unknown as Layered)._handle?._parent ?? socket;
    });
    // The handle forgets when it is gone.
    socket.once('close', () => {
      const { bytesRead, bytesWritten } = this.#counts;
      this.#counts = { bytesRead, bytesWritten };
    });
  }
}
