/**
 * Connections of which nobody knows whose they are yet: TLS, the upgrade to a WebSocket and CONNECT are still to come. There are at most
 * so many; where more come, the one that has waited longest goes, since whoever means it has said so long before.
 */
import type { Socket } from 'node:net';

/** As many as the system keeps for us until we accept them: about 100 MB. */
export const MAX_WAITING = 4_096;

/** Sockets that wait. */
export class WaitingRoom {
  /** By the other end, which the layers of one connection have in common; longest first. */
  readonly #waiting = new Map<string, Socket>();

  enter(socket: Socket): void {
    const key = keyOf(socket);
    this.#waiting.set(key, socket);
    socket.once('close', () => {
      if (this.#waiting.get(key) === socket) this.#waiting.delete(key);
    });
    const [oldest] = this.#waiting;
    if (this.#waiting.size <= MAX_WAITING || !oldest) return;
    this.#waiting.delete(oldest[0]);
    oldest[1].destroy();
  }

  /** Its client is known. */
  leave(socket: Socket): void {
    this.#waiting.delete(keyOf(socket));
  }
}

const keyOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
