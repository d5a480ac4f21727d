/** The HTTP server around the device's API, with its time-outs. */
import type { Server } from 'node:http';
import { createServer as createSecureServer, Server as SecureServer } from 'node:https';
import { createAdaptorServer, type ServerType } from '@hono/node-server';
import type { Hono } from 'hono';
import type { CertificateFiles } from '../../shared/runtime/certificate-files.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import { toListenError } from '../../shared/runtime/program.ts';

/** A request that takes longer than this to arrive is cut off; its body has been answered before (`body.ts`). */
const REQUEST_TIMEOUT_MS = 35_000;
/** As on the hub: a connection that only trickles headers is closed. */
const HEADERS_TIMEOUT_MS = 10_000;

/** Address to listen on, and the certificate for HTTPS. */
export interface ApiServerOptions {
  readonly app: Pick<Hono, 'fetch'>;
  readonly host: string;
  readonly port: number;
  /** Plain HTTP when undefined. */
  readonly certificate?: CertificateFiles | undefined;
}

/** HTTP or HTTPS server of the device’s API. */
export class ApiServer implements Part {
  readonly #o: ApiServerOptions;
  #server: ServerType | undefined;

  constructor(options: ApiServerOptions) {
    this.#o = options;
  }

  /** The port that it listens on, also where 0 was asked for. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === 'object' && address ? address.port : this.#o.port;
  }

  /** @throws PORT_TAKEN */
  async start(): Promise<void> {
    const { app, host, port, certificate } = this.#o;
    const server = createAdaptorServer({
      fetch: app.fetch,
      ...(certificate && { createServer: createSecureServer }),
      serverOptions: {
        ...(certificate && { ...certificate.current, handshakeTimeout: HEADERS_TIMEOUT_MS }),
        requestTimeout: REQUEST_TIMEOUT_MS,
        headersTimeout: HEADERS_TIMEOUT_MS,
        connectionsCheckingInterval: 5_000,
      },
    });
    if (server instanceof SecureServer) certificate?.onChange((pair) => server.setSecureContext(pair));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(toListenError(error, 'agent', port, '--agent-port')));
      server.listen({ host, port }, () => resolve());
    });
    this.#server = server;
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
