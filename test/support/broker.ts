/**
 * Real brokers for tests, each on a free loopback port with its own users: the embedded one, and Mosquitto where it is installed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EmbeddedBroker } from '../../cloud/broker/broker.ts';
import { DynsecAccess } from '../../cloud/broker/dynsec.ts';
import { ACCESS_FILE_NAME, type AccessFile } from '../../shared/contract/access.ts';
import { deviceRights, HUB_FILTER } from '../../shared/contract/topics.ts';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import type { WireBytes } from '../../shared/mqtt/wire.ts';
import { writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { Authority } from '../../shared/runtime/authority.ts';
import { CertificateFiles } from '../../shared/runtime/certificate-files.ts';
import { type Clock, systemClock } from '../../shared/runtime/clock.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { type Logger, silentLogger } from '../../shared/runtime/logger.ts';
import type { Trust } from '../../shared/runtime/trust.ts';
import { freePort } from './ports.ts';

export interface TestUser {
  readonly id: string;
  readonly secret: string;
  readonly role: 'device' | 'hub';
  /** Only the embedded broker knows ends. */
  readonly expiresAtMs?: number;
}

export interface TestBroker {
  readonly url: string;
  readonly port: number;
  /** By which `mqtts` and `wss` are believed. */
  readonly trust?: () => Trust;
  /** Where it is a process of its own. */
  readonly pid?: number | undefined;
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

/** By it the embedded broker never looks at its file by the way: what it knows of a change, the file system has told it at once. */
export const unremindedClock: Clock = { ...systemClock, after: () => () => undefined };

/** Starts the embedded broker in this process; with TLS it has an authority of its own in `<folder>/tls`. */
export async function startEmbeddedBroker(
  users: readonly TestUser[] = TEST_USERS,
  logger: Logger = silentLogger,
  transport: Transport = 'mqtt',
  clock: Clock = systemClock,
): Promise<TestBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-broker-'));
  const setUsers = (next: readonly TestUser[]) => {
    const file: AccessFile = {
      version: 1,
      principals: next.map(({ secret, ...rest }) => ({ ...rest, secretSha256: sha256Hex(secret) })),
    };
    return writeJsonAtomic(join(folder, ACCESS_FILE_NAME), file, 0o600);
  };
  await setUsers(users);
  const common = { logger, clock };
  const authority = isSecure(transport)
    ? await Authority.open({ folder: join(folder, 'tls'), names: [], ...common })
    : undefined;
  const certificate = authority && (await CertificateFiles.open(authority, common));
  certificate?.start();
  // It comes back on the same one.
  const port = await freePort();
  const create = () =>
    new EmbeddedBroker({
      host: '127.0.0.1',
      port: isWebSocket(transport) ? 0 : port,
      ...(isWebSocket(transport) && { webSocketPort: port }),
      ...(certificate && { certificate }),
      folder,
      ...common,
    });
  let broker = create();
  await broker.start();
  return {
    url: `${transport}://127.0.0.1:${port}`,
    port,
    folder,
    ...(authority && { trust: () => ({ ca: authority.pem }) }),
    setUsers,
    async restart(downMs = 0) {
      await broker.stop();
      await delay(downMs);
      broker = create();
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
  await writeMosquittoUsers(folder, users);
  const parts = { logger: silentLogger, clock: systemClock };
  const authority = isSecure(transport)
    ? await Authority.open({ folder: join(folder, 'tls'), names: [], ...parts })
    : undefined;
  const listener = await listenerConf(transport, authority);
  const program = await MosquittoProgram.start(folder, passwordAccess(folder), { transport, listener });
  return Object.assign(program, {
    ...(authority && { trust: () => ({ ca: authority.pem }) }),
    async setUsers(next: readonly TestUser[]) {
      await writeMosquittoUsers(folder, next);
      program.reload();
    },
  });
}

/** What `writeMosquittoUsers` has written. */
export const passwordAccess = (folder: string): string[] => [
  `password_file ${join(folder, 'passwords')}`,
  `acl_file ${join(folder, 'acl')}`,
  // Whoever knows one password could take any client id otherwise, and throw its owner out.
  'use_username_as_clientid true',
];

export interface DynsecBroker extends TestBroker {
  /** What the hub drives the plugin with. */
  readonly admin: { readonly username: string; readonly password: string };
  readonly access: DynsecAccess;
}

/** Starts Mosquitto with its dynamic-security plugin, and makes these users through the hub's own code. */
export async function startDynsecMosquitto(
  users: readonly TestUser[] = TEST_USERS,
  logger: Logger = silentLogger,
): Promise<DynsecBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-dynsec-'));
  const admin = { username: 'admin', password: 'admin-secret' };
  const file = join(folder, 'dynamic-security.json');
  const init = spawnSync('mosquitto_ctrl', ['dynsec', 'init', file, admin.username, admin.password]);
  if (init.status !== 0) throw new Error(`mosquitto_ctrl failed: ${init.stderr}`);
  const program = await MosquittoProgram.start(folder, [
    `plugin ${dynsecPlugin()}`,
    `plugin_opt_config_file ${file}`,
  ]);
  const hub = users.find(({ role }) => role === 'hub');
  let onReady = (): void => undefined;
  const ready = new Promise<void>((resolve) => {
    onReady = resolve;
  });
  const access = new DynsecAccess({
    connect: () =>
      connectMqtt({ url: program.url, clientId: 'hub-access', ...admin, logger, random: () => 0 }),
    hubId: hub?.id ?? 'hub-1',
    hubSecret: hub?.secret ?? 'hub-secret',
    onReady: async () => onReady(),
    clock: systemClock,
    logger,
  });
  await access.start();
  await ready;
  let before: readonly TestUser[] = [];
  const setUsers = async (next: readonly TestUser[]) => {
    const devices = next.filter(({ role }) => role === 'device');
    for (const { id } of before) if (!devices.some((one) => one.id === id)) await access.forbid(id);
    for (const { id, secret } of devices)
      if (!before.some((one) => one.id === id && one.secret === secret)) await access.allow(id, secret);
    before = devices;
  };
  await setUsers(users);
  return Object.assign(program, {
    admin,
    access,
    setUsers,
    async stop() {
      await access.stop();
      await program.end();
    },
  });
}

/** Where distributions put it. */
function dynsecPlugin(): string {
  const found = [
    `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
    '/usr/lib',
    '/usr/local/lib',
  ].map((folder) => join(folder, 'mosquitto_dynamic_security.so'));
  return found.find(existsSync) ?? 'mosquitto_dynamic_security.so';
}

/** A Mosquitto of our own on a free port; it goes with its folder. */
class MosquittoProgram {
  readonly folder: string;
  readonly port: number;
  readonly #transport: Transport;
  #child: ChildProcess | undefined;

  private constructor(folder: string, port: number, transport: Transport) {
    this.folder = folder;
    this.port = port;
    this.#transport = transport;
  }

  /** Of its process. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get url(): string {
    return `${this.#transport}://127.0.0.1:${this.port}`;
  }

  static async start(
    folder: string,
    access: readonly string[],
    { transport = 'mqtt', listener = [] }: { transport?: Transport; listener?: readonly string[] } = {},
  ): Promise<MosquittoProgram> {
    const program = new MosquittoProgram(folder, await freePort(), transport);
    await writeFile(join(folder, 'mosquitto.conf'), mosquittoConf(program.port, access, listener));
    await program.#start();
    return program;
  }

  async restart(downMs = 0): Promise<void> {
    await this.#kill();
    await delay(downMs);
    await this.#start();
  }

  reload(): void {
    this.#child?.kill('SIGHUP');
  }

  async end(): Promise<void> {
    await this.#kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  stop(): Promise<void> {
    return this.end();
  }

  async #start(): Promise<void> {
    this.#child = spawn('mosquitto', ['-c', join(this.folder, 'mosquitto.conf')], { stdio: 'ignore' });
    await untilListening(this.port);
  }

  async #kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
  }
}

/** What a listener for this transport wants besides its port. */
async function listenerConf(transport: Transport, authority: Authority | undefined): Promise<string[]> {
  return [
    ...(authority ? [`certfile ${authority.certFile}`, `keyfile ${authority.keyFile}`] : []),
    // With nothing but WebSocket listeners Mosquitto 2.0.11 ends at once: one more, that nobody uses.
    ...(isWebSocket(transport) ? ['protocol websockets', `listener ${await freePort()} 127.0.0.1`] : []),
  ];
}

/**
 * @param access how users are known
 * @param listener what its listener wants besides a port
 */
export const mosquittoConf = (
  port: number,
  access: readonly string[],
  listener: readonly string[] = [],
): string =>
  [
    `listener ${port} 127.0.0.1`,
    ...shippedLimits(),
    ...listener,
    'allow_anonymous false',
    ...access,
    'persistence false',
    // Started as root it would drop its rights and could not read this folder.
    'user root',
    '',
  ].join('\n');

/** Of the configuration that we hand out, what bounds a client; some of it belongs to a listener, and follows it. */
const shippedLimits = (): string[] =>
  readFileSync('deploy/mosquitto/mosquitto.conf', 'utf8')
    .split('\n')
    .filter((line) => /^(max_|persistent_client|set_tcp)/.test(line));

export async function writeMosquittoUsers(folder: string, users: readonly TestUser[]): Promise<void> {
  const passwords = join(folder, 'passwords');
  await writeFile(passwords, users.map(({ id, secret }) => `${id}:${secret}\n`).join(''), { mode: 0o600 });
  const hashed = spawnSync('mosquitto_passwd', ['-U', passwords]);
  if (hashed.status !== 0) throw new Error(`mosquitto_passwd failed: ${hashed.stderr}`);
  const hubs = users.filter(({ role }) => role === 'hub');
  const { writes, reads } = deviceRights(
    '%u',
    hubs.map(({ id }) => id),
  );
  const acl = [
    ...hubs.flatMap(({ id }) => [`user ${id}`, `topic readwrite ${HUB_FILTER}`]),
    ...writes.map((topic) => `pattern write ${topic}`),
    ...reads.map((filter) => `pattern read ${filter}`),
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
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
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

/** Waits until somebody listens on the port; a program is given a minute to come up on a busy machine. */
export async function untilListening(port: number): Promise<void> {
  const giveUpMonoMs = performance.now() + 60_000;
  while (performance.now() < giveUpMonoMs) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (isUp) return;
    await delay(10);
  }
  throw new Error(`nothing listens on port ${port}`);
}
