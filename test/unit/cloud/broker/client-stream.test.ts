import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { ClientStream, MAX_UNREAD_BYTES } from '../../../../cloud/broker/client-stream.ts';
import { ClientTraffic } from '../../../../cloud/broker/client-traffic.ts';
import { DEVICE_PACKETS } from '../../../../shared/contract/limits.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const PINGREQ = Buffer.from([0xc0, 0]);
const pings = (count: number): Buffer => Buffer.alloc(2 * count, PINGREQ);

/** A connection whose other side takes nothing, and what aedes would read of it. */
function setUp() {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const stream = new Duplex({ read: () => undefined, write: () => undefined, readableHighWaterMark: 1e9 });
  stream.on('error', () => undefined);
  const watched = new ClientStream(stream, clock);
  let readBytes = 0;
  stream.on('readable', () => {
    for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) readBytes += chunk.length;
  });
  const traffic = new ClientTraffic({ id: 'gate-01', clock, logger });
  const told = () => logger.lines.map(({ event, facts }) => [event, facts.clientId]);
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  return { clock, stream, watched, traffic, told, turn, read: () => readBytes };
}

test('reads a device that sends too much as fast as it may, loses nothing of it, and says so once', async () => {
  const { clock, stream, watched, traffic, told, turn, read } = setUp();
  watched.trust(traffic);
  const all = 2 * (DEVICE_PACKETS.burst + 3 * DEVICE_PACKETS.perSecond);
  stream.push(pings(all / 2));
  for (let i = 0; i < 500; i++) await turn();
  const atOnce = read();
  assert.ok(
    atOnce >= 2 * (DEVICE_PACKETS.burst - 100) && atOnce < 2 * (DEVICE_PACKETS.burst + 2_000),
    `${atOnce}`,
  );
  for (let ms = 0; ms < 4_000; ms += 10) {
    await clock.advance(10);
    await turn();
    await turn();
  }
  assert.equal(read(), all);
  assert.deepEqual(told(), [['broker.slowed', 'gate-01']]);
});

test('bounds a client over all its connections: each new one begins where the last has ended', async () => {
  const { stream, watched, traffic, turn, read } = setUp();
  traffic.took(DEVICE_PACKETS.burst, 0);
  watched.trust(traffic);
  stream.push(pings(5_000));
  for (let i = 0; i < 50; i++) await turn();
  // One read of two kilobytes, before it was known how much it would be.
  assert.ok(read() <= 2 * 1024, `${read()}`);
});

test('never lets others wait for a device that does not read, and ends it where too much waits', () => {
  const { stream, watched, traffic, told } = setUp();
  watched.trust(traffic);
  const block = Buffer.alloc(1024 * 1024);
  const room = MAX_UNREAD_BYTES / block.length;
  for (let i = 0; i < room; i++) assert.ok(stream.write(block), 'as if it had read');
  assert.ok(!stream.destroyed);
  for (let i = 0; i < 2; i++) stream.write(block);
  assert.ok(stream.destroyed);
  assert.deepEqual(told(), [['broker.slow_reader', 'gate-01']]);
});

test('counts what each write costs beside its bytes: small ones fill memory, too', () => {
  const { stream, watched, traffic } = setUp();
  watched.trust(traffic);
  stream.write(Buffer.alloc(64 * 1024));
  let writes = 0;
  while (!stream.destroyed) {
    stream.write(PINGREQ);
    writes += 1;
  }
  assert.ok(writes < MAX_UNREAD_BYTES / 100, `${writes}`);
});

test('tells a hub when it has to wait, as a stream does', () => {
  const { stream, watched } = setUp();
  watched.trust(undefined);
  assert.equal(stream.write(Buffer.alloc(1024 * 1024)), false);
});
