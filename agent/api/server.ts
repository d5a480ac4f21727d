/** The HTTP server around the device's API, with its time-outs. */
import type { Server } from 'node:http';
import { type ServerType, serve } from '@hono/node-server';
import type { Hono } from 'hono';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import { toListenError } from '../../shared/runtime/program.ts';

/** A request that takes longer than this to arrive is cut off; its body has been answered before (`body.ts`). */
const REQUEST_TIMEOUT_MS = 35_000;
/** As on the hub: a connection that only trickles headers is closed. */
const HEADERS_TIMEOUT_MS = 10_000;

/** HTTP server of the device’s API. */
export class ApiServer implements Part {
  readonly #app: Hono;
  readonly #host: string;
  readonly #port: number;
  #server: ServerType | undefined;

  constructor(options: { readonly app: Hono; readonly host: string; readonly port: number }) {
    this.#app = options.app;
    this.#host = options.host;
    this.#port = options.port;
  }

  /** The port that it listens on, also where 0 was asked for. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === 'object' && address ? address.port : this.#port;
  }

  /** @throws PORT_TAKEN */
  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const server = serve(
        {
          fetch: this.#app.fetch,
          hostname: this.#host,
          port: this.#port,
          serverOptions: {
            requestTimeout: REQUEST_TIMEOUT_MS,
            headersTimeout: HEADERS_TIMEOUT_MS,
            connectionsCheckingInterval: 5_000,
          },
        },
        () => resolve(),
      );
      server.once('error', (error) => reject(toListenError(error, 'agent', this.#port, '--agent-port')));
      this.#server = server;
    });
  }

  /** Streams are cut off: they never end by themselves. */
  async stop(): Promise<void> {
    const server = this.#server as Server | undefined;
    if (!server?.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const timer = setTimeout(() => server.closeAllConnections(), 500);
    await closed;
    clearTimeout(timer);
  }
}
