/** The HTTP or HTTPS server around an API, on hub and device, with its time-outs. */
import type { Server } from 'node:http';
import { createServer as createSecureServer, Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';
import { createAdaptorServer, type ServerType } from '@hono/node-server';
import type { CertificateFiles } from './certificate-files.ts';
import type { Part } from './lifecycle.ts';
import { toListenError } from './program.ts';

/** Address to listen on, and the certificate for HTTPS. */
export interface HttpServerOptions {
  readonly app: Pick<Parameters<typeof createAdaptorServer>[0], 'fetch'>;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** HTTPS with this; plain HTTP when undefined. */
  readonly certificate?: CertificateFiles | undefined;
}

/** How a program serves. */
interface Serving {
  /** For the message, with the flag that names the port. */
  readonly what: string;
  readonly flag: string;
  /** Longer than a body may take, so that the API's own answer comes first. */
  readonly requestTimeoutMs: number;
  /** How long a stop waits for answers under way. */
  readonly drainMs: number;
  /** How long a caller may leave its answer unread; a minute when left out. */
  readonly stalledReaderMs?: number;
}

/** A connection that only trickles headers is closed. */
const HEADERS_TIMEOUT_MS = 10_000;
/** So is one whose reader takes nothing of its answer for so long. */
const STALLED_READER_MS = 60_000;

/** An HTTP or HTTPS server around an API. */
export class HttpServer implements Part {
  readonly #options: HttpServerOptions;
  readonly #serving: Serving;
  #server: ServerType | undefined;

  constructor(options: HttpServerOptions, serving: Serving) {
    this.#options = options;
    this.#serving = serving;
  }

  /** The port that it listens on, also where 0 was asked for. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === 'object' && address ? address.port : this.#options.port;
  }

  /** @throws PORT_TAKEN, CHILD_FAILED */
  async start(): Promise<void> {
    const { app, host, port, certificate } = this.#options;
    const { what, flag, requestTimeoutMs } = this.#serving;
    const server = createAdaptorServer({
      fetch: app.fetch,
      ...(certificate && { createServer: createSecureServer }),
      serverOptions: {
        ...(certificate && { ...certificate.current, handshakeTimeout: HEADERS_TIMEOUT_MS }),
        requestTimeout: requestTimeoutMs,
        headersTimeout: HEADERS_TIMEOUT_MS,
        connectionsCheckingInterval: 5_000,
      },
    });
    closeStalledReaders(server as Server, this.#serving.stalledReaderMs ?? STALLED_READER_MS);
    if (server instanceof SecureServer) certificate?.onChange((pair) => server.setSecureContext(pair));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(toListenError(error, what, port, flag)));
      server.listen({ host, port }, () => resolve());
    });
    this.#server = server;
  }

  /** Takes nothing new, lets answers out, then closes what is left. */
  async stop(): Promise<void> {
    const server = this.#server as Server | undefined;
    if (!server?.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // A connection that is kept alive falls idle only after its answer: looked at again and again.
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    const timer = setTimeout(() => server.closeAllConnections(), this.#serving.drainMs);
    await closed;
    clearInterval(idle);
    clearTimeout(timer);
  }
}

/** Ends connections whose answer is not read; one that waits for its answer, or for the next words of a stream, has all its time. */
function closeStalledReaders(server: Server, stalledReaderMs: number): void {
  const answering = new WeakSet<Socket>();
  server.on('request', ({ socket }, response) => {
    answering.add(socket);
    response.once('close', () => answering.delete(socket));
  });
  // With a listener Node ends none by itself, neither those that are kept alive for nothing.
  server.setTimeout(stalledReaderMs, (socket) => {
    if (!answering.has(socket) || socket.writableLength > 0) socket.destroy();
  });
}
