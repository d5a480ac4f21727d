/**
 * MQTT 5 tells a client that another one has taken its session. The embedded broker speaks 3.1.1 and Mosquitto 2.0.11 does not tell
 * (measured), so the other side here is a socket that says just what the specification wants.
 */
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { it } from 'node:test';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { until } from '../../support/link-contract.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

/** MQTT 5 3.2: success, no properties. */
const CONNACK = Buffer.from([0x20, 3, 0, 0, 0]);
/** MQTT 5 3.14: session taken over, no properties. */
const TAKEN_OVER = Buffer.from([0xe0, 2, 0x8e, 0]);
const SHUTTING_DOWN = Buffer.from([0xe0, 2, 0x8b, 0]);

async function setUp(t: { after(run: () => unknown): void }, random = () => 0) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write(CONNACK));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const logger = recordingLogger();
  const clock = new FakeClock();
  const device = await connectMqtt({
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    clientId: 'gate-01',
    username: 'gate-01',
    password: 'x',
    logger,
    random,
    clock,
  });
  const losses: string[] = [];
  device.onDisconnect((reason) => losses.push(reason));
  await until(() => device.connected);
  t.after(async () => {
    await device.end();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const takenOver = () => logger.lines.filter(({ event }) => event === 'mqtt.taken_over').length;
  /** It has noticed the loss, and waits before it comes back. */
  const waits = () => until(() => clock.waiting === 1);
  return { sockets, device, losses, takenOver, clock, waits };
}

it('says who took its place, and keeps away instead of throwing the other out in turn', async (t) => {
  const { sockets, device, losses, takenOver, clock, waits } = await setUp(t);
  sockets[0]?.end(TAKEN_OVER);
  await waits();
  assert.deepEqual(losses, ['another program uses this device’s id']);
  assert.equal(takenOver(), 1);
  // Any other loss would bring it back at once.
  await clock.advance(59_999);
  assert.equal(clock.waiting, 1, 'it waits still');
  assert.equal(sockets.length, 1);
  assert.ok(!device.connected);
  await clock.advance(1);
  await until(() => sockets.length === 2);
});

it('comes back at once when the broker ends a session for another reason, and tells that', async (t) => {
  const { sockets, losses, takenOver, clock, waits } = await setUp(t);
  sockets[0]?.end(SHUTTING_DOWN);
  await waits();
  await clock.advance(0);
  await until(() => sockets.length === 2);
  assert.deepEqual(losses, ['the broker closed the connection (reason code 139)']);
  assert.equal(takenOver(), 0);
});
