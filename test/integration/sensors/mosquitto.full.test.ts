/** A sensor at a real Mosquitto. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { it } from 'node:test';
import { connectAsync } from 'mqtt';
import { hasMosquitto } from '../../support/broker.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';
import { eventually } from '../../support/programs.ts';
import { runFeed } from './feed-run.ts';

if (hasMosquitto())
  it('windows come of what is published; what is kept, huge or broken is counted', async (t) => {
    const folder = await temporaryFolder(t);
    const port = await freePort();
    const file = join(folder, 'mosquitto.conf');
    await writeFile(file, `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n`);
    const broker = spawn('mosquitto', ['-c', file], { stdio: 'ignore' });
    t.after(() => broker.kill());
    await eventually(() => canConnect(port), 'Mosquitto listens', 10_000);
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 });
    t.after(() => client.endAsync(true));
    const publish = (payload: string, retain = false) =>
      client.publishAsync('tele/plug/SENSOR', payload, { qos: 1, retain });
    await publish(JSON.stringify({ DHT11: { Temperature: 99 } }), true);
    const channels = [{ topic: 'tele/plug/SENSOR', path: 'DHT11.Temperature', scale: 0.1 }];
    const url = `mqtt://127.0.0.1:${port}`;
    const run = await runFeed(t, { feed: { type: 'mqtt', url, channels, window: { count: 3 } } });
    await run.until(({ state }) => state === 'live', 'live');
    await publish('{"DHT11": {"Temperature": NaN}}');
    await publish(JSON.stringify({ DHT11: { Temperature: 1 }, padding: 'x'.repeat(10_000_000) }));
    for (const value of [210, 220, 230]) await publish(JSON.stringify({ DHT11: { Temperature: value } }));
    await eventually(() => run.taken.length === 1, 'a window', 10_000);
    assert.deepEqual(run.values(), [[[21], [22], [23]]]);
    assert.deepEqual(await run.dropped(), { retained: 1, 'not-json': 1, 'too-large': 1 });
  });
else it('needs mosquitto on the PATH', () => assert.fail('mosquitto is not installed'));

const canConnect = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
