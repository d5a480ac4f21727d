/** The HTTP server around the hub's API. */
import { HttpServer, type HttpServerOptions } from '../../../shared/runtime/http-server.ts';

/** Longer than a body may take, so that the API's own answer comes first. */
const REQUEST_TIMEOUT_MS = 60_000;
const DRAIN_MS = 5_000;

/** HTTP or HTTPS server of the hub’s API. */
export class HubServer extends HttpServer {
  constructor(options: HttpServerOptions, stalledReaderMs?: number) {
    super(options, {
      ...{ what: 'hub', flag: '--hub-port' },
      ...{ requestTimeoutMs: REQUEST_TIMEOUT_MS, drainMs: DRAIN_MS },
      ...(stalledReaderMs !== undefined && { stalledReaderMs }),
    });
  }
}
