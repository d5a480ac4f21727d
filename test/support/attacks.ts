/**
 * What an attacker with one device's credential, or with none, may try at a broker: the same list for each broker. Every attack
 * ends with a round trip between the hub and another device, which proves that they saw nothing of it and are still served.
 * A broker may acknowledge what it then throws away (Mosquitto 2.0.11 on 3.1.1): what counts is that nothing arrives.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { deviceTopics, HUB_PRESENCE_FILTER, hubTopics } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { TEST_USERS, type TestBroker } from './broker.ts';
import { connectAs, inbox, until } from './link-contract.ts';

export interface AttackOptions {
  readonly name: string;
  readonly start: () => Promise<TestBroker>;
  /** MQTT versions that it speaks; 4 is 3.1.1. */
  readonly versions: readonly (4 | 5)[];
  /** Lets the credential of this device end, where the broker knows about ends. */
  readonly expire?: (broker: TestBroker, id: string) => Promise<void>;
  /** Whether it hangs up on whoever does not finish a CONNECT. */
  readonly endsHalfConnects: boolean;
}

const mine = deviceTopics('gate-01');
const theirs = deviceTopics('gate-02');
const hubs = hubTopics('hub-1');
const FORGED = 'forged';
const SECRET = 'for gate-02 only';
/** CONNECT with a remaining length of 200 MB. */
const HUGE_CONNECT = Buffer.from([0x10, 0x80, 0x84, 0xaf, 0x5f]);

const FOREIGN_TOPICS = [
  ...Object.values(theirs),
  mine.reply,
  mine.chunk,
  mine.desired,
  hubs.presence,
  hubs.chunk('gate-02'),
  `${mine.infer}/x`,
  'outrider/v1/devices/gate-01x/infer',
  'outrider/v1/devices//infer',
  'outrider/v2/devices/gate-02/infer',
  'x',
  '$SYS/broker/version',
  '$CONTROL/dynamic-security/v1',
];

const FOREIGN_FILTERS = [
  ...Object.values(theirs),
  hubs.chunk('gate-02'),
  hubs.chunkFilter,
  'outrider/v1/hubs/#',
  'outrider/v1/hubs/+/+',
  'outrider/v1/devices/+/reply',
  'outrider/v1/devices/gate-02/#',
  'outrider/v1/#',
  'outrider/#',
  '+/v1/devices/gate-02/reply',
  '+/#',
  '+',
  '#',
  `$share/x/${theirs.reply}`,
  '$share/x/outrider/v1/devices/+/reply',
  '$share/x/#',
  '$share/hub/outrider/v1/devices/+/infer',
  '$SYS/#',
  '$CONTROL/#',
  '$CONTROL/dynamic-security/v1/response',
];

/** Declares the tests. */
export function attacks({ name, start, versions, expire, endsHalfConnects }: AttackOptions): void {
  describe(`attacks on ${name}`, () => {
    let scene: Scene;
    before(async () => {
      scene = await Scene.open(await start());
    });
    after(() => scene.close());

    for (const version of versions) {
      const as = `(MQTT ${version === 4 ? '3.1.1' : '5'})`;
      const raw = (options: IClientOptions = {}) => scene.raw({ protocolVersion: version, ...options });

      for (const topic of FOREIGN_TOPICS)
        it(`nobody sees a publish to ${topic}, nor finds it later ${as}`, async () => {
          const attacker = await raw();
          // Of the plugin that keeps accounts: one more of them.
          const account = { command: 'createClient', username: FORGED, password: FORGED };
          const payload = topic.startsWith('$CONTROL') ? JSON.stringify({ commands: [account] }) : FORGED;
          for (const retain of [false, true]) await settled(attacker, topic, payload, retain);
          await hangUp(attacker);
          await scene.assertUntouched(topic);
          await scene.assertRefused({ username: FORGED, password: FORGED, clientId: FORGED });
        });

      it(`its own topics it may use ${as}`, async () => {
        const attacker = await raw();
        await attacker.publishAsync(hubs.chunk('gate-01'), `mine ${version}`, { qos: 1 });
        await until(() => scene.hubSaw.some(({ text }) => text === `mine ${version}`));
        await hangUp(attacker);
      });

      it(`nothing of others is delivered, whatever filter is asked for ${as}`, async () => {
        const attacker = await raw({ clean: false });
        for (const filter of FOREIGN_FILTERS)
          await attacker.subscribeAsync(filter, { qos: 1 }).catch(() => undefined);
        await scene.speakInPrivate();
        await scene.assertUntouched();
        await assertSees(scene, attacker);
        await hangUp(attacker);
      });

      it(`nor together with a filter of its own, nor queued while it is away ${as}`, async () => {
        const options: IClientOptions = {
          clean: false,
          ...(version === 5 && { properties: { sessionExpiryInterval: 600 } }),
        };
        const attacker = await raw(options);
        await attacker.subscribeAsync([mine.reply, ...FOREIGN_FILTERS], { qos: 1 }).catch(() => undefined);
        await hangUp(attacker);
        await scene.speakInPrivate();
        const again = await raw(options);
        await assertSees(scene, again);
        await again.unsubscribeAsync(mine.reply);
        await hangUp(again);
      });

      for (const topic of [theirs.presence, theirs.reply, hubs.presence, hubs.chunk('gate-02'), 'x'])
        it(`its last will to ${topic} is not published ${as}`, async () => {
          const will = { topic, payload: Buffer.from(FORGED), qos: 1 as const, retain: true };
          const attacker = await raw({ will }).catch(() => undefined);
          if (attacker) {
            attacker.stream.destroy();
            // The broker has buried the first when it takes the second.
            await hangUp(await raw());
          }
          await scene.assertUntouched(topic);
        });

      for (const clientId of ['gate-02', 'hub-1', 'hub-1-second', 'hub-access'])
        it(`with the client id ${clientId} it throws nobody out and takes over nothing ${as}`, async () => {
          const attacker = await raw({ clientId, clean: false }).catch(() => undefined);
          if (attacker) {
            await scene.speakInPrivate();
            await assertSees(scene, attacker);
            await hangUp(attacker);
          }
          await scene.assertUntouched();
        });

      it(`the queue of a device that is away is only its own ${as}`, async () => {
        await scene.victim.end();
        await scene.hub.publish(theirs.reply, SECRET, { qos: 1 });
        const attacker = await raw({ clientId: 'gate-02', clean: false }).catch(() => undefined);
        if (attacker) {
          await assertSees(scene, attacker);
          await hangUp(attacker);
        }
        await scene.bringVictimBack();
        await until(() => scene.victimSaw.some(({ text }) => text === SECRET));
        await scene.assertUntouched();
      });
    }

    for (const [what, options] of Object.entries<IClientOptions>({
      'another’s name with its own secret': { username: 'gate-02' },
      'another’s name and client id with its own secret': { username: 'gate-02', clientId: 'gate-02' },
      'its own name with another’s secret': { password: 'other-secret' },
      'the hub’s name': { username: 'hub-1', clientId: 'hub-1' },
      'the plugin’s admin': { username: 'admin', clientId: 'admin' },
      'no name': { username: '', password: '' },
      'an empty secret': { password: '' },
      'a hash for a secret': { password: 'f'.repeat(64) },
      'a name from Object.prototype': { username: '__proto__', clientId: '__proto__' },
      'a name with a wildcard': { username: '+', clientId: '+' },
      'a name with a slash': { username: 'gate-02/reply', clientId: 'x' },
    }))
      it(`${what} lets nobody in`, async () => {
        await scene.assertRefused(options);
        await scene.assertUntouched();
      });

    for (const [what, username] of Object.entries({
      'a name with NUL': Buffer.from('gate-01\0'),
      'a name that is not UTF-8': Buffer.from([0xff, 0xfe, 0x67]),
      'a name of 60,000 bytes': Buffer.alloc(60_000, 'g'),
      'a NUL alone': Buffer.from([0]),
    }))
      it(`${what} lets nobody in`, async () => {
        const packet = connectPacket('gate-01', username, Buffer.from('gate-secret'));
        assert.notEqual(await connackCode(scene.broker.port, packet), 0);
        await scene.assertUntouched();
      });

    it('an announced CONNECT of 200 MB is not taken', async () => {
      const takenMib = await flood(scene.broker.port, HUGE_CONNECT, 200);
      assert.ok(takenMib < 32, `took ${takenMib} MiB`);
      await scene.assertUntouched();
    });

    it('an oversized publish is not delivered, and ends its sender', async () => {
      const attacker = await scene.raw({ protocolVersion: versions[0] ?? 4 });
      const closed = closing(attacker);
      attacker.publish(mine.telemetry, Buffer.alloc(2 * 1024 * 1024, FORGED), { qos: 1 });
      await closed;
      await scene.assertUntouched();
    });

    it('two hundred CONNECTs that never end keep nobody out', async () => {
      const sockets = await Promise.all(
        Array.from({ length: 200 }, () => halfConnect(scene.broker.port, HUGE_CONNECT.subarray(0, 1))),
      );
      await scene.assertUntouched();
      await hangUp(await scene.raw());
      const ended = sockets.map((socket) => (socket.destroyed ? Promise.resolve() : once(socket, 'close')));
      if (!endsHalfConnects) for (const socket of sockets) socket.destroy();
      await Promise.all(ended);
    });

    it('a thousand malformed byte streams, before and after the door, disturb nobody', async () => {
      for (let round = 0; round < 20; round++)
        await Promise.all(Array.from({ length: 50 }, () => spit(scene.broker.port, malformed())));
      for (let round = 0; round < 100; round++) {
        const attacker = await scene.raw();
        const closed = closing(attacker);
        attacker.stream.end(malformed());
        await closed;
      }
      await scene.assertUntouched();
    });

    it('a secret that has been replaced is worth nothing any more', async () => {
      await scene.broker.setUsers(
        TEST_USERS.map((user) => (user.id === 'gate-01' ? { ...user, secret: 'renewed-secret' } : user)),
      );
      await untilRefused(scene, {});
      await hangUp(await scene.raw({ password: 'renewed-secret' }));
      await scene.broker.setUsers(TEST_USERS);
      await untilRefused(scene, { password: 'renewed-secret' });
      await scene.assertUntouched();
    });

    it('a revoked device is cut off, does not come back, and nobody takes its session over', async () => {
      const session: IClientOptions = { clean: false };
      const attacker = await scene.raw(session);
      await attacker.subscribeAsync(mine.reply, { qos: 1 });
      const closed = closing(attacker);
      await scene.broker.setUsers(TEST_USERS.filter(({ id }) => id !== 'gate-01'));
      await closed;
      await scene.assertRefused(session);
      await scene.hub.publish(mine.reply, SECRET, { qos: 1 });
      const other = { username: 'gate-02', password: 'other-secret', clientId: 'gate-01' };
      const thief = await scene.raw({ ...session, ...other }).catch(() => undefined);
      if (thief) {
        // Where the broker makes the client id of the name, this is the other device itself.
        await hangUp(thief);
        await until(() => scene.victim.connected);
        assert.ok(!receivedBy(thief).includes(SECRET));
      }
      await scene.broker.setUsers(TEST_USERS);
      await scene.assertUntouched({ mayLose: thief !== undefined });
    });

    if (expire)
      it('a credential that ends while it is in use is cut off, and does not come back', async () => {
        const attacker = await scene.raw();
        const closed = closing(attacker);
        await expire(scene.broker, 'gate-01');
        await closed;
        await scene.assertRefused({});
        await scene.broker.setUsers(TEST_USERS);
        await scene.assertUntouched();
      });
  });
}

interface Seen {
  readonly topic: string;
  readonly text: string;
}

/** A hub and a device that mind their own business. */
class Scene {
  readonly broker: TestBroker;
  readonly hub: MqttConnection;
  victim: MqttConnection;
  readonly hubSaw: Seen[];
  victimSaw: Seen[];
  #lost = 0;
  #expectedLost = 0;

  private constructor(broker: TestBroker, hub: MqttConnection, victim: MqttConnection) {
    this.broker = broker;
    this.hub = hub;
    this.victim = victim;
    this.hubSaw = inbox(hub);
    this.victimSaw = inbox(victim);
    for (const one of [hub, victim])
      one.onDisconnect(() => {
        this.#lost += 1;
      });
  }

  static async open(broker: TestBroker): Promise<Scene> {
    const scene = new Scene(broker, await connectAs(broker, 'hub-1'), await connectAs(broker, 'gate-02'));
    await scene.hub.subscribe(['outrider/v1/#']);
    await scene.#subscribeVictim();
    return scene;
  }

  async close(): Promise<void> {
    await Promise.all([this.hub.end(), this.victim.end()]);
    await this.broker.stop();
  }

  /** A client without our manners, with the attacker's own credential unless told otherwise. */
  async raw(options: IClientOptions = {}): Promise<MqttClient> {
    const client = connect(this.broker.url, {
      clientId: 'gate-01',
      username: 'gate-01',
      password: 'gate-secret',
      protocolVersion: 4,
      reconnectPeriod: 0,
      ...options,
    });
    const texts: string[] = [];
    received.set(client, texts);
    client.on('message', (_topic, payload) => texts.push(payload.toString()));
    client.on('error', () => undefined);
    const isIn = await new Promise<boolean>((resolve) => {
      client.once('connect', () => resolve(true));
      client.once('close', () => resolve(false));
    });
    if (isIn) return client;
    client.end(true);
    throw new Error('the broker did not let it in');
  }

  async assertRefused(options: IClientOptions): Promise<void> {
    await assert.rejects(this.raw(options));
  }

  /** What is between the hub and the other device. */
  async speakInPrivate(): Promise<void> {
    for (const topic of [theirs.reply, theirs.chunk]) await this.hub.publish(topic, SECRET, { qos: 1 });
    await this.hub.publish(theirs.desired, SECRET, { qos: 1, retain: true });
    for (const topic of [theirs.infer, hubs.chunk('gate-02')])
      await this.victim.publish(topic, SECRET, { qos: 1 });
  }

  /** A round trip both ways after the attack: whatever it set off would have arrived before. */
  async assertUntouched(options: string | { readonly mayLose?: boolean } = {}): Promise<void> {
    if (typeof options === 'string') await this.#assertNothingKept(options);
    const nonce = newId();
    await this.hub.publish(theirs.reply, nonce, { qos: 1 });
    await until(() => this.victimSaw.some(({ text }) => text === nonce));
    await this.victim.publish(theirs.telemetry, nonce, { qos: 1 });
    await until(() => this.hubSaw.some(({ text }) => text === nonce));
    for (const { topic, text } of [...this.hubSaw, ...this.victimSaw])
      assert.ok(!text.includes(FORGED), `${topic} carried what the attacker wrote`);
    if (typeof options !== 'string' && options.mayLose) this.#expectedLost = this.#lost;
    assert.equal(this.#lost, this.#expectedLost, 'nobody else has lost the connection');
    this.hubSaw.length = 0;
    this.victimSaw.length = 0;
  }

  async bringVictimBack(): Promise<void> {
    this.victim = await connectAs(this.broker, 'gate-02');
    this.victimSaw = inbox(this.victim);
    await this.#subscribeVictim();
    this.victim.onDisconnect(() => {
      this.#lost += 1;
    });
    this.#expectedLost = this.#lost;
  }

  async #subscribeVictim(): Promise<void> {
    await this.victim.subscribe([theirs.reply, theirs.chunk, theirs.desired, HUB_PRESENCE_FILTER]);
  }

  /** What is retained comes again with each subscription. */
  async #assertNothingKept(topic: string): Promise<void> {
    if (topic.startsWith('outrider/v1/')) await this.hub.subscribe([topic]).catch(() => undefined);
  }
}

/** The attacker's turn to prove that it gets what is its own, and nothing before that was anybody else's. */
async function assertSees(scene: Scene, attacker: MqttClient): Promise<void> {
  await attacker.subscribeAsync(mine.reply, { qos: 1 });
  const nonce = newId();
  await scene.hub.publish(mine.reply, nonce, { qos: 1 });
  await until(() => receivedBy(attacker).includes(nonce));
  assert.deepEqual(
    receivedBy(attacker).filter((text) => text.includes(SECRET)),
    [],
  );
}

const received = new WeakMap<MqttClient, string[]>();

/** Everything that a client has received since before it was connected. */
const receivedBy = (client: MqttClient): string[] => received.get(client) ?? [];

const closing = (client: MqttClient): Promise<void> =>
  new Promise((resolve) => client.once('close', () => resolve()));

/** Until the broker has taken the publish, refused it, or hung up. */
async function settled(client: MqttClient, topic: string, payload: string, retain: boolean): Promise<void> {
  if (!client.connected) return;
  await Promise.race([
    closing(client),
    client.publishAsync(topic, payload, { qos: 1, retain }).catch(() => undefined),
  ]);
}

async function hangUp(client: MqttClient): Promise<void> {
  await client.endAsync(true);
}

/** A broker that reads its files again when it is told to may take a moment. */
async function untilRefused(scene: Scene, options: IClientOptions): Promise<void> {
  for (;;) {
    const client = await scene.raw(options).catch(() => undefined);
    if (!client) return;
    await hangUp(client);
    await turn();
  }
}

/** MQTT 3.1.1 CONNECT by hand, for what no client library would send. */
function connectPacket(clientId: string, username: Buffer, password: Buffer): Buffer {
  const field = (bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
  const body = Buffer.concat([
    field(Buffer.from('MQTT')),
    Buffer.from([4, 0xc2, 0, 30]),
    field(Buffer.from(clientId)),
    field(username),
    field(password),
  ]);
  const length: number[] = [];
  for (let left = body.length; ; left >>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return Buffer.concat([Buffer.from([0x10, ...length]), body]);
}

/** @returns the return code of the CONNACK, undefined when the broker hung up without one */
function connackCode(port: number, packet: Buffer): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write(packet));
    socket.on('data', (chunk: Buffer) => {
      resolve(chunk[3]);
      socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(undefined));
  });
}

async function halfConnect(port: number, bytes: Buffer): Promise<Socket> {
  const socket = createConnection(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes);
  socket.resume();
  return socket;
}

/** Random bytes, some of them behind a plausible fixed header. */
function malformed(): Buffer {
  const body = randomBytes(1 + Math.floor(Math.random() * 60));
  if (Math.random() < 0.3) return body;
  const type = Math.floor(Math.random() * 256);
  const name =
    Math.random() < 0.5 ? Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0xc2, 0, 30]) : Buffer.alloc(0);
  return Buffer.concat([Buffer.from([type, name.length + body.length]), name, body]);
}

/** Sends bytes on a fresh connection and hangs up. */
function spit(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.end(bytes));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.resume();
  });
}

/** Writes blocks of 1 MiB until the other side hangs up. @returns blocks that the kernel took */
function flood(port: number, header: Buffer, blocks: number): Promise<number> {
  const block = Buffer.alloc(1024 * 1024);
  return new Promise((resolve) => {
    let written = 0;
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.write(header);
      push();
    });
    const push = () => {
      if (socket.destroyed) return;
      if (written >= blocks) return void socket.destroy();
      socket.write(block, () => {
        written += 1;
        setImmediate(push);
      });
    };
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(written));
  });
}
