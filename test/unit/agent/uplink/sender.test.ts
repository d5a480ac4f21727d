import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { OutboxEntry, OutboxRequest } from '../../../../agent/ports.ts';
import { withEdgeAnswer } from '../../../../agent/uplink/edge-answer.ts';
import { Sender } from '../../../../agent/uplink/sender.ts';
import { decodeEnvelope } from '../../../../shared/contract/envelope.ts';
import { type RequestHeader, requestHeader } from '../../../../shared/contract/messages.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { cloudAnswer, localAnswer, outboxRequest } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const WINDOW = 32;
const SILENCE_MS = 30_000;
const DEADLINE_MS = 2_000;
const EXPIRES_MS = 86_400_000;

let runs = 0;
/** A hub is there, the same as before. */
const online = (sender: Sender): void => sender.setHubs(new Map([['hub-1', `run-${runs}`]]));
const offline = (sender: Sender): void => sender.setHubs(new Map());
/** The hub was started again: it has forgotten what was under way. */
const anotherRun = (sender: Sender): void => {
  runs++;
  online(sender);
};

interface Publish {
  readonly header: RequestHeader;
  readonly body: string;
  readonly atMs: number;
}

/** A sender with an outbox in memory and a broker that acknowledges when the test says so. */
function setUp(options: { readonly random?: () => number; readonly ackByHand?: boolean } = {}) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const open = new Map<string, OutboxEntry & { readonly expiresAtMs: number }>();
  const published: Publish[] = [];
  const acks: {
    readonly id: string;
    readonly publish: number;
    readonly ok: () => void;
    readonly lost: () => void;
  }[] = [];
  let blockReads: Promise<void> | undefined;
  const sender = new Sender({
    outbox: {
      read: async (id) => {
        await blockReads;
        return open.get(id);
      },
      find: (id) => {
        const entry = open.get(id);
        if (!entry) return undefined;
        const { pipeline, priority, acceptedAtMs, input, expiresMs } = entry.request;
        const leftMs = entry.expiresAtMs - clock.nowMonoMs();
        return {
          ...{ id, pipeline, priority, acceptedAtMs, bodyBytes: input.body.length },
          ...{
            ageMs: expiresMs - leftMs,
            expiresMs: leftMs,
            isShown: false,
            answered: entry.reply !== undefined,
          },
        };
      },
    },
    publishChunk: () => Promise.reject(new AppError('INVARIANT_BROKEN', 'nothing here is large')),
    maxMessageBytes: () => 120 * 1024,
    meter: { count: () => undefined, mayTransmit: () => true },
    sharesInput: (pipeline) => pipeline === 'shared',
    publish: (frame) => {
      const { header, body } = decodeEnvelope(frame, requestHeader);
      published.push({ header, body: Buffer.from(body).toString(), atMs: clock.nowMonoMs() });
      if (!options.ackByHand) return Promise.resolve();
      return new Promise((resolve, reject) =>
        acks.push({
          id: header.id,
          publish: published.length - 1,
          ok: resolve,
          lost: () => reject(new AppError('BROKER_UNREACHABLE')),
        }),
      );
    },
    clock,
    logger,
    metrics,
    random: options.random ?? (() => 0),
  });
  const accept = (overrides: Partial<OutboxRequest> = {}): string => {
    const request = outboxRequest({ deadlineMs: DEADLINE_MS, expiresMs: EXPIRES_MS, ...overrides });
    open.set(request.id, {
      request,
      reply: undefined,
      expiresAtMs: clock.nowMonoMs() + request.expiresMs,
    });
    return request.id;
  };
  const ask = (overrides: Partial<OutboxRequest> = {}): string => {
    const id = accept(overrides);
    sender.enqueue(id);
    return id;
  };
  /** The final reply has come, and is on disk. */
  const answer = (id: string): number | undefined => {
    open.delete(id);
    return sender.replied(id);
  };
  const sent = (): string[] => published.map(({ header }) => header.id);
  /** Holds the disk back until the returned function is called. */
  const slowDisk = (): (() => void) => {
    let release = (): void => undefined;
    blockReads = new Promise((resolve) => {
      release = resolve;
    });
    return () => {
      blockReads = undefined;
      release();
    };
  };
  return { clock, logger, metrics, open, published, acks, sender, accept, ask, answer, sent, slowDisk };
}

test('sends what was accepted in its order, as one frame each', async () => {
  const { ask, sender, sent, published } = setUp();
  online(sender);
  const ids = [ask(), ask({ input: { contentType: 'text/plain', body: Buffer.from('héllo') } }), ask()];
  await settle();
  assert.deepEqual(sent(), ids);
  assert.deepEqual(
    published.map(({ body }) => body),
    ['picture', 'héllo', 'picture'],
  );
});

test('says in the header that an input may be shown, only where its pipeline says so', async () => {
  const { ask, sender, published } = setUp();
  online(sender);
  ask();
  ask({ pipeline: 'shared' });
  await settle();
  assert.deepEqual(
    published.map(({ header }) => header.shareInput),
    [undefined, true],
  );
});

test('tells its own answer beside an input that it shares, where there is room in the header', async () => {
  const { ask, sender, published } = setUp();
  online(sender);
  const output = [{ label: 'cat', score: 0.6 }];
  ask({ pipeline: 'shared', local: { ...localAnswer(1.5), output }, reason: 'uncertain' });
  ask({ pipeline: 'shared', local: { ...localAnswer(1.5), output }, reason: 'audit', probability: 0.02 });
  ask({ pipeline: 'shared', local: { ...localAnswer(), output: 'x'.repeat(9_000) } });
  const parameters = { text: 'y'.repeat(15_900) };
  const { input } = outboxRequest();
  ask({ pipeline: 'shared', local: localAnswer(), input: { ...input, parameters } });
  ask({ pipeline: 'shared', local: null, reason: 'no-edge-model' });
  ask({ local: localAnswer() });
  await settle();
  const [plain, audit, large, crowded, none, unshared] = published.map(({ header }) => header.edge);
  assert.deepEqual(plain, {
    model: localAnswer().model,
    output,
    score: 1.5,
    why: 'uncertain',
    probability: 1,
  });
  assert.deepEqual([audit?.why, audit?.probability], ['audit', 0.02]);
  assert.deepEqual([large?.output, large?.score], [undefined, localAnswer().routeScore]);
  assert.equal(crowded, undefined, 'the request itself must go');
  assert.deepEqual(none, { model: null, score: null, why: 'no-edge-model' });
  assert.equal(unshared, undefined);
});

test('keeps an answer to itself that repeats a text from which something is taken out', () => {
  const header = {
    id: newId(),
    pipeline: 'p',
    model: 'm',
    contentType: 'text/plain',
    deadlineMs: 1,
    expiresMs: 1,
  };
  const request = { local: { ...localAnswer(), output: [{ word: 'John' }] }, reason: 'uncertain' } as const;
  const edgeOf = (task: 'token-classification' | 'text-classification') =>
    withEdgeAnswer({ ...header, task }, { ...request, task }, true).edge;
  assert.equal(edgeOf('token-classification')?.output, undefined);
  assert.ok(edgeOf('text-classification')?.output);
});

test('says in the header that nobody waits for an audit', async () => {
  const { ask, sender, published } = setUp();
  online(sender);
  ask();
  ask({ priority: 'background' });
  await settle();
  assert.deepEqual(
    published.map(({ header }) => header.background),
    [undefined, true],
  );
});

test('says in the header how much time is left, and only passes on parameters that there are', async () => {
  const { ask, sender, published, clock } = setUp();
  const body = Buffer.from('x');
  ask({ input: { contentType: 'image/png', body, parameters: { top_k: 2 } }, expiresMs: 60_000 });
  await clock.advance(5_000);
  online(sender);
  ask({ expiresMs: 60_000 });
  await settle();
  const [late, fresh] = published.map(({ header }) => header);
  assert.deepEqual([late?.deadlineMs, late?.expiresMs], [DEADLINE_MS - 5_000, 55_000]);
  assert.deepEqual([fresh?.deadlineMs, fresh?.expiresMs], [DEADLINE_MS, 60_000]);
  assert.deepEqual(late?.parameters, { top_k: 2 });
  assert.ok(fresh && !('parameters' in fresh));
  assert.deepEqual(
    [late?.pipeline, late?.model, late?.task, late?.contentType],
    ['vision', 'cloud-model', 'image-classification', 'image/png'],
  );
});

test('keeps a window under way, and fills it as replies come', async () => {
  const { ask, sender, sent, answer } = setUp();
  online(sender);
  const ids = Array.from({ length: WINDOW + 3 }, () => ask());
  await settle();
  assert.deepEqual(sent(), ids.slice(0, WINDOW));
  answer(ids[7]!);
  await settle();
  assert.deepEqual(sent(), ids.slice(0, WINDOW + 1));
  answer(ids[0]!);
  answer(ids[1]!);
  await settle();
  assert.deepEqual(sent(), ids);
});

test('publishes nothing while it is offline, and everything once it is online', async () => {
  const { ask, sender, sent, clock } = setUp();
  const ids = [ask(), ask()];
  await clock.advance(10 * SILENCE_MS);
  assert.deepEqual(sent(), []);
  online(sender);
  await settle();
  assert.deepEqual(sent(), ids);
});

test('asked twice for the same request it sends it once', async () => {
  const { ask, sender, sent } = setUp();
  const id = ask();
  sender.enqueue(id);
  online(sender);
  sender.enqueue(id);
  await settle();
  sender.enqueue(id);
  await settle();
  assert.deepEqual(sent(), [id]);
});

test('going offline puts what was under way back in front of what waits, in order', async () => {
  const { ask, sender, sent, published } = setUp();
  online(sender);
  const ids = Array.from({ length: WINDOW + 2 }, () => ask());
  await settle();
  offline(sender);
  const later = ask();
  published.length = 0;
  online(sender);
  await settle();
  assert.deepEqual(sent(), ids.slice(0, WINDOW));
  for (const id of ids.slice(0, WINDOW)) sender.replied(id);
  await settle();
  assert.deepEqual(sent(), [...ids, later]);
});

test('a link that is lost while the disk is read loses the request nothing and sends it once', async () => {
  const { ask, sender, sent, slowDisk } = setUp();
  online(sender);
  const release = slowDisk();
  const id = ask();
  offline(sender);
  release();
  await settle();
  assert.deepEqual(sent(), []);
  online(sender);
  await settle();
  assert.deepEqual(sent(), [id]);
});

test('a second hub is asked everything that is under way', async () => {
  const { ask, sender, sent } = setUp();
  online(sender);
  const ids = [ask(), ask()];
  await settle();
  anotherRun(sender);
  await settle();
  assert.deepEqual(sent(), [...ids, ...ids]);
});

test('tells how long the last publish took to be answered, and nothing for what was never asked', async () => {
  const { ask, sender, answer, clock } = setUp();
  online(sender);
  const id = ask();
  await clock.advance(120);
  assert.equal(answer(id), 120);
  assert.equal(answer(id), undefined);
  assert.equal(sender.replied(newId()), undefined);
});

test('a hub that says “later” is asked again no sooner than it said, and others go meanwhile', async () => {
  const { ask, sender, sent, clock } = setUp({ random: () => 0.5 });
  online(sender);
  const ids = Array.from({ length: WINDOW + 1 }, () => ask());
  await settle();
  const postponed = ids[0]!;
  sender.postpone(postponed, 5_000);
  await settle();
  assert.deepEqual(sent(), ids, 'its place in the window goes to the next');
  for (const id of ids.slice(1)) sender.replied(id);
  // The jitter on top is half of 500 ms here.
  await clock.advance(5_249);
  assert.equal(sent().length, ids.length);
  await clock.advance(1);
  assert.deepEqual(sent().slice(ids.length), [postponed]);
});

test('each “later” widens the jitter, up to a minute, and asking for it by hand does not shorten the wait', async () => {
  const { ask, sender, published, clock } = setUp({ random: () => 0.999_999 });
  online(sender);
  const id = ask();
  await settle();
  const waits: number[] = [];
  for (let i = 0; i < 10; i++) {
    const before = published.length;
    const sinceMs = clock.nowMonoMs();
    sender.postpone(id, undefined);
    sender.enqueue(id);
    await clock.advance(60_000);
    assert.equal(published.length, before + 1);
    waits.push(published.at(-1)!.atMs - sinceMs);
  }
  assert.deepEqual(
    waits.map((ms) => Math.ceil(ms / 500)),
    [1, 2, 4, 8, 16, 32, 64, 120, 120, 120],
  );
});

test('a final reply that comes during the wait ends it', async () => {
  const { ask, sender, sent, answer, clock } = setUp();
  online(sender);
  const id = ask();
  await settle();
  sender.postpone(id, 1_000);
  answer(id);
  await clock.advance(10_000);
  assert.deepEqual(sent(), [id]);
});

test('“later” for a request that is queued again waits too', async () => {
  const { ask, sender, sent, clock } = setUp();
  online(sender);
  const id = ask();
  await settle();
  offline(sender);
  sender.postpone(id, 5_000);
  online(sender);
  await clock.advance(4_999);
  assert.deepEqual(sent(), [id]);
  await clock.advance(1);
  assert.deepEqual(sent(), [id, id]);
});

test('“later” for a request that nobody waits for sets no alarm', async () => {
  const { sender, clock } = setUp();
  const alarms: number[] = [];
  const { after } = clock;
  clock.after = (delayMs, run) => {
    alarms.push(delayMs);
    return after.call(clock, delayMs, run);
  };
  online(sender);
  for (let i = 0; i < 100; i++) sender.postpone(newId(), 86_400_000);
  assert.deepEqual(alarms, []);
});

test('silence for the longer of 30 s and twice the deadline asks again, with a wait that doubles to ten minutes', async () => {
  for (const [deadlineMs, firstMs] of [
    [DEADLINE_MS, SILENCE_MS],
    [40_000, 80_000],
  ] as const) {
    const { ask, sender, published, clock, metrics } = setUp();
    online(sender);
    ask({ deadlineMs });
    await settle();
    await clock.advance(firstMs - 1);
    assert.equal(published.length, 1);
    for (let i = 1; i < 8; i++) await clock.advance(600_000);
    const waits = published.slice(1).map(({ atMs }, i) => atMs - published[i]!.atMs);
    const expected = waits.map((_, i) => Math.min(600_000, firstMs * 2 ** i));
    assert.ok(waits.length >= 6 && waits.at(-1) === 600_000, `${waits}`);
    assert.deepEqual(waits, expected);
    assert.match(await metrics.text(), new RegExp(`outrider_uplink_republished_total ${waits.length}\\n`));
  }
});

test('what has been answered, closed or has expired is not sent', async () => {
  const { accept, ask, sender, sent, open, clock } = setUp();
  const closed = ask();
  open.delete(closed);
  const answered = accept();
  open.set(answered, { ...open.get(answered)!, reply: cloudAnswer() });
  sender.enqueue(answered);
  ask({ expiresMs: 1_000 });
  await clock.advance(1_000);
  online(sender);
  const alive = ask();
  await settle();
  assert.deepEqual(sent(), [alive]);
});

test('what is not sent gives its place in the window back', async () => {
  const { ask, sender, sent, clock } = setUp();
  for (let i = 0; i < 2 * WINDOW; i++) ask({ expiresMs: 1_000 });
  const alive = ask();
  await clock.advance(1_000);
  online(sender);
  await settle();
  assert.deepEqual(sent(), [alive]);
});

test('a publish that the broker did not take is tried again after a while', async () => {
  const { ask, sender, sent, acks, clock, logger } = setUp({ ackByHand: true, random: () => 0.5 });
  online(sender);
  const id = ask();
  await settle();
  acks[0]!.lost();
  await clock.advance(249);
  assert.deepEqual(sent(), [id]);
  await clock.advance(1);
  assert.deepEqual(sent(), [id, id]);
  assert.deepEqual(logger.failures(), ['uplink.not_sent BROKER_UNREACHABLE']);
});

test('a publish that fails late does not touch the one that followed it', async () => {
  const { ask, sender, sent, acks, clock } = setUp({ ackByHand: true });
  online(sender);
  const id = ask();
  await settle();
  anotherRun(sender);
  await settle();
  assert.deepEqual(sent(), [id, id]);
  acks[0]!.lost();
  acks[1]!.ok();
  await clock.advance(SILENCE_MS - 1);
  assert.deepEqual(sent(), [id, id]);
  await clock.advance(1);
  assert.deepEqual(sent(), [id, id, id]);
});

test('a publish that fails after its reply has come is over', async () => {
  const { ask, sender, sent, acks, clock } = setUp({ ackByHand: true });
  online(sender);
  const id = ask();
  await settle();
  // The entry stays open while a slow sink takes the answer.
  sender.replied(id);
  acks[0]!.lost();
  await clock.advance(10 * SILENCE_MS);
  assert.deepEqual(sent(), [id]);
});

test('stopped, it publishes and waits no more', async () => {
  const { ask, sender, sent, acks, clock } = setUp({ ackByHand: true });
  online(sender);
  const ids = [ask(), ask(), ask()];
  await settle();
  sender.postpone(ids[1]!, 1_000);
  sender.stop();
  acks[0]!.lost();
  sender.enqueue(ids[2]!);
  await clock.advance(10 * SILENCE_MS);
  assert.deepEqual(sent(), ids);
});

/** What may happen to a sender. */
type Event =
  | { readonly what: 'ask' | 'offline' | 'online' | 'another-hub' | 'close' | 'acked' }
  | { readonly what: 'answer' | 'later' | 'lost'; readonly which: number }
  | { readonly what: 'wait'; readonly ms: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Event>({ what: 'ask' }) },
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constantFrom('answer' as const, 'later' as const, 'lost' as const),
      which: fc.nat(100),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 400, 3_000, 31_000, 200_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom('offline' as const, 'online' as const, 'another-hub' as const, 'acked' as const)
      .map((what) => ({ what })),
  },
  { weight: 1, arbitrary: fc.constant<Event>({ what: 'close' }) },
);

test('whatever happens: nothing offline, nothing twice without a reason, the window holds, and everything ends answered', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 60, size: 'max' }), async (events) => {
      const { sender, clock, published, acks, open, ask, sent } = setUp({ ackByHand: true });
      let isOnline = true;
      online(sender);
      /** Published, and nothing has happened since that allows to publish it again. */
      const underWay = new Map<string, number>();
      let checked = 0;
      const check = (): void => {
        for (const { header, atMs } of published.slice(checked)) {
          assert.ok(isOnline, 'published while offline');
          const sinceMs = underWay.get(header.id);
          if (sinceMs !== undefined)
            assert.ok(atMs - sinceMs >= SILENCE_MS, `published again after ${atMs - sinceMs} ms`);
          underWay.set(header.id, atMs);
        }
        checked = published.length;
        assert.ok(underWay.size <= WINDOW, `${underWay.size} are under way`);
      };
      const pick = (which: number): string | undefined => [...open.keys()][which % Math.max(1, open.size)];
      const step = async (next: Event): Promise<void> => {
        switch (next.what) {
          case 'ask':
            ask();
            break;
          case 'offline':
            isOnline = false;
            offline(sender);
            underWay.clear();
            break;
          case 'online':
            isOnline = true;
            online(sender);
            break;
          case 'another-hub':
            if (!isOnline) break;
            anotherRun(sender);
            underWay.clear();
            break;
          case 'answer': {
            const id = pick(next.which);
            if (id === undefined) break;
            open.delete(id);
            underWay.delete(id);
            sender.replied(id);
            break;
          }
          case 'later': {
            const id = pick(next.which);
            if (id === undefined) break;
            underWay.delete(id);
            sender.postpone(id, 100);
            break;
          }
          case 'close': {
            // Expired: the sender finds out by itself.
            const id = [...open.keys()].find((one) => !underWay.has(one));
            if (id !== undefined) open.delete(id);
            break;
          }
          case 'acked':
            for (const { ok } of acks.splice(0)) ok();
            break;
          case 'lost': {
            const [ack] = acks.splice(next.which % Math.max(1, acks.length), 1);
            if (ack === undefined) break;
            // Only the failure of its latest publish allows a request to be published again.
            if (ack.publish === sent().lastIndexOf(ack.id)) underWay.delete(ack.id);
            ack.lost();
            break;
          }
          case 'wait':
            await clock.advance(next.ms);
        }
        await settle();
        check();
      };
      for (const next of events) await step(next);

      // A hub that answers: everything that is still open gets its turn.
      await step({ what: 'online' });
      for (let round = 0; open.size > 0; round++) {
        assert.ok(round < 400, `${open.size} requests were never sent`);
        const [id] = [...underWay.keys()].filter((one) => open.has(one));
        if (id === undefined) await step({ what: 'wait', ms: 31_000 });
        else await step({ what: 'answer', which: [...open.keys()].indexOf(id) });
      }
    }),
    { numRuns: 150 },
  );
});
