/**
 * The embedded MQTT broker: aedes behind our own door. Who connects is looked up in `access.json`, who may read and write
 * what is in rights.ts, how much of it per client in client-stream.ts and session-store.ts (measured: docs/decisions/0025).
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createSecureServer, Server as SecureServer } from 'node:tls';
import { Aedes, type AuthenticateError, type Client } from 'aedes';
import { deviceTopics, parseTopic } from '../../shared/contract/topics.ts';
import { writeNumbersAsNeeded } from '../../shared/mqtt/packets.ts';
import type { CertificateFiles } from '../../shared/runtime/certificate-files.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { toListenError } from '../../shared/runtime/program.ts';
import { AccessBook, type AccessChange, type Admission } from './access.ts';
import { ClientStream } from './client-stream.ts';
import { ClientTraffic } from './client-traffic.ts';
import { MAX_PACKET_BYTES, MAX_UNAUTHENTICATED_BYTES } from './packet-guard.ts';
import { isKept, mayRead, maySubscribe, type Said, whyNotPublish } from './rights.ts';
import { SessionStore } from './session-store.ts';
import { WaitingRoom } from './waiting-room.ts';
import { createWebSocketDoor } from './web-socket.ts';

/** Addresses to listen on, TLS, and the folder of the access list. */
export interface BrokerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** MQTT over WebSocket as well; 0: any free one. */
  readonly webSocketPort?: number;
  /** Both listen with TLS; somebody else starts and stops it. */
  readonly certificate?: CertificateFiles;
  /** Holds `access.json`. */
  readonly folder: string;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Measured: 10,000 devices coming back at once take up to 59 s with Node's default of 511 (docs/design/link.md 1). */
const LISTEN_BACKLOG = 4096;
/** A hub that is frozen keeps devices waiting for this long. */
const DRAIN_TIMEOUT_MS = 5_000;
/** From TCP connection to CONNECT. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Refusals are worth one line in this time, however many come. */
const REFUSAL_LOG_MS = 10_000;
/** MQTT 3.1.1 table 3.1 */
const NOT_AUTHORIZED = 5;

/** The broker with its ports, from start to stop. */
export class EmbeddedBroker implements Part {
  readonly #options: BrokerOptions;
  readonly #access: AccessBook;
  readonly #principals = new WeakMap<Client, Admission>();
  readonly #wills = new WeakMap<Client, Said>();
  /** By connection: what lets a client in that is known. */
  readonly #trust = new WeakMap<object, (traffic: ClientTraffic | undefined) => void>();
  /** By id of the access list, over all connections. */
  readonly #traffic = new Map<string, ClientTraffic>();
  readonly #waiting = new WaitingRoom();
  readonly #store: SessionStore;
  /** By client id. */
  readonly #clients = new Map<string, Client>();
  readonly #sockets = new Set<Socket>();
  #aedes: Aedes | undefined;
  #server: Server | undefined;
  #webSocketServer: Server | undefined;
  #refusals = { untilMonoMs: 0, suppressed: 0 };

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#access = new AccessBook(options);
    this.#store = new SessionStore({
      maySubscribe: (id, filter) => {
        const client = this.#clients.get(id);
        return client !== undefined && this.#maySubscribe(client, filter);
      },
      mayRetain: (topic) => {
        const parsed = parseTopic(topic);
        return parsed?.kind !== 'device' || this.#access.knows(parsed.deviceId);
      },
    });
  }

  /** The port in use. @throws INVARIANT_BROKEN before start */
  get port(): number {
    return portOf(this.#server);
  }

  /** The same for WebSocket. @throws INVARIANT_BROKEN before start, and without one */
  get webSocketPort(): number {
    return portOf(this.#webSocketServer);
  }

  /** @throws PORT_TAKEN, CHILD_FAILED, DATA_CORRUPT */
  async start(): Promise<void> {
    await this.#access.start();
    const aedes = await this.#createAedes();
    this.#aedes = aedes;
    this.#access.onChange((change) => this.#cutOff(change));
    try {
      await this.#listen(aedes);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.#access.stop();
    const servers = [this.#server, this.#webSocketServer].filter((one) => one !== undefined);
    const closed = Promise.all(
      servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
    const aedes = this.#aedes;
    if (aedes) await new Promise<void>((resolve) => aedes.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #createAedes(): Promise<Aedes> {
    writeNumbersAsNeeded();
    const aedes = await Aedes.createBroker({
      drainTimeout: DRAIN_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      maxClientsIdLength: 64,
      persistence: this.#store,
      preConnect: (client, packet, done) => {
        if (packet.will) this.#wills.set(client, packet.will);
        done(null, true);
      },
      authenticate: (client, username, password, done) => {
        this.#authenticate(client, username, password).then(
          (isKnown) => done(isKnown ? null : refusal(), isKnown),
          (error: unknown) => {
            this.#options.logger.failure('broker.authenticate_failed', error);
            done(refusal(), false);
          },
        );
      },
      // An acknowledged message that went nowhere would be a lie: 3.1.1 has no other "no" than to close, [MQTT-3.3.5-2].
      authorizePublish: (client, packet, done) => {
        const principal = client ? this.#principals.get(client) : undefined;
        const why = this.#whyNot(principal, packet);
        if (why !== undefined) {
          this.#noteRefusal(client, `publish to ${packet.topic.slice(0, 200)}: ${why}`);
          return done(new AppError('FORBIDDEN', why));
        }
        if (packet.retain && principal && !isKept(principal, packet)) packet.retain = false;
        done();
      },
      // null is a SUBACK with 0x80, [MQTT-3.9.3-2]
      authorizeSubscribe: (client, subscription, done) => {
        if (this.#maySubscribe(client, subscription.topic)) return done(null, subscription);
        this.#noteRefusal(client, `subscribe to ${subscription.topic.slice(0, 200)}`);
        done(null, null);
      },
      authorizeForward: (client, packet) => (this.#mayRead(client, packet.topic) ? packet : null),
    });
    aedes.on('client', (client) => {
      this.#clients.set(client.id, client);
      // The file may have changed while it was being let in.
      const principal = this.#principals.get(client);
      if (!principal || !this.#access.holds(principal)) client.close();
    });
    aedes.on('clientDisconnect', (client) => {
      if (this.#clients.get(client.id) === client) this.#clients.delete(client.id);
    });
    aedes.on('clientError', (client, error) =>
      this.#options.logger.debug('broker.client_error', { clientId: client.id, reason: error.message }),
    );
    aedes.on('connectionError', (_client, error) =>
      this.#options.logger.debug('broker.connection_error', { reason: error.message }),
    );
    return aedes;
  }

  async #authenticate(client: Client, username: string | undefined, password: Buffer | undefined) {
    const id = username ?? '';
    const principal = await this.#access.identify(id, password?.toString('utf8') ?? '');
    if (!principal || !ownsClientId(principal, client.id)) {
      this.#noteRefusal(
        client,
        principal ? `the client id is not that of ${id}` : 'unknown id or wrong secret',
      );
      return false;
    }
    this.#principals.set(client, principal);
    const will = this.#wills.get(client);
    const why = will && this.#whyNot(principal, will);
    if (will && why !== undefined) {
      this.#noteRefusal(client, `last will to ${will.topic.slice(0, 200)}: ${why}`);
      return false;
    }
    this.#trust.get(client.conn)?.(this.#trafficOf(principal));
    return true;
  }

  #whyNot(principal: Admission | undefined, said: Said): string | undefined {
    return whyNotPublish(principal, said, (id) => this.#access.isHub(id));
  }

  #maySubscribe(client: Client, filter: string): boolean {
    const principal = this.#principals.get(client);
    return principal !== undefined && maySubscribe(principal, filter);
  }

  #mayRead(client: Client, topic: string): boolean {
    const principal = this.#principals.get(client);
    return principal !== undefined && mayRead(principal, topic);
  }

  #trafficOf({ id, role }: Admission): ClientTraffic | undefined {
    if (role === 'hub') return undefined;
    const { clock, logger } = this.#options;
    const traffic = this.#traffic.get(id) ?? new ClientTraffic({ id, clock, logger });
    this.#traffic.set(id, traffic);
    return traffic;
  }

  #cutOff({ ids, gone }: AccessChange): void {
    for (const id of gone) this.#forget(id);
    for (const client of this.#clients.values()) {
      const principal = this.#principals.get(client);
      if (!principal || !ids.has(principal.id) || this.#access.holds(principal)) continue;
      this.#options.logger.warn('broker.cut_off', { clientId: client.id });
      // What it had queued for itself until now goes, too; its last will is said, and not kept.
      client.close(() => gone.has(principal.id) && this.#forget(principal.id));
    }
  }

  /** All that is kept for a device and of it; what is wanted of it is the hub's to take back. */
  #forget(id: string): void {
    const { reported, presence } = deviceTopics(id);
    this.#store.forget(id, [reported, presence]);
    this.#traffic.delete(id);
  }

  #noteRefusal(client: Client | null, what: string): void {
    const nowMonoMs = this.#options.clock.nowMonoMs();
    if (nowMonoMs < this.#refusals.untilMonoMs) {
      this.#refusals.suppressed += 1;
      return;
    }
    const { suppressed } = this.#refusals;
    this.#refusals = { untilMonoMs: nowMonoMs + REFUSAL_LOG_MS, suppressed: 0 };
    this.#options.logger.warn('broker.refused', { clientId: client?.id?.slice(0, 64), what, suppressed });
  }

  async #listen(aedes: Aedes): Promise<void> {
    const { port, webSocketPort, certificate } = this.#options;
    const tls = certificate?.current;
    const take = (socket: Socket) => this.#take(aedes, socket, socket);
    const server = tls
      ? createSecureServer({ ...tls, noDelay: true, handshakeTimeout: CONNECT_TIMEOUT_MS }, take)
      : createServer({ noDelay: true }, take);
    this.#server = await this.#open(server, port, '--mqtt-port');
    if (webSocketPort === undefined) return;
    const limits = { maxUnknownBytes: MAX_UNAUTHENTICATED_BYTES, maxBytes: MAX_PACKET_BYTES };
    const door = createWebSocketDoor(
      { tls, timeoutMs: CONNECT_TIMEOUT_MS, ...limits },
      (stream, socket, trust) => this.#take(aedes, stream, socket, trust),
    );
    this.#webSocketServer = await this.#open(door, webSocketPort, '--ws-port');
  }

  /** A new connection, whatever it came through. */
  #take(aedes: Aedes, stream: Duplex, socket: Socket, trust: () => void = () => undefined): void {
    const watched = new ClientStream(stream, this.#options.clock);
    this.#trust.set(stream, (traffic) => {
      watched.trust(traffic);
      this.#waiting.leave(socket);
      trust();
    });
    aedes.handle(stream);
  }

  #open(server: Server, port: number, flag: string): Promise<Server> {
    const { host, certificate, logger } = this.#options;
    const remember = (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    };
    server.on('connection', (socket) => {
      this.#waiting.enter(socket);
      remember(socket);
    });
    if (server instanceof SecureServer) {
      server.on('secureConnection', remember);
      server.on('tlsClientError', (error) =>
        logger.debug('broker.connection_error', { reason: error.message }),
      );
      certificate?.onChange((pair) => server.setSecureContext(pair));
    }
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(toListenError(error, 'MQTT broker', port, flag)));
      server.listen({ host, port, backlog: LISTEN_BACKLOG }, () => {
        // Out of file descriptors, say: one connection is lost, not the broker.
        server.on('error', (error) => logger.warn('broker.accept_failed', { reason: error.message }));
        resolve(server);
      });
    });
  }
}

function portOf(server: Server | undefined): number {
  const address = server?.address();
  if (!address || typeof address === 'string') throw new AppError('INVARIANT_BROKEN', 'the broker is not up');
  return address.port;
}

/** A second connection with the same client id throws the first one out: nobody may take another's. */
function ownsClientId({ id, role }: Admission, clientId: string): boolean {
  return clientId === id || (role === 'hub' && clientId.startsWith(`${id}-`));
}

const refusal = (): AuthenticateError =>
  Object.assign(new AppError('LINK_REFUSED', 'not authorized'), { returnCode: NOT_AUTHORIZED });
