/**
 * The door for MQTT over WebSocket (MQTT 3.1.1, 6): an HTTP server that does nothing but the upgrade at `/mqtt`. Each WebSocket
 * becomes a stream of the bytes in its frames; what comes out is treated like a TCP connection.
 */
import { createServer, type ServerOptions } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, Server as TlsServer } from 'node:tls';
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws';

/** TLS of the door, its time-out, and the sizes that it lets in. */
export interface WebSocketDoorOptions {
  readonly tls: SecureContextOptions | undefined;
  /** Time until the upgrade, and for TLS before it. */
  readonly timeoutMs: number;
  /** For one message while its sender is not known; the whole of it is in memory before anybody looks. */
  readonly maxUnknownBytes: number;
  readonly maxBytes: number;
}

/** A client's byte stream and the socket under it; `trust` lifts its limit to `maxBytes`. */
type Take = (stream: Duplex, socket: Socket, trust: () => void) => void;

const PATH = '/mqtt';
/** [MQTT-6.0.0-3] */
const SUBPROTOCOL = 'mqtt';
/** RFC 6455 7.4.1: a kind of data that cannot be accepted. */
const UNSUPPORTED_DATA = 1003;

/** @returns a server that does not listen yet */
export function createWebSocketDoor(
  options: WebSocketDoorOptions,
  take: Take,
): TlsServer | ReturnType<typeof createServer> {
  const { tls, timeoutMs } = options;
  const common: ServerOptions = {
    noDelay: true,
    headersTimeout: timeoutMs,
    requestTimeout: timeoutMs,
    connectionsCheckingInterval: timeoutMs / 4,
  };
  const server = tls
    ? createSecureServer({ ...common, ...tls, handshakeTimeout: timeoutMs })
    : createServer(common);
  server.on('request', (_request, response) => response.writeHead(426, { upgrade: 'websocket' }).end());
  const webSockets = new WebSocketServer({
    noServer: true,
    path: PATH,
    perMessageDeflate: false,
    maxPayload: options.maxUnknownBytes,
    clientTracking: false,
    handleProtocols: (offered) => offered.has(SUBPROTOCOL) && SUBPROTOCOL,
  });
  server.on('upgrade', (request, socket, head) => {
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      // [MQTT-6.0.0-1]
      webSocket.on('message', (_data, isBinary) => {
        if (!isBinary) webSocket.close(UNSUPPORTED_DATA);
      });
      take(createWebSocketStream(webSocket), request.socket, () => raiseLimit(webSocket, options.maxBytes));
    });
  });
  return server;
}

/** ws has one limit for a connection's whole life, which would let a stranger fill as much memory as the hub. */
function raiseLimit(webSocket: WebSocket, maxBytes: number): void {
  const { _receiver: receiver } = webSocket as unknown as { _receiver?: { _maxPayload: number } };
  if (receiver) receiver._maxPayload = maxBytes;
}
