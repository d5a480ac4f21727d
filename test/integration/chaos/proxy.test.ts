/** The chaos proxy on real sockets: what goes through, what does not, and what its ends get to know. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { systemCode } from '../../../shared/runtime/errors.ts';
import { seededRandom } from '../../../shared/runtime/random.ts';
import { ChaosProxy } from '../../support/chaos/proxy.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { eventually } from '../../support/programs.ts';

/** What waits in the proxy before it takes no more. */
const MAX_QUEUED_BYTES = 256 * 1024;

/** One end of a connection, and all that it has seen. */
interface End {
  readonly socket: Socket;
  received(): Buffer;
  hasEnded(): boolean;
  /** How it closed: a code, or '' for a clean close. */
  closed(): string | undefined;
}

function watch(socket: Socket): End {
  const chunks: Buffer[] = [];
  let ended = false;
  let failure = '';
  let closed: string | undefined;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('end', () => {
    ended = true;
  });
  socket.on('error', (error) => {
    failure = systemCode(error) ?? error.message;
  });
  socket.on('close', () => {
    closed = failure;
  });
  return { socket, received: () => Buffer.concat(chunks), hasEnded: () => ended, closed: () => closed };
}

async function startPair(
  t: TestContext,
): Promise<{ proxy: ChaosProxy; clock: FakeClock; open: () => Promise<{ near: End; far: End }> }> {
  const clock = new FakeClock();
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const targetPort = typeof address === 'object' && address ? address.port : 0;
  const proxy = new ChaosProxy({ targetPort, random: seededRandom(1), clock });
  await proxy.start();
  t.after(async () => {
    await proxy.stop();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    proxy,
    clock,
    async open() {
      const accepted = once(server, 'connection') as Promise<[Socket]>;
      const near = createConnection({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true });
      sockets.add(near);
      const ends = { near: watch(near), far: watch((await accepted)[0]) };
      sockets.add(ends.far.socket);
      return ends;
    },
  };
}

const bytes = (count: number): Buffer =>
  Buffer.from(Array.from({ length: count }, (_, at) => (at * 7) % 251));

test('a well link carries everything, both ways and in order, and a goodbye of each end', async (t) => {
  const { proxy, open } = await startPair(t);
  const { near, far } = await open();
  const sent = bytes(3_000_000);
  near.socket.end(sent);
  far.socket.write('back');
  await eventually(() => far.hasEnded(), 'the end did not arrive');
  assert.ok(far.received().equals(sent));
  assert.equal(near.hasEnded(), false);
  far.socket.end(' again');
  await eventually(() => near.closed() === '', 'the near end did not close');
  assert.equal(near.received().toString(), 'back again');
  await eventually(() => proxy.connections === 0, 'the proxy keeps the connection');
  assert.deepEqual(proxy.bytes, { up: sent.length, down: 10 });
});

test('delay, jitter and loss hold bytes back and keep their order, in the direction that was asked for', async (t) => {
  const { proxy, clock, open } = await startPair(t);
  const { near, far } = await open();
  proxy.set('up', { delayMs: 100, jitterMs: 50, lossShare: 0.3, retransmitMs: 80 });
  const sent = bytes(20_000);
  near.socket.write(sent);
  far.socket.write('quick');
  await eventually(() => near.received().length === 5, 'the other direction is held up');
  assert.equal(far.received().length, 0);
  await eventually(() => proxy.queuedBytes === sent.length, 'the bytes never got to the proxy');
  await clock.advance(98);
  assert.equal(proxy.bytes.up, 0);
  // The latest: delayed, with all the jitter, and each of them sent once more.
  await clock.advance(2 + 50 + 80);
  assert.equal(proxy.bytes.up, sent.length);
  await eventually(() => far.received().length === sent.length, 'the bytes never came');
  assert.ok(far.received().equals(sent));
});

test('a narrow link takes as long as its width says, and what waits goes at once when it is healed', async (t) => {
  const { proxy, clock, open } = await startPair(t);
  const { near, far } = await open();
  proxy.set('up', { bytesPerSecond: 20_000 });
  near.socket.write(bytes(1_000_000));
  await eventually(() => proxy.queuedBytes >= MAX_QUEUED_BYTES, 'the proxy is not full');
  await clock.advance(500);
  const soFar = proxy.bytes.up;
  // The bucket's burst is 5,840 bytes, half a second carries 10,000, and a segment goes whole.
  assert.ok(soFar > 15_840 - 1_500 && soFar < 15_840 + 1_500, `${soFar} bytes in half a second`);
  await eventually(() => far.received().length === soFar, 'what the link has carried never came');
  await proxy.heal();
  await eventually(() => far.received().length === 1_000_000, 'what waited never came');
  assert.ok(far.received().equals(bytes(1_000_000)));
});

test('takes no more into memory than it says: a sender is held up', async (t) => {
  const { proxy, open } = await startPair(t);
  const { near, far } = await open();
  proxy.set('up', { delayMs: 3_600_000 });
  near.socket.write(Buffer.alloc(32_000_000));
  await eventually(() => proxy.queuedBytes >= MAX_QUEUED_BYTES, 'the proxy is not full');
  // It has all the time that it needs to take more.
  for (let turns = 1; turns <= 100; turns++) {
    far.socket.write('x');
    await eventually(() => near.received().length === turns, 'the other direction is held up');
  }
  assert.ok(proxy.queuedBytes < 2 * MAX_QUEUED_BYTES, `${proxy.queuedBytes} bytes wait`);
  assert.ok(near.socket.writableLength > 16_000_000, `${near.socket.writableLength} bytes are left to send`);
});

test('damages one byte in so many, and no other', async (t) => {
  const { proxy, open } = await startPair(t);
  const { near, far } = await open();
  proxy.set('up', { corruptEveryBytes: 1_000 });
  const sent = bytes(10_500);
  near.socket.write(sent);
  await eventually(() => far.received().length === sent.length, 'the bytes never came');
  const received = far.received();
  const different = [...sent.keys()].filter((at) => sent[at] !== received[at]);
  assert.deepEqual(
    different,
    Array.from({ length: 10 }, (_, at) => 1_000 * (at + 1)),
  );
});

test('cut ends every connection and refuses new ones until it is healed', async (t) => {
  const { proxy, open } = await startPair(t);
  const { near, far } = await open();
  await proxy.cut();
  await eventually(() => near.hasEnded() && far.hasEnded(), 'a connection lives on');
  const refused = watch(createConnection({ port: proxy.port, host: '127.0.0.1' }));
  await eventually(() => refused.closed() === 'ECONNREFUSED', 'a new connection was taken');
  await proxy.heal();
  const again = await open();
  again.near.socket.write('x');
  await eventually(() => again.far.received().length === 1, 'the healed link carries nothing');
});

test('reset is a RST at both ends, and new connections go', async (t) => {
  const { proxy, open } = await startPair(t);
  const { near, far } = await open();
  near.socket.write('x');
  await eventually(() => far.received().length === 1, 'the link carries nothing');
  proxy.reset();
  await eventually(() => near.closed() === 'ECONNRESET' && far.closed() === 'ECONNRESET', 'no RST came');
  const again = await open();
  again.near.socket.write('x');
  await eventually(() => again.far.received().length === 1, 'a new connection carries nothing');
});

test('half open: bytes vanish one way and nobody is told, not even of the end, and for good', async (t) => {
  const { proxy, open } = await startPair(t);
  const { near, far } = await open();
  proxy.set('up', { vanish: true });
  near.socket.write('lost');
  far.socket.write('arrives');
  await eventually(() => near.received().toString() === 'arrives', 'the other direction is dead too');
  await proxy.heal();
  near.socket.write('lost too');
  near.socket.destroy();
  // What comes later arrives, there and back, and what came before does not.
  const again = await open();
  for (let turns = 1; turns <= 3; turns++) {
    again.near.socket.write('x');
    await eventually(() => again.far.received().length === turns, 'a new connection carries nothing');
    again.far.socket.write('x');
    await eventually(() => again.near.received().length === turns, 'a new connection carries nothing back');
  }
  assert.equal(far.received().length, 0);
  assert.equal(far.closed(), undefined);
  assert.equal(far.hasEnded(), false);
  far.socket.destroy();
  again.far.socket.destroy();
  again.near.socket.destroy();
  await eventually(() => proxy.connections === 0, 'the proxy keeps a connection');
});

test('an end that vanishes takes the other one with it', async (t) => {
  const { open } = await startPair(t);
  const { near, far } = await open();
  near.socket.resetAndDestroy();
  await eventually(() => far.closed() !== undefined, 'the far end was not told');
  const again = await open();
  again.far.socket.destroy();
  await eventually(
    () => again.near.hasEnded() || again.near.closed() !== undefined,
    'the near end was not told',
  );
});
