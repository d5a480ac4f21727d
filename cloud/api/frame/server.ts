/** The HTTP server around the hub's API, with its time-outs. */
import type { Server } from 'node:http';
import { createServer as createSecureServer, Server as SecureServer } from 'node:https';
import { createAdaptorServer, type ServerType } from '@hono/node-server';
import type { Hono } from 'hono';
import type { CertificateFiles } from '../../../shared/runtime/certificate-files.ts';
import type { Part } from '../../../shared/runtime/lifecycle.ts';
import { toListenError } from '../../../shared/runtime/program.ts';
import type { HubEnv } from './face.ts';

/** Address to listen on, and the certificate for HTTPS. */
export interface HubServerOptions {
  readonly app: Pick<Hono<HubEnv>, 'fetch'>;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** HTTPS with this; plain HTTP when undefined. */
  readonly certificate?: CertificateFiles | undefined;
}

/** Longer than a body may take, so that the API's own answer comes first. */
const REQUEST_TIMEOUT_MS = 60_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** How long a stop waits for answers under way. */
const DRAIN_MS = 5_000;

/** An HTTP or HTTPS server around an API. */
export class HubServer implements Part {
  readonly #options: HubServerOptions;
  #server: ServerType | undefined;

  constructor(options: HubServerOptions) {
    this.#options = options;
  }

  /** The port that it listens on, also where 0 was asked for. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === 'object' && address ? address.port : this.#options.port;
  }

  /** @throws PORT_TAKEN, CHILD_FAILED */
  async start(): Promise<void> {
    const { app, host, port, certificate } = this.#options;
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
      server.once('error', (error) => reject(toListenError(error, 'hub', port, '--hub-port')));
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
    const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    await closed;
    clearInterval(idle);
    clearTimeout(timer);
  }
}
