/**
 * Loopback ports for whoever must know one before anybody listens on it, or listens on it again: a program that is started later or
 * anew, a hub that isn't there. Who can do without listens on port 0 and says what it got.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { systemCode } from '../../shared/runtime/errors.ts';

const HOST = '127.0.0.1';
/** Below it are the ports that many programs are known by, 10080 the last to which `fetch` refuses to go (WHATWG Fetch, port blocking). */
const FIRST_PORT = 10_081;
/** Where Linux begins to give ports away by default; macOS and Windows begin higher. */
const USUAL_EPHEMERAL_PORT = 32_768;
const MIN_CANDIDATES = 1_000;

/**
 * A port that nobody listens on, and that stays so for the life of this process unless it is for the one who asked: no outgoing
 * connection and nobody who listens on port 0 is given it, because it is below those that the kernel gives away, nor any other test.
 *
 * @param lot at which of so many ports, 0 and up, it begins to look
 */
export async function freePort(lot: (count: number) => number = randomInt): Promise<number> {
  const count = firstEphemeralPort() - FIRST_PORT;
  const start = lot(count);
  for (let tries = 0; tries < count; tries++) {
    const port = FIRST_PORT + ((start + tries) % count);
    if ((await reserve(port)) && (await canListen(port))) return port;
  }
  throw new Error(`no port of ${FIRST_PORT} to ${FIRST_PORT + count - 1} is free`);
}

function firstEphemeralPort(): number {
  let first = USUAL_EPHEMERAL_PORT;
  try {
    first = Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
  } catch {
    // Not Linux.
  }
  return first >= FIRST_PORT + MIN_CANDIDATES ? first : USUAL_EPHEMERAL_PORT;
}

/**
 * Tests in other processes see that a port is ours by a UDP socket of the same number: it is in nobody's way, since all that we start
 * speaks TCP, and the kernel takes it back with the process.
 */
function reserve(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4').unref();
    socket.once('error', (error) => (isTaken(error) ? resolve(false) : reject(error)));
    socket.bind({ port, address: HOST, exclusive: true }, () => resolve(true));
  });
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => (isTaken(error) ? resolve(false) : reject(error)));
    server.listen(port, HOST, () => server.close(() => resolve(true)));
  });
}

/** EACCES: Windows keeps some ranges to itself. */
const isTaken = (error: Error): boolean => ['EADDRINUSE', 'EACCES'].includes(systemCode(error) ?? '');
