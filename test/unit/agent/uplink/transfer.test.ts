/** The agent's sender and the hub's transfers, with a link between them that the test breaks. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { OpenEntry, OutboxEntry, OutboxRequest } from '../../../../agent/ports.ts';
import { Sender } from '../../../../agent/uplink/sender.ts';
import { Transfer } from '../../../../agent/uplink/transfer.ts';
import { Transfers } from '../../../../cloud/intake/transfers.ts';
import { decodeEnvelope } from '../../../../shared/contract/envelope.ts';
import { CHUNK_WINDOW } from '../../../../shared/contract/limits.ts';
import { chunkHeader, requestHeader } from '../../../../shared/contract/messages.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { outboxRequest } from '../../../support/fixed.ts';

const CHUNK = 1_000;
const DEVICE = 'gate-01';
/** A message takes one turn. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A hub process: it forgets everything when it is started again. */
class TestHub {
  readonly id: string;
  run = 0;
  transfers: Transfers;
  readonly answered: { readonly id: string; readonly digest: string; readonly bytes: number }[] = [];
  readonly #clock: FakeClock;

  constructor(id: string, clock: FakeClock) {
    this.id = id;
    this.#clock = clock;
    this.transfers = new Transfers(clock);
  }

  restart(): void {
    this.run++;
    this.transfers = new Transfers(this.#clock);
  }
}

function setUp(options: { readonly hubs?: readonly string[] } = {}) {
  const clock = new FakeClock();
  const hubs = (options.hubs ?? ['hub-1']).map((id) => new TestHub(id, clock));
  const open = new Map<string, { readonly entry: OutboxEntry; readonly acceptedMs: number }>();
  const answered = new Map<string, string>();
  /** Frames on their way to the hub, and acknowledgements on their way back. */
  const wire = { isUp: true, corrupt: false, loseAcks: false };
  const counts = { chunks: 0, offers: 0, underWay: 0, mostUnderWay: 0 };

  const acknowledge = (hub: TestHub, id: string, next: number): void => {
    if (wire.isUp && !wire.loseAcks) sender.acknowledged({ id, hubId: hub.id, next });
  };
  const whole = (hub: TestHub, id: string, body: Uint8Array): void => {
    hub.answered.push({ id, digest: sha256(body), bytes: body.length });
    answered.set(id, sha256(body));
  };
  /** One chunk of what is in chunks: a single message is vouched for by TCP, and by TLS, alone. */
  const damaged = (frame: Uint8Array): Uint8Array => {
    if (!wire.corrupt || frame.length < CHUNK) return frame;
    wire.corrupt = false;
    const copy = Uint8Array.from(frame);
    copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
    return copy;
  };
  const sender = new Sender({
    outbox: {
      read: async (id) => open.get(id)?.entry,
      find: (id): OpenEntry | undefined => {
        const found = open.get(id);
        if (!found) return undefined;
        const { request } = found.entry;
        const ageMs = clock.nowMonoMs() - found.acceptedMs;
        return {
          ...{ id, pipeline: request.pipeline, priority: request.priority, acceptedAtMs: 0, ageMs },
          ...{
            bodyBytes: request.input.body.length,
            expiresMs: request.expiresMs - ageMs,
            answered: false,
            isShown: false,
          },
        };
      },
    },
    publish: async (frame) => {
      if (!wire.isUp) throw new AppError('BROKER_UNREACHABLE');
      const { header, body } = decodeEnvelope(damaged(frame), requestHeader);
      const [hub] = hubs;
      if (!hub) return;
      await turns(1);
      if (!header.chunk) {
        whole(hub, header.id, body);
        return;
      }
      counts.offers++;
      assert.equal(hub.transfers.begin(DEVICE, header, body), undefined);
      acknowledge(hub, header.id, 1);
    },
    publishChunk: async (hubId, frame) => {
      if (!wire.isUp) throw new AppError('BROKER_UNREACHABLE');
      const hub = hubs.find(({ id }) => id === hubId);
      if (!hub) return;
      counts.underWay++;
      counts.mostUnderWay = Math.max(counts.mostUnderWay, counts.underWay);
      const { header, body } = decodeEnvelope(damaged(frame), chunkHeader);
      await turns(1);
      counts.underWay--;
      if ('index' in header) counts.chunks++;
      // As intake does: it is being worked on.
      if (hub.answered.some(({ id }) => id === header.id)) return acknowledge(hub, header.id, 65_536);
      const { next, arrived } = hub.transfers.take(DEVICE, header, body);
      if (arrived) whole(hub, header.id, arrived.body);
      acknowledge(hub, header.id, next);
    },
    maxMessageBytes: () => CHUNK,
    meter: { count: () => undefined, mayTransmit: () => true },
    clock,
    logger: silentLogger,
    metrics: createAgentMetrics(),
    random: () => 0.5,
  });
  const tell = (): void =>
    sender.setHubs(wire.isUp ? new Map(hubs.map(({ id, run }) => [id, `run-${run}`])) : new Map());
  const ask = (bytes: number, overrides: Partial<OutboxRequest> = {}): { id: string; digest: string } => {
    const body = randomBytes(bytes);
    const request = outboxRequest({ input: { contentType: 'image/png', body }, ...overrides });
    open.set(request.id, { entry: { request, reply: undefined }, acceptedMs: clock.nowMonoMs() });
    sender.enqueue(request.id);
    return { id: request.id, digest: sha256(body) };
  };
  /** The hub's reply has come. */
  const reply = (id: string): void => {
    open.delete(id);
    sender.replied(id);
  };
  return { clock, hubs, open, answered, wire, counts, sender, tell, ask, reply };
}

test('a large request arrives whole, its chunks in a window', async () => {
  const { tell, ask, answered, counts } = setUp();
  tell();
  const { id, digest } = ask(50 * CHUNK + 7);
  await turns(500);
  assert.equal(answered.get(id), digest);
  assert.deepEqual([counts.offers, counts.chunks], [1, 50]);
  assert.ok(counts.mostUnderWay <= CHUNK_WINDOW && counts.mostUnderWay > 1, `${counts.mostUnderWay}`);
});

test('one large request is under way at a time, and small ones are not held up behind it', async () => {
  const { tell, ask, answered, wire } = setUp();
  tell();
  const large = ask(100 * CHUNK);
  const second = ask(100 * CHUNK);
  wire.loseAcks = true;
  await turns(5);
  const small = ask(10);
  await turns(5);
  assert.deepEqual([...answered.keys()], [small.id]);
  assert.ok(!answered.has(large.id) && !answered.has(second.id));
});

test('after a reconnect it goes on from the first missing chunk', async () => {
  const { tell, ask, answered, counts, wire, clock } = setUp();
  tell();
  const { id, digest } = ask(200 * CHUNK);
  await turns(10);
  const before = counts.chunks;
  assert.ok(before > 5 && before < 199, `${before}`);
  wire.isUp = false;
  tell();
  await turns(5);
  await clock.advance(5_000);
  wire.isUp = true;
  tell();
  await turns(1_000);
  assert.equal(answered.get(id), digest);
  assert.equal(counts.offers, 1, 'it did not start again');
  assert.ok(counts.chunks <= 199 + CHUNK_WINDOW, `${counts.chunks} chunks were sent for 199`);
});

test('a hub that was started again has forgotten it: it starts again', async () => {
  const { tell, ask, answered, counts, hubs, clock } = setUp();
  tell();
  const { id, digest } = ask(200 * CHUNK);
  await turns(10);
  hubs[0]?.restart();
  tell();
  await turns(1_000);
  await clock.advance(60_000);
  await turns(1_000);
  assert.equal(answered.get(id), digest);
  assert.equal(counts.offers, 2);
});

test('a hub that does not come back leaves it to another one', async () => {
  const { tell, ask, answered, hubs, clock, wire } = setUp({ hubs: ['hub-1', 'hub-2'] });
  tell();
  const { id, digest } = ask(200 * CHUNK);
  await turns(10);
  assert.equal(hubs[0]?.transfers.count, 1);
  hubs.shift();
  wire.isUp = false;
  tell();
  wire.isUp = true;
  tell();
  await clock.advance(10_000);
  await turns(1_000);
  assert.equal(answered.get(id), digest);
  assert.deepEqual(
    hubs.map(({ answered: all }) => all.length),
    [1],
  );
});

test('a chunk that was damaged on the way is found, and everything is sent again', async () => {
  const { tell, ask, answered, counts, wire, clock } = setUp();
  tell();
  const { id, digest } = ask(100 * CHUNK);
  await turns(5);
  wire.corrupt = true;
  await turns(500);
  await clock.advance(5_000);
  await turns(500);
  assert.equal(answered.get(id), digest);
  assert.equal(counts.offers, 2);
});

test('a hub that falls silent is asked where to go on, and after that asked afresh', async () => {
  const { tell, ask, answered, counts, wire, clock } = setUp();
  tell();
  const { id, digest } = ask(100 * CHUNK);
  await turns(5);
  wire.loseAcks = true;
  await turns(20);
  await clock.advance(31_000);
  wire.loseAcks = false;
  await clock.advance(30_000);
  await turns(1_000);
  assert.equal(answered.get(id), digest);
  assert.equal(counts.offers, 1);
});

test('a window grows while acknowledgements are quick, and shrinks when chunks queue up', async () => {
  const clock = new FakeClock();
  const sent: number[] = [];
  const transfer = new Transfer({
    id: outboxRequest().id,
    body: randomBytes(100 * CHUNK),
    chunkBytes: CHUNK,
    window: 2,
    clock,
    offer: () => Promise.resolve(),
    send: async (_hub, frame) => {
      const { header } = decodeEnvelope(frame, chunkHeader);
      if ('index' in header) sent.push(header.index);
    },
    onFailure: (error) => assert.fail(String(error)),
  });
  const underWay = (next: number): number => sent.filter((index) => index >= next).length;
  const ack = (next: number): number => {
    transfer.onAck({ id: '', hubId: 'hub-1', next });
    return underWay(next);
  };
  let next = 1;
  const quick = Array.from({ length: 10 }, () => ack(next++));
  assert.equal(quick.at(-1), CHUNK_WINDOW);
  const slow: number[] = [];
  for (let round = 0; round < 12; round++) {
    await clock.advance(500);
    slow.push(ack(next++));
  }
  assert.ok(Math.min(...slow) <= 2, `${slow}`);
});

/** What may happen to a link. */
type Mishap = 'cut' | 'hub-restarts' | 'hub-goes' | 'corrupt' | 'lose-acks' | 'wait' | 'ask-small';

test('whatever happens on the way, every request arrives whole and unchanged in the end', async () => {
  const mishap = fc.constantFrom<Mishap>(
    ...(['cut', 'hub-restarts', 'hub-goes', 'corrupt', 'lose-acks', 'wait', 'ask-small'] as const),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(mishap, fc.nat(40)), { maxLength: 12 }),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 2 * CHUNK, max: 40 * CHUNK })), {
        minLength: 1,
        maxLength: 4,
      }),
      async (mishaps, sizes) => {
        const { tell, ask, answered, hubs, wire, clock, reply } = setUp({
          hubs: ['hub-1', 'hub-2', 'hub-3'],
        });
        tell();
        const asked = sizes.map((bytes) => ask(bytes));
        for (const [what, pause] of mishaps) {
          if (what === 'cut') {
            wire.isUp = false;
            tell();
            await clock.advance(pause * 100);
            wire.isUp = true;
          } else if (what === 'hub-restarts') hubs[0]?.restart();
          else if (what === 'hub-goes' && hubs.length > 1) hubs.shift();
          else if (what === 'corrupt') wire.corrupt = true;
          else if (what === 'ask-small') asked.push(ask(pause + 1));
          else if (what === 'wait') await clock.advance(pause * 2_000);
          wire.loseAcks = what === 'lose-acks';
          tell();
          await turns(pause);
        }
        wire.loseAcks = false;
        for (let round = 0; round < 60 && asked.some(({ id }) => !answered.has(id)); round++) {
          await turns(300);
          for (const { id } of asked) if (answered.has(id)) reply(id);
          await clock.advance(31_000);
        }
        for (const { id, digest } of asked) assert.equal(answered.get(id), digest);
      },
    ),
    { numRuns: 60 },
  );
});
