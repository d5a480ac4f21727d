/** How the embedded broker says no; that nothing gets past it, attacks.test.ts holds. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { deviceTopics, hubTopics } from '../../../shared/contract/topics.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import {
  startEmbeddedBroker,
  TEST_USERS,
  type TestBroker,
  type TestUser,
  unremindedClock,
} from '../../support/broker.ts';
import { settle } from '../../support/fake-clock.ts';
import { connectAs, inbox, until } from '../../support/link-contract.ts';

/** CONNACK's return code [MQTT 3.1.1, 3.2.2.3]: not authorized. */
const NOT_AUTHORIZED = 5;
const mine = deviceTopics('gate-01');
const theirs = deviceTopics('gate-02');
/** A session that the broker keeps. */
const sessionOfGate: IClientOptions = {
  clientId: 'gate-01',
  username: 'gate-01',
  password: 'gate-secret',
  protocolVersion: 4,
  reconnectPeriod: 0,
  clean: false,
};

describe('access to the embedded broker', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startEmbeddedBroker(TEST_USERS, silentLogger, 'mqtt', unremindedClock);
  });
  after(() => broker.stop());

  /** A client without our manners. */
  const raw = (options: IClientOptions = {}): Promise<MqttClient> =>
    connectAsync(
      broker.url,
      {
        clientId: 'gate-01',
        username: 'gate-01',
        password: 'gate-secret',
        protocolVersion: 4,
        reconnectPeriod: 0,
        ...options,
      },
      false,
    );

  for (const [what, options] of Object.entries<IClientOptions>({
    'a wrong secret': { password: 'guessed' },
    'an unknown id': { username: 'nobody', clientId: 'nobody' },
    'no credential': { username: '', password: '' },
    'the client id of another device': { clientId: 'gate-02' },
    'the client id of the hub': { clientId: 'hub-1' },
    'a last will to the topic of another device': {
      will: { topic: theirs.presence, payload: Buffer.from('gone'), qos: 1, retain: true },
    },
    'a last will to hub presence': {
      will: { topic: hubTopics('hub-1').presence, payload: Buffer.from('gone'), qos: 1, retain: true },
    },
    'a user name from Object.prototype': { username: '__proto__', clientId: '__proto__' },
  })) {
    it(`refuses ${what}`, async () => {
      // The same for each: a stranger does not learn which ids there are.
      await assert.rejects(raw(options), { code: NOT_AUTHORIZED });
    });
  }

  it('lets a hub add to its client id', async () => {
    const hub = await raw({ username: 'hub-1', password: 'hub-secret', clientId: 'hub-1-second' });
    assert.ok(hub.connected);
    await hub.endAsync();
  });

  for (const filter of [
    theirs.reply,
    theirs.desired,
    'outrider/v1/devices/+/reply',
    'outrider/v1/devices/gate-01/#',
    'outrider/v1/#',
    '#',
    '$SYS/#',
    '+/v1/devices/gate-01/reply',
    `$share/hub/${mine.reply}`,
    '$share/hub/outrider/v1/devices/+/infer',
    mine.infer,
  ]) {
    it(`does not grant a device the filter ${filter}`, async () => {
      const device = await raw();
      await assert.rejects(device.subscribeAsync(filter, { qos: 1 }));
      assert.ok(device.connected);
      await device.endAsync();
    });
  }

  it('does not grant a hub a shared filter, which aedes would accept and then starve', async () => {
    const hub = await raw({ username: 'hub-1', password: 'hub-secret', clientId: 'hub-1' });
    await assert.rejects(hub.subscribeAsync('$share/hub/outrider/v1/devices/+/infer', { qos: 1 }));
    await assert.rejects(hub.subscribeAsync('#', { qos: 1 }));
    await hub.endAsync();
  });

  for (const topic of [
    theirs.infer,
    theirs.presence,
    mine.reply,
    mine.desired,
    hubTopics('hub-1').presence,
    'outrider/v1/devices/gate-01/infer/x',
    '$SYS/x',
    'x',
  ]) {
    it(`closes on a publish to ${topic}, retained or not, and delivers nothing`, async () => {
      const hub = await connectAs(broker, 'hub-1');
      const received = inbox(hub);
      await hub.subscribe(['outrider/v1/#']);
      /** All that the broker had for the hub until now has come. */
      const mark = async (text: string): Promise<void> => {
        await hub.publish(hubTopics('hub-1').presence, text, { qos: 1 });
        await until(() => received.some((one) => one.text === text));
      };
      await mark('before');
      received.length = 0;
      const device = await raw();
      const closed = new Promise<void>((resolve) => device.once('close', () => resolve()));
      device.on('error', () => undefined);
      device.publish(topic, 'forged', { qos: 0, retain: true });
      await closed;
      await mark('after');
      assert.deepEqual(
        received.map(({ text }) => text),
        ['after'],
      );
      await hub.end();
    });
  }

  it('does not queue another device’s messages for a session that asked for them beside its own', async () => {
    const device = await raw({ clean: false });
    await device
      .subscribeAsync({ [mine.reply]: { qos: 1 }, [theirs.reply]: { qos: 1 } })
      .catch(() => undefined);
    await device.endAsync();
    const hub = await connectAs(broker, 'hub-1');
    await hub.publish(theirs.reply, 'secret', { qos: 1 });
    await hub.publish(mine.reply, 'yours', { qos: 1 });
    const received: string[] = [];
    const again = connect(broker.url, sessionOfGate);
    again.on('message', (_topic, payload) => received.push(payload.toString()));
    await until(() => received.includes('yours'));
    await hub.publish(mine.reply, 'and this', { qos: 1 });
    await until(() => received.includes('and this'));
    assert.deepEqual(received, ['yours', 'and this']);
    await Promise.all([again.endAsync(), hub.end()]);
  });

  it('keeps a bounded queue for a device that is away, and none for one that was revoked', async () => {
    const device = await raw(sessionOfGate);
    await device.subscribeAsync(mine.reply, { qos: 1 });
    await device.endAsync();
    const hub = await connectAs(broker, 'hub-1');
    for (let i = 0; i < 60; i++) await hub.publish(mine.reply, Buffer.alloc(900 * 1024, i), { qos: 1 });
    const received: number[] = [];
    const again = connect(broker.url, sessionOfGate);
    again.on('message', (_topic, payload) => received.push(payload[0] ?? -1));
    await until(() => received.length >= 36);
    await hub.publish(mine.reply, Buffer.from([99]), { qos: 1 });
    await until(() => received.includes(99));
    // 32 MiB hold 36 of them: the oldest stay.
    assert.deepEqual(received, [...Array.from({ length: 36 }, (_, i) => i), 99]);
    await again.endAsync();

    await hub.publish(mine.reply, 'for the revoked one', { qos: 1 });
    const witness = await connectAs(broker, 'gate-02');
    await broker.setUsers(TEST_USERS.filter(({ role }) => role === 'hub'));
    await until(() => !witness.connected);
    await settle();
    await broker.setUsers(TEST_USERS);
    received.length = 0;
    const third = await raw(sessionOfGate);
    third.on('message', (_topic, payload) => received.push(payload[0] ?? -1));
    await third.subscribeAsync(mine.reply, { qos: 1 });
    await hub.publish(mine.reply, 'z', { qos: 1 });
    await until(() => received.length > 0);
    assert.deepEqual(received, ['z'.charCodeAt(0)]);
    await Promise.all([third.endAsync(), witness.end(), hub.end()]);
  });

  it('cuts off a device that has been revoked, and says that it is offline', async () => {
    const hub = await connectAs(broker, 'hub-1');
    const received = inbox(hub);
    await hub.subscribe([theirs.presence]);
    const device = await connectAs(broker, 'gate-02', {
      will: { topic: theirs.presence, payload: 'gone', retain: true },
    });
    let lost = 0;
    device.onDisconnect(() => {
      lost += 1;
    });
    await broker.setUsers(TEST_USERS.filter(({ id }) => id !== 'gate-02'));
    await until(() => lost > 0);
    assert.equal((await until(() => received[0])).text, 'gone');
    await assert.rejects(raw({ username: 'gate-02', clientId: 'gate-02', password: 'other-secret' }));
    assert.ok(hub.connected, 'the others stay connected');
    await broker.setUsers(TEST_USERS);
    await Promise.all([device.end(), hub.end()]);
  });

  it('cuts off a device whose secret has changed', async () => {
    const device = await connectAs(broker, 'gate-02');
    await broker.setUsers(
      TEST_USERS.map((user) => (user.id === 'gate-02' ? { ...user, secret: 'new' } : user)),
    );
    await until(() => !device.connected);
    await device.end();
    await broker.setUsers(TEST_USERS);
  });

  it('knows a device at once that has just been enrolled', async () => {
    const fresh: TestUser = { id: 'fresh', secret: 'fresh-secret', role: 'device' };
    await broker.setUsers([...TEST_USERS, fresh]);
    const device = await raw({ username: 'fresh', clientId: 'fresh', password: 'fresh-secret' });
    assert.ok(device.connected);
    await device.endAsync();
    await broker.setUsers(TEST_USERS);
  });

  it('ends a connection with an oversized PUBLISH, and keeps one below the limit', async () => {
    const device = await raw();
    device.on('error', () => undefined);
    await device.publishAsync(mine.telemetry, Buffer.alloc(900 * 1024), { qos: 1 });
    const closed = new Promise<void>((resolve) => device.once('close', () => resolve()));
    device.publish(mine.telemetry, Buffer.alloc(1100 * 1024), { qos: 1 });
    await closed;
  });
});
