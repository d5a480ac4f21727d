/** The HTTP server around the device's API. */
import { HttpServer, type HttpServerOptions } from '../../shared/runtime/http-server.ts';

/** A request that takes longer than this to arrive is cut off; its body has been answered before (`body.ts`). */
const REQUEST_TIMEOUT_MS = 35_000;
/** Streams are cut off: they never end by themselves. */
const DRAIN_MS = 500;

/** HTTP or HTTPS server of the device’s API. */
export class ApiServer extends HttpServer {
  constructor(options: HttpServerOptions) {
    super(options, {
      ...{ what: 'agent', flag: '--agent-port' },
      ...{ requestTimeoutMs: REQUEST_TIMEOUT_MS, drainMs: DRAIN_MS },
    });
  }
}
