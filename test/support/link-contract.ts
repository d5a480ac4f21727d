/** What the link must do through any broker: the same tests run on the embedded one and on Mosquitto. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { deviceTopics, hubFilters, hubTopics } from '../../shared/contract/topics.ts';
import { connectMqtt, type MqttConnection, type MqttConnectOptions } from '../../shared/mqtt/connect.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import { type Logger, silentLogger } from '../../shared/runtime/logger.ts';
import { startWire, TEST_USERS, type TestBroker } from './broker.ts';
import { FakeClock } from './fake-clock.ts';

/** Waits until `read` gives something; the limit is there to fail at all, on the busiest machine too. */
export async function until<T>(
  read: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 60_000,
): Promise<T> {
  const giveUpMonoMs = performance.now() + limitMs;
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > giveUpMonoMs) throw new Error(`did not happen within ${limitMs} ms: ${read}`);
    await delay(5);
  }
}

/** Connects one of the test users; waits until it is connected. */
export async function connectAs(
  broker: Pick<TestBroker, 'url' | 'trust'>,
  id: string,
  options: Partial<MqttConnectOptions> = {},
): Promise<MqttConnection> {
  const user = TEST_USERS.find((one) => one.id === id);
  const connection = await connectMqtt({
    url: broker.url,
    ...(broker.trust && { trust: broker.trust }),
    clientId: id,
    username: id,
    password: user?.secret ?? '',
    logger: silentLogger,
    // No waiting in tests.
    random: () => 0,
    ...options,
  });
  await until(() => connection.connected);
  return connection;
}

/** Remembers what a connection receives. */
export function inbox(connection: MqttConnection): { topic: string; text: string; retained: boolean }[] {
  const received: { topic: string; text: string; retained: boolean }[] = [];
  connection.onMessage((topic, payload, retained) =>
    received.push({ topic, text: Buffer.from(payload).toString('utf8'), retained }),
  );
  return received;
}

const gate = deviceTopics('gate-01');

/** Declares the tests. */
export function linkContract(name: string, start: () => Promise<TestBroker>, isVersion5: boolean): void {
  describe(`the link through ${name}`, () => {
    let broker: TestBroker;
    before(async () => {
      broker = await start();
    });
    after(() => broker.stop());
    /** What a failed test leaves open would throw the next one's connections out. */
    const opened: MqttConnection[] = [];
    const open: typeof connectAs = async (...args) => {
      const connection = await connectAs(...args);
      opened.push(connection);
      return connection;
    };
    afterEach(() => Promise.all(opened.splice(0).map((one) => one.end())));

    it('carries a request to the hub and its reply to the device', async () => {
      const hub = await open(broker, 'hub-1');
      const device = await open(broker, 'gate-01');
      hub.onMessage((_topic, payload) => {
        void hub.publish(gate.reply, Buffer.concat([Buffer.from('re: '), payload]), { qos: 1 });
      });
      const received = inbox(device);
      await hub.subscribe([hubFilters.infer]);
      await device.subscribe([gate.reply]);
      await device.publish(gate.infer, 'hello', { qos: 1 });
      const reply = await until(() => received[0]);
      assert.deepEqual(reply, { topic: gate.reply, text: 're: hello', retained: false });
      await Promise.all([hub.end(), device.end()]);
    });

    it('says whether the broker shares subscriptions', async () => {
      const hub = await open(broker, 'hub-1');
      assert.equal(hub.sharedSubscriptions, isVersion5);
      await hub.end();
    });

    it('refuses to publish while it is not connected, instead of queueing', async () => {
      const device = await connectMqtt({
        url: 'mqtt://127.0.0.1:1',
        clientId: 'gate-01',
        username: 'gate-01',
        password: 'x',
        logger: silentLogger,
      });
      await assert.rejects(
        () => device.publish(gate.infer, 'x', { qos: 1 }),
        (error) => isAppError(error, 'BROKER_UNREACHABLE'),
      );
      await device.end();
    });

    it('shows a retained presence to whoever comes later, and the last will of a device that vanishes', async () => {
      const wire = await startWire(broker);
      const device = await open({ ...broker, url: wire.url }, 'gate-01', {
        will: { topic: gate.presence, payload: 'gone', retain: true },
      });
      await device.publish(gate.presence, 'here', { qos: 1, retain: true });
      const hub = await open(broker, 'hub-1');
      const received = inbox(hub);
      await hub.subscribe([hubFilters.presence]);
      assert.deepEqual(await until(() => received[0]), {
        topic: gate.presence,
        text: 'here',
        retained: true,
      });
      wire.cut();
      assert.equal((await until(() => received[1])).text, 'gone');
      await Promise.all([device.end(), hub.end()]);
      await wire.stop();
    });

    it('keeps the last will back when the device says goodbye', async () => {
      const hub = await open(broker, 'hub-1');
      const received = inbox(hub);
      await hub.subscribe([deviceTopics('gate-02').presence]);
      const device = await open(broker, 'gate-02', {
        will: { topic: deviceTopics('gate-02').presence, payload: 'gone', retain: false },
      });
      await device.end();
      // What the broker had to say of the session before it has said when it takes this one.
      const again = await open(broker, 'gate-02');
      await again.publish(deviceTopics('gate-02').presence, 'back', { qos: 1 });
      // The broker may still hand the hub what earlier tests left in its session.
      const presences = () => received.filter(({ topic }) => topic === deviceTopics('gate-02').presence);
      await until(() => presences().some(({ text }) => text === 'back'));
      // Once for each filter of the session that it meets, where a broker likes [MQTT-3.3.5]: only what was said counts.
      assert.deepEqual([...new Set(presences().map(({ text }) => text))], ['back']);
      await Promise.all([hub.end(), again.end()]);
    });

    it('comes back after a broker restart with its subscriptions, and announces itself again', async () => {
      const hub = await open(broker, 'hub-1');
      const device = await open(broker, 'gate-01');
      const announce = () =>
        void device.publish(gate.presence, 'here', { qos: 1, retain: true }).catch(() => undefined);
      device.onConnect(announce);
      const received = inbox(hub);
      await hub.subscribe([hubFilters.presence]);
      let lost = 0;
      device.onDisconnect(() => {
        lost += 1;
      });
      await broker.restart(100);
      await until(() => received.some(({ text }) => text === 'here'));
      assert.equal(lost, 1);
      await Promise.all([hub.end(), device.end()]);
    });

    it('rejects what the broker has not acknowledged when the connection is lost', async () => {
      const device = await open(broker, 'gate-01');
      const sent = Promise.allSettled(
        Array.from({ length: 200 }, () => device.publish(gate.telemetry, Buffer.alloc(20_000), { qos: 1 })),
      );
      await Promise.all([broker.restart(), sent]);
      for (const one of await sent)
        assert.ok(one.status === 'fulfilled' || isAppError(one.reason, 'BROKER_UNREACHABLE'));
      await device.end();
    });

    it('reports a refused credential once, and keeps trying', async () => {
      const clock = new FakeClock();
      const events: string[] = [];
      const logger: Logger = {
        ...silentLogger,
        failure: (event, error) => events.push(`${event} ${isAppError(error) ? error.code : ''}`),
        child: () => logger,
      };
      const device = await connectMqtt({
        url: broker.url,
        ...(broker.trust && { trust: broker.trust }),
        clientId: 'gate-01',
        username: 'gate-01',
        password: 'wrong',
        protocol: isVersion5 ? 5 : 4,
        logger,
        random: () => 0,
        clock,
      });
      let refusals = 0;
      device.onRefused(() => {
        refusals += 1;
      });
      for (let tries = 1; tries <= 3; tries++) {
        await until(() => refusals === tries && clock.waiting === 1);
        await clock.advance(4_999);
        assert.equal(clock.waiting, 1, 'it gives the hub its time');
        await clock.advance(1);
      }
      assert.deepEqual(events, ['mqtt.refused LINK_REFUSED']);
      await device.end();
    });

    it('never fights another program that uses its client id, and says so', async () => {
      const events: string[] = [];
      const logger: Logger = { ...silentLogger, warn: (event) => events.push(event), child: () => logger };
      const clock = new FakeClock();
      // Waits of 0.1, 0.2, 0.4, 0.8 s …
      const protocol: 4 | 5 = isVersion5 ? 5 : 4;
      const options = { logger, random: () => 0.1, protocol, clock };
      const first = await open(broker, 'gate-02', options);
      const losses: string[] = [];
      first.onDisconnect((reason) => losses.push(reason));
      const second = await open(broker, 'gate-02', options);
      /** Whoever is back throws the other out, and that one waits, before the hands turn on. */
      const pass = async (ms: number): Promise<void> => {
        for (let passedMs = 0; passedMs < ms; passedMs += 50) {
          await until(() => clock.waiting === 1);
          await clock.advance(50);
        }
        await until(() => clock.waiting === 1);
      };
      // Brokers that speak MQTT 5 may tell (Mosquitto 2.0.11 does not yet, measured), and then nobody has to guess.
      const said = await until(async () => {
        await pass(100);
        return events[0];
      });
      await pass(1_000);
      if (said === 'mqtt.taken_over') {
        assert.deepEqual(losses, ['another program uses this device’s id']);
        assert.deepEqual([first.connected, second.connected], [false, true]);
      } else assert.ok(losses.length >= 4 && losses.length <= 6, `lost ${losses.length} times`);
      assert.ok(events.every((event) => event === said));
      await Promise.all([first.end(), second.end()]);
    });

    it('does not hand a device what is meant for another', async () => {
      const device = await open(broker, 'gate-02');
      const hub = await open(broker, 'hub-1');
      const received = inbox(device);
      await device.subscribe([deviceTopics('gate-02').reply]);
      for (const filter of [gate.reply, 'outrider/v1/devices/+/reply', 'outrider/v1/#', '#', '+/+/+/+/+'])
        await device.subscribe([filter]).catch(() => undefined);
      await hub.publish(gate.reply, 'secret', { qos: 1, retain: true });
      await hub.publish(hubTopics('hub-1').presence, 'hub is here', { qos: 1 });
      // The broker keeps the order of what one client publishes.
      await hub.publish(deviceTopics('gate-02').reply, 'yours', { qos: 1 });
      await until(() => received.some(({ text }) => text === 'yours'));
      assert.deepEqual(
        received.filter(({ text }) => text === 'secret'),
        [],
      );
      await hub.publish(gate.reply, '', { qos: 1, retain: true });
      await Promise.all([hub.end(), device.end()]);
    });
  });
}
