/**
 * MQTT 5 tells a client that another one has taken its session. The embedded broker speaks 3.1.1 and Mosquitto 2.0.11 does not tell
 * (measured), so the other side here is a socket that says just what the specification wants.
 */
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
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
  const device = await connectMqtt({
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    clientId: 'gate-01',
    username: 'gate-01',
    password: 'x',
    logger,
    random,
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
  return { sockets, device, losses, takenOver };
}

it('says who took its place, and keeps away instead of throwing the other out in turn', async (t) => {
  const { sockets, device, losses, takenOver } = await setUp(t);
  sockets[0]?.end(TAKEN_OVER);
  await until(() => losses.length > 0);
  assert.deepEqual(losses, ['another program uses this device’s id']);
  assert.equal(takenOver(), 1);
  // Any other loss would bring it back at once.
  await delay(500);
  assert.equal(sockets.length, 1);
  assert.ok(!device.connected);
});

it('comes back at once when the broker ends a session for another reason, and tells that', async (t) => {
  const { sockets, losses, takenOver } = await setUp(t);
  sockets[0]?.end(SHUTTING_DOWN);
  await until(() => sockets.length === 2);
  assert.deepEqual(losses, ['the broker closed the connection (reason code 139)']);
  assert.equal(takenOver(), 0);
});
