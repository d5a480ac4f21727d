/**
 * Real brokers for tests, each on a free loopback port with its own users: the embedded one, and Mosquitto where it is installed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EmbeddedBroker } from '../../cloud/broker/broker.ts';
import { ACCESS_FILE_NAME, type AccessFile } from '../../shared/contract/access.ts';
import type { WireBytes } from '../../shared/mqtt/wire.ts';
import { writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { Authority } from '../../shared/runtime/authority.ts';
import { CertificateFiles } from '../../shared/runtime/certificate-files.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { type Logger, silentLogger } from '../../shared/runtime/logger.ts';
import type { Trust } from '../../shared/runtime/trust.ts';

export interface TestUser {
  readonly id: string;
  readonly secret: string;
  readonly role: 'device' | 'hub';
}

export interface TestBroker {
  readonly url: string;
  readonly port: number;
  /** By which `mqtts` and `wss` are believed. */
  readonly trust?: () => Trust;
  /** Holds access.json (embedded) or the configuration (Mosquitto). */
  readonly folder: string;
  /** Replaces the users; those that vanish are cut off by the embedded broker. */
  setUsers(users: readonly TestUser[]): Promise<void>;
  /** Ends the broker and starts it again, empty, on the same port. */
  restart(downMs?: number): Promise<void>;
  stop(): Promise<void>;
}

/** The users that most tests need. */
export const TEST_USERS: readonly TestUser[] = [
  { id: 'hub-1', secret: 'hub-secret', role: 'hub' },
  { id: 'gate-01', secret: 'gate-secret', role: 'device' },
  { id: 'gate-02', secret: 'other-secret', role: 'device' },
];

/** What MQTT travels on. */
export type Transport = 'mqtt' | 'mqtts' | 'ws' | 'wss';

const isSecure = (transport: Transport): boolean => transport === 'mqtts' || transport === 'wss';
const isWebSocket = (transport: Transport): boolean => transport === 'ws' || transport === 'wss';

/** Starts the embedded broker in this process; with TLS it has an authority of its own in `<folder>/tls`. */
export async function startEmbeddedBroker(
  users: readonly TestUser[] = TEST_USERS,
  logger: Logger = silentLogger,
  transport: Transport = 'mqtt',
): Promise<TestBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-broker-'));
  const setUsers = (next: readonly TestUser[]) => {
    const file: AccessFile = {
      version: 1,
      principals: next.map(({ id, secret, role }) => ({ id, secretSha256: sha256Hex(secret), role })),
    };
    return writeJsonAtomic(join(folder, ACCESS_FILE_NAME), file, 0o600);
  };
  await setUsers(users);
  const common = { logger, clock: systemClock };
  const authority = isSecure(transport)
    ? await Authority.open({ folder: join(folder, 'tls'), names: [], ...common })
    : undefined;
  const certificate = authority && (await CertificateFiles.open(authority, common));
  certificate?.start();
  const create = (port: number) =>
    new EmbeddedBroker({
      host: '127.0.0.1',
      port: isWebSocket(transport) ? 0 : port,
      ...(isWebSocket(transport) && { webSocketPort: port }),
      ...(certificate && { certificate }),
      folder,
      ...common,
    });
  let broker = create(0);
  await broker.start();
  const port = isWebSocket(transport) ? broker.webSocketPort : broker.port;
  return {
    url: `${transport}://127.0.0.1:${port}`,
    port,
    folder,
    ...(authority && { trust: () => ({ ca: authority.pem }) }),
    setUsers,
    async restart(downMs = 0) {
      await broker.stop();
      await delay(downMs);
      broker = create(port);
      await broker.start();
    },
    async stop() {
      certificate?.stop();
      await broker.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Whether Mosquitto is on the PATH. */
export const hasMosquitto = (): boolean => spawnSync('mosquitto', ['-h']).error === undefined;

/** Starts Mosquitto with a password file and an access list made for these users. */
export async function startMosquitto(
  users: readonly TestUser[] = TEST_USERS,
  transport: Transport = 'mqtt',
): Promise<TestBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-mosquitto-'));
  const parts = { logger: silentLogger, clock: systemClock };
  const authority = isSecure(transport)
    ? await Authority.open({ folder: join(folder, 'tls'), names: [], ...parts })
    : undefined;
  const port = await freePort();
  const setUsers = async (next: readonly TestUser[]) => {
    await writeMosquittoUsers(folder, next);
    child?.kill('SIGHUP');
  };
  let child: ChildProcess | undefined;
  await setUsers(users);
  await writeFile(
    join(folder, 'mosquitto.conf'),
    mosquittoConf(folder, port, await listenerConf(transport, authority)),
  );
  const start = async () => {
    child = spawn('mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore' });
    await untilListening(port);
  };
  const end = async () => {
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child?.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
  };
  await start();
  return {
    url: `${transport}://127.0.0.1:${port}`,
    port,
    folder,
    ...(authority && { trust: () => ({ ca: authority.pem }) }),
    setUsers,
    async restart(downMs = 0) {
      await end();
      await delay(downMs);
      await start();
    },
    async stop() {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What a listener for this transport wants besides its port. */
async function listenerConf(transport: Transport, authority: Authority | undefined): Promise<string[]> {
  return [
    ...(authority ? [`certfile ${authority.certFile}`, `keyfile ${authority.keyFile}`] : []),
    // With nothing but WebSocket listeners Mosquitto 2.0.11 ends at once: one more, that nobody uses.
    ...(isWebSocket(transport) ? ['protocol websockets', `listener ${await freePort()} 127.0.0.1`] : []),
  ];
}

const mosquittoConf = (folder: string, port: number, listener: readonly string[]): string =>
  [
    `listener ${port} 127.0.0.1`,
    ...listener,
    'allow_anonymous false',
    `password_file ${join(folder, 'passwords')}`,
    `acl_file ${join(folder, 'acl')}`,
    'set_tcp_nodelay true',
    'max_packet_size 1048576',
    'persistence false',
    // Started as root it would drop its rights and could not read this folder.
    'user root',
    '',
  ].join('\n');

async function writeMosquittoUsers(folder: string, users: readonly TestUser[]): Promise<void> {
  const passwords = join(folder, 'passwords');
  await writeFile(passwords, users.map(({ id, secret }) => `${id}:${secret}\n`).join(''), { mode: 0o600 });
  const hashed = spawnSync('mosquitto_passwd', ['-U', passwords]);
  if (hashed.status !== 0) throw new Error(`mosquitto_passwd failed: ${hashed.stderr}`);
  const hubs = users.filter(({ role }) => role === 'hub');
  const acl = [
    ...hubs.flatMap(({ id }) => [`user ${id}`, 'topic readwrite outrider/v1/#']),
    ...['infer', 'reported', 'presence', 'results', 'telemetry'].map(
      (channel) => `pattern write outrider/v1/devices/%u/${channel}`,
    ),
    ...['reply', 'chunk', 'desired'].map((channel) => `pattern read outrider/v1/devices/%u/${channel}`),
    'pattern read outrider/v1/hubs/+/presence',
    '',
  ];
  await writeFile(join(folder, 'acl'), acl.join('\n'), { mode: 0o600 });
}

/** A wire that can be cut: connections to `url` reach the broker until `cut` ends them all without a goodbye. */
export async function startWire({ url, port: targetPort }: Pick<TestBroker, 'url' | 'port'>): Promise<{
  url: string;
  /** What has gone through it. */
  readonly bytes: WireBytes;
  cut(): void;
  stop(): Promise<void>;
}> {
  const bytes = { up: 0, down: 0 };
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = createConnection({ port: targetPort, host: '127.0.0.1', noDelay: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (chunk: Buffer) => {
      bytes.up += chunk.length;
    });
    far.on('data', (chunk: Buffer) => {
      bytes.down += chunk.length;
    });
    near.pipe(far).pipe(near);
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.replace(/\d+$/, String(port)),
    bytes,
    cut,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}

/** A loopback port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

async function untilListening(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (isUp) return;
    await delay(50);
  }
  throw new Error(`nothing listens on port ${port}`);
}
