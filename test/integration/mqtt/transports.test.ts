/** What lies under MQTT: TCP, TLS, WebSocket and both, through the embedded broker. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { deviceTopics, hubFilters } from '../../../shared/contract/topics.ts';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { startEmbeddedBroker, startWire, TEST_USERS, type TestBroker } from '../../support/broker.ts';
import { connectAs, inbox, until } from '../../support/link-contract.ts';
import { spyOnNoDelay } from '../../support/no-delay.ts';

const gate = deviceTopics('gate-01');

for (const transport of ['mqtt', 'mqtts', 'ws', 'wss'] as const)
  describe(`the link over ${transport}`, () => {
    let broker: TestBroker;
    before(async () => {
      broker = await startEmbeddedBroker(TEST_USERS, silentLogger, transport);
    });
    after(() => broker.stop());

    it('asks for TCP_NODELAY at both ends: Nagle’s algorithm would make it 400 times slower', async (t) => {
      const spy = await spyOnNoDelay();
      t.after(() => spy.restore());
      const both = [await connectAs(broker, 'hub-1'), await connectAs(broker, 'gate-01')];
      assert.equal(spy.count('remote', broker.port), 2, 'the clients’ sockets');
      assert.equal(spy.count('local', broker.port), 2, 'the broker’s sockets');
      await Promise.all(both.map((one) => one.end()));
    });

    it('counts every byte of the wire, session after session', async () => {
      const wire = await startWire(broker);
      const device = await connectAs({ ...broker, url: wire.url }, 'gate-01');
      await device.publish(gate.telemetry, Buffer.alloc(10_000), { qos: 1 });
      assert.deepEqual(device.wireBytes, wire.bytes);
      const isBack = new Promise<void>((resolve) => device.onConnect(resolve));
      wire.cut();
      await isBack;
      await device.publish(gate.telemetry, Buffer.alloc(10_000), { qos: 1 });
      // What was written to the dead socket, a goodbye of TLS, has been sent and has not arrived.
      assert.equal(device.wireBytes.down, wire.bytes.down);
      const lost = device.wireBytes.up - wire.bytes.up;
      assert.ok(lost >= 0 && lost < 100, `${lost} bytes too many`);
      await device.end();
      await wire.stop();
    });

    it('carries the largest packet that is ours, in both directions', async () => {
      const hub = await connectAs(broker, 'hub-1');
      const device = await connectAs(broker, 'gate-01');
      const received = inbox(device);
      hub.onMessage((_topic, payload) => void hub.publish(gate.reply, payload, { qos: 1 }));
      await hub.subscribe([hubFilters.infer]);
      await device.subscribe([gate.reply]);
      const large = 'x'.repeat(1024 * 1024 - 100);
      await device.publish(gate.infer, large, { qos: 1 });
      assert.equal((await until(() => received[0])).text, large);
      await Promise.all([hub.end(), device.end()]);
    });

    it('leaves nothing of a client with a clean session in the broker', async () => {
      const options = { cleanSession: true };
      const device = await connectAs(broker, 'gate-01', options);
      await device.subscribe([gate.reply]);
      await device.end();
      const hub = await connectAs(broker, 'hub-1');
      await hub.publish(gate.reply, 'while away', { qos: 1 });
      // Without subscribing: only a session that was kept would bring it.
      const again = await connectAs(broker, 'gate-01', options);
      const received = inbox(again);
      await again.subscribe([gate.desired]);
      await hub.publish(gate.desired, 'now', { qos: 1 });
      assert.equal((await until(() => received[0])).text, 'now');
      await Promise.all([hub.end(), again.end()]);
    });
  });

describe('the door for WebSocket', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startEmbeddedBroker(TEST_USERS, silentLogger, 'ws');
  });
  after(() => broker.stop());

  /** A client without our manners. @returns how it ends */
  const open = (path: string, act: (socket: WebSocket) => void = () => undefined) =>
    new Promise<string>((resolve) => {
      const socket = new WebSocket(`${broker.url}${path}`, ['mqtt']);
      socket.on('error', (error) => resolve(error.message));
      socket.on('open', () => act(socket));
      socket.on('close', (code) => resolve(`closed ${code}`));
    });

  it('is at /mqtt and nowhere else', async () => {
    assert.match(await open('/'), /400/);
    const device = await connectAs({ ...broker, url: `${broker.url}/mqtt` }, 'gate-01');
    await device.end();
    const events: string[] = [];
    const logger = {
      ...silentLogger,
      failure: (_event: string, error: unknown) => events.push(String(error)),
    };
    const lost = await connectMqtt({
      url: `${broker.url}/other`,
      clientId: 'gate-01',
      username: 'gate-01',
      password: 'x',
      logger: { ...logger, child: () => silentLogger },
    });
    assert.match(await until(() => events[0]), /400/);
    await lost.end();
  });

  it('speaks MQTT and compresses nothing', async () => {
    const socket = new WebSocket(`${broker.url}/mqtt`, ['other', 'mqtt'], { perMessageDeflate: true });
    await new Promise((resolve) => socket.once('open', resolve));
    assert.equal(socket.protocol, 'mqtt');
    assert.equal(socket.extensions, '');
    socket.terminate();
  });

  it('takes no text', async () => {
    assert.match(await open('/mqtt', (socket) => socket.send('hello')), /^closed (1003|1006)$/);
  });

  it('keeps no large message of a stranger in memory', async () => {
    assert.equal(await open('/mqtt', (socket) => socket.send(Buffer.alloc(9 * 1024))), 'closed 1009');
  });

  it('ends a stranger’s packet that announces too much, as over TCP', async () => {
    // A CONNECT of 200 MB: only its fixed header is sent.
    const header = Buffer.from([0x10, 0x80, 0xa3, 0xaf, 0x5f]);
    assert.match(await open('/mqtt', (socket) => socket.send(header)), /^closed/);
  });

  it('says what it is to a browser', async () => {
    const status = await new Promise((resolve, reject) => {
      request(`${broker.url.replace('ws:', 'http:')}/mqtt`, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    assert.equal(status, 426);
  });
});

it('says which address it cannot use', async () => {
  const options = { clientId: 'x', username: 'x', password: 'x', logger: silentLogger };
  for (const bad of ['localhost:1883', 'http://localhost', 'nonsense', 'mqtt://'])
    await assert.rejects(connectMqtt({ ...options, url: bad }), (error) =>
      isAppError(error, 'CONFIG_INVALID'),
    );
});
