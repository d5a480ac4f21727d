import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { CloudReply, Outbox, OutboxRequest } from '../../../../agent/ports.ts';
import { MqttUplink } from '../../../../agent/uplink/uplink.ts';
import { decodeEnvelope, encodeEnvelope } from '../../../../shared/contract/envelope.ts';
import {
  type Desired,
  devicePresence,
  type ReplyError,
  requestHeader,
  type Telemetry,
} from '../../../../shared/contract/messages.ts';
import { deviceTopics, HUB_PRESENCE_FILTER, hubTopics } from '../../../../shared/contract/topics.ts';
import type { MqttConnection } from '../../../../shared/mqtt/connect.ts';
import type { LastWill } from '../../../../shared/mqtt/session.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { CLOUD_MODEL, cloudAnswer, outboxRequest } from '../../../support/fixed.ts';
import { MemoryMqtt } from '../../../support/memory-mqtt.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const TOPICS = deviceTopics('gate-01');
const SILENCE_MS = 30_000;
const REPORTED = { agentVersion: '9.9.9', pipelines: [] };
const TELEMETRY: Telemetry = {
  atMs: 1,
  outbox: { entries: 0, bytes: 0, deadLetters: 0 },
  link: { day: '2026-01-01', use: [] },
};

function setUp(
  options: {
    connect?: (will: LastWill, signal: AbortSignal) => Promise<MqttConnection>;
    telemetryEveryMs?: () => number;
  } = {},
) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const link = new MemoryMqtt();
  const wills: LastWill[] = [];
  const held = new Map<string, OutboxRequest>();
  const outbox = {
    read: async (id: string) => {
      const request = held.get(id);
      return request && { request, reply: undefined };
    },
    find: (id: string) => {
      const request = held.get(id);
      return (
        request && {
          ...request,
          bodyBytes: request.input.body.length,
          answered: false,
          ageMs: 0,
        }
      );
    },
  } as unknown as Outbox;
  const desired: Desired[] = [];
  const counted: [string | null, string, string, number][] = [];
  const uplink = new MqttUplink({
    deviceId: 'gate-01',
    agentVersion: '9.9.9',
    instance: 'run-1',
    connect:
      options.connect ??
      (async (will) => {
        wills.push(will);
        return link;
      }),
    outbox,
    reported: () => REPORTED,
    telemetry: () => TELEMETRY,
    ...(options.telemetryEveryMs && { telemetryEveryMs: options.telemetryEveryMs }),
    onDesired: (wanted) => desired.push(wanted),
    meter: {
      count: (pipeline, purpose, direction, bytes) => counted.push([pipeline, purpose, direction, bytes]),
      mayTransmit: () => true,
      mayAccept: () => true,
      today: () => ({ day: '2026-01-01', capBytes: undefined, use: [] }),
    },
    clock,
    logger,
    metrics: createAgentMetrics(),
  });
  const replies: { readonly id: string; readonly reply: CloudReply; readonly roundTripMs: number }[] = [];
  const changes: boolean[] = [];
  uplink.onReply((id, reply, roundTripMs) => replies.push({ id, reply, roundTripMs }));
  uplink.onChange((online) => changes.push(online));
  const ask = (): string => {
    const request = outboxRequest();
    held.set(request.id, request);
    uplink.enqueue(request.id);
    return request.id;
  };
  const hub = (hubId: string, online: boolean): void =>
    link.receive(hubTopics(hubId).presence, JSON.stringify({ online, sinceAtMs: 1 }), true);
  /** Ids of the requests that went out. */
  const asked = (): string[] =>
    link.published
      .filter(({ topic }) => topic === TOPICS.infer)
      .map(({ payload }) => decodeEnvelope(payload, requestHeader).header.id);
  const start = async (): Promise<void> => {
    uplink.start();
    await settle();
    link.connect();
    await settle();
  };
  return {
    clock,
    logger,
    link,
    wills,
    held,
    uplink,
    replies,
    changes,
    ask,
    hub,
    asked,
    start,
    desired,
    counted,
  };
}

const okFrame = (id: string, output: unknown = [{ label: 'dog', score: 0.9 }]): Buffer =>
  encodeEnvelope(
    {
      id,
      ok: true,
      contentType: 'application/json',
      model: CLOUD_MODEL,
      timingsMs: { queue: 1, preprocess: 1, inference: 5, total: 7 },
    },
    Buffer.from(JSON.stringify(output)),
  );
const failedFrame = (id: string, error: ReplyError | { code: string; message: string }): Buffer =>
  encodeEnvelope({ id, ok: false, error });

test('says at each connect that it is there and what it has, and leaves a last will that says the opposite', async () => {
  const { start, link, wills } = setUp();
  await start();
  const [will] = wills;
  assert.deepEqual([will?.topic, will?.retain], [TOPICS.presence, true]);
  assert.deepEqual(devicePresence.parse(JSON.parse(String(will?.payload))), {
    online: false,
    sinceAtMs: 1_000_000,
    agentVersion: '9.9.9',
    instance: 'run-1',
  });
  for (const times of [1, 2]) {
    assert.deepEqual(
      link.on(TOPICS.presence).map((text) => JSON.parse(text).online),
      Array(times).fill(true),
    );
    assert.deepEqual(
      link.on(TOPICS.reported).map((text) => JSON.parse(text)),
      Array(times).fill(REPORTED),
    );
    link.disconnect();
    link.connect();
    await settle();
  }
  assert.ok(link.published.every(({ qos, retain }) => qos === 1 && retain === true));
});

test('listens to its own replies and to the presence of hubs, and to nothing else', async () => {
  const { start, link } = setUp();
  await start();
  const { reply, chunk, desired } = TOPICS;
  assert.deepEqual([...link.filters].sort(), [HUB_PRESENCE_FILTER, reply, chunk, desired].sort());
});

test('is online when a broker and a hub are there, and asks only then', async () => {
  const { start, uplink, ask, asked, hub, changes, link } = setUp();
  const id = ask();
  await start();
  assert.equal(uplink.online, false, 'a broker alone answers nothing');
  assert.deepEqual(asked(), []);
  hub('hub-1', true);
  await settle();
  assert.equal(uplink.online, true);
  assert.deepEqual(changes, [true]);
  assert.deepEqual(asked(), [id]);
  const request = link.published.find(({ topic }) => topic === TOPICS.infer);
  assert.deepEqual([request?.qos, request?.retain], [1, false]);
});

test('a hub that is gone means offline, and its return asks again', async () => {
  for (const gone of [JSON.stringify({ online: false, sinceAtMs: 2 }), 'no JSON', '']) {
    const { start, uplink, ask, asked, hub, changes, link } = setUp();
    await start();
    hub('hub-1', true);
    const id = ask();
    await settle();
    link.receive(hubTopics('hub-1').presence, gone);
    assert.equal(uplink.online, false);
    hub('hub-1', true);
    await settle();
    assert.deepEqual(changes, [true, false, true]);
    assert.deepEqual(asked(), [id, id]);
  }
});

test('with two hubs one may go; one more that comes is asked what is under way', async () => {
  const { start, uplink, ask, asked, hub } = setUp();
  await start();
  hub('hub-1', true);
  const id = ask();
  await settle();
  hub('hub-2', true);
  await settle();
  assert.deepEqual(asked(), [id, id]);
  hub('hub-2', true);
  await settle();
  assert.deepEqual(asked(), [id, id], 'the same one again is no news');
  hub('hub-1', false);
  assert.equal(uplink.online, true);
  hub('hub-2', false);
  assert.equal(uplink.online, false);
});

test('a lost broker means offline, and what was said of hubs before does not count after', async () => {
  const { start, uplink, ask, asked, hub, link, changes } = setUp();
  await start();
  hub('hub-1', true);
  const id = ask();
  await settle();
  link.disconnect();
  assert.equal(uplink.online, false);
  link.connect();
  await settle();
  assert.equal(uplink.online, false);
  hub('hub-1', true);
  await settle();
  assert.deepEqual(changes, [true, false, true]);
  assert.deepEqual(asked(), [id, id]);
});

test('passes a reply on, with the time since the request went out', async () => {
  const { start, ask, hub, link, clock, replies } = setUp();
  await start();
  hub('hub-1', true);
  const id = ask();
  await clock.advance(80);
  link.receive(TOPICS.reply, okFrame(id));
  assert.deepEqual(replies, [{ id, reply: cloudAnswer('dog'), roundTripMs: 80 }]);
});

test('a failure that asking again cannot heal is a reply', async () => {
  const { start, ask, hub, link, clock, replies, asked } = setUp();
  await start();
  hub('hub-1', true);
  const id = ask();
  await settle();
  const error = { code: 'MODEL_UNKNOWN', message: 'no such model' } as const;
  link.receive(TOPICS.reply, failedFrame(id, error));
  await clock.advance(10 * SILENCE_MS);
  assert.deepEqual(
    replies.map(({ reply }) => reply),
    [{ ok: false, error }],
  );
  assert.deepEqual(asked(), [id]);
});

test('a failure that may heal is asked again, and the pipeline hears nothing of it', async () => {
  for (const code of ['QUEUE_FULL', 'MODEL_NOT_LOADED', 'RUNNER_CRASHED', 'A_CODE_OF_A_NEWER_HUB']) {
    const { start, ask, hub, link, clock, replies, asked } = setUp();
    await start();
    hub('hub-1', true);
    const id = ask();
    await settle();
    link.receive(TOPICS.reply, failedFrame(id, { code, message: 'not now', retryAfterMs: 2_000 } as never));
    await clock.advance(1_999);
    assert.deepEqual([replies.length, asked().length], [0, 1], code);
    await clock.advance(501);
    assert.deepEqual([replies.length, asked().length], [0, 2], code);
    link.receive(TOPICS.reply, okFrame(id));
    assert.equal(replies.length, 1, code);
  }
});

test('frames that are no replies are logged and survived, and the request is asked again', async () => {
  const { start, ask, hub, link, clock, replies, asked, logger } = setUp();
  await start();
  hub('hub-1', true);
  const id = ask();
  await settle();
  const good = okFrame(id);
  const otherVersion = Buffer.from(good);
  otherVersion[0] = 7;
  const bad = [
    Buffer.alloc(0),
    Buffer.from('{}'),
    otherVersion,
    good.subarray(0, 40),
    // A header without its body.
    good.subarray(0, good.length - 5),
    encodeEnvelope({ id, ok: true }),
    encodeEnvelope({ id: 'no uuid', ok: false, error: { code: 'EXPIRED', message: '' } }),
  ];
  for (const frame of bad) link.receive(TOPICS.reply, frame);
  assert.deepEqual(
    logger.failures(),
    bad.map((_, i) => `uplink.bad_reply ${i === 2 ? 'MESSAGE_VERSION' : 'MESSAGE_MALFORMED'}`),
  );
  assert.deepEqual(replies, []);
  await clock.advance(SILENCE_MS);
  assert.deepEqual(asked(), [id, id]);
  link.receive(TOPICS.reply, good);
  assert.equal(replies.length, 1);
});

test('a pipeline that throws on a reply does not take the link down', async () => {
  const { start, ask, hub, link, uplink, logger } = setUp();
  uplink.onReply(() => {
    throw new Error('a mistake of ours');
  });
  await start();
  hub('hub-1', true);
  const id = ask();
  await settle();
  link.receive(TOPICS.reply, okFrame(id));
  assert.deepEqual(logger.failures(), ['uplink.bad_reply INVARIANT_BROKEN']);
  assert.equal(uplink.online, true);
});

test('a reply that nobody waits for is passed on all the same: the pipeline knows', async () => {
  const { start, hub, link, replies } = setUp();
  await start();
  hub('hub-1', true);
  const id = newId();
  link.receive(TOPICS.reply, okFrame(id));
  assert.deepEqual(
    replies.map(({ id: of, roundTripMs }) => [of, roundTripMs]),
    [[id, 0]],
  );
});

test('results are shared while it is online, and missed otherwise', async () => {
  const { start, hub, link, uplink, logger } = setUp();
  const result = {
    id: newId(),
    pipeline: 'vision',
    error: { code: 'EXPIRED' as const, message: '' },
    input: null,
    atMs: 1,
  };
  uplink.share(result);
  await start();
  uplink.share(result);
  hub('hub-1', true);
  uplink.share(result);
  await settle();
  assert.deepEqual(
    link.published.filter(({ topic }) => topic === TOPICS.results).map(({ qos, text }) => [qos, text]),
    [[0, JSON.stringify(result)]],
  );
  assert.deepEqual(logger.failures(), []);
});

test('stopped, it says goodbye and closes the link', async () => {
  const { start, hub, uplink, link, ask, asked } = setUp();
  await start();
  hub('hub-1', true);
  await uplink.stop();
  assert.equal(JSON.parse(link.on(TOPICS.presence).at(-1)!).online, false);
  assert.equal(link.ended, true);
  ask();
  await settle();
  assert.deepEqual(asked(), []);
  assert.equal(uplink.online, false);
});

test('stops also when the broker acknowledges nothing any more', async () => {
  const { start, uplink, link, clock } = setUp();
  await start();
  link.acknowledges = false;
  let stopped = false;
  const stopping = uplink.stop().then(() => {
    stopped = true;
  });
  await clock.advance(5_000);
  assert.ok(stopped, 'it waits for a broker that is silent');
  await stopping;
  assert.equal(link.ended, true);
});

test('stops while it still waits for a credential', async () => {
  const { uplink, logger } = setUp({
    connect: (_will, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error)),
      ),
  });
  uplink.start();
  assert.equal(uplink.isOpening, false);
  await uplink.stop();
  assert.deepEqual(logger.failures(), []);
});

test('a device that will never have a credential stays offline and says why', async () => {
  const { uplink, logger } = setUp({ connect: () => Promise.reject(new Error('never')) });
  uplink.start();
  await settle();
  assert.deepEqual(logger.failures(), ['uplink.not_opened INVARIANT_BROKEN']);
  assert.equal(uplink.online, false);
  await uplink.stop();
});

test('tells its counters when the link comes up, and once a minute while it is', async () => {
  const { start, hub, link, clock, counted } = setUp();
  await start();
  assert.deepEqual(link.on(TOPICS.telemetry), []);
  hub('hub-1', true);
  await settle();
  assert.deepEqual(link.on(TOPICS.telemetry), [JSON.stringify(TELEMETRY)]);
  await clock.advance(120_000);
  assert.equal(link.on(TOPICS.telemetry).length, 3);
  hub('hub-1', false);
  await clock.advance(120_000);
  assert.equal(link.on(TOPICS.telemetry).length, 3);
  const bytes = Buffer.byteLength(JSON.stringify(TELEMETRY));
  assert.deepEqual(
    counted.filter(([, purpose]) => purpose === 'telemetry'),
    Array(3).fill([null, 'telemetry', 'up', bytes]),
  );
});

test('hands on what the hub wants, and passes over what is no such message', async () => {
  const { start, link, desired, logger } = setUp();
  await start();
  link.receive(TOPICS.desired, JSON.stringify({ version: 3, cloudModels: [] }), true);
  link.receive(TOPICS.desired, 'nonsense', true);
  link.receive(TOPICS.desired, '', true);
  assert.deepEqual(
    desired,
    [{ version: 3, cloudModels: [], models: [] }],
    'an older hub says nothing of models',
  );
  assert.deepEqual(
    logger.lines.filter(({ event }) => event === 'uplink.bad_desired').map(({ facts }) => facts),
    [{ bytes: 8 }],
  );
});

test('tells its counters as often as it should, and within a second when they say something new', async () => {
  let everyMs = 10_000;
  const { start, hub, link, clock, uplink } = setUp({ telemetryEveryMs: () => everyMs });
  const told = (): number => link.on(TOPICS.telemetry).length;
  await start();
  hub('hub-1', true);
  await clock.advance(30_000);
  assert.equal(told(), 4);
  everyMs = 60_000;
  await clock.advance(10_000);
  for (let news = 0; news < 5; news++) uplink.countersChanged();
  await clock.advance(999);
  assert.equal(told(), 5);
  uplink.countersChanged();
  await clock.advance(1);
  assert.equal(told(), 6);
  await clock.advance(59_000);
  assert.equal(told(), 6);
  await clock.advance(1_000);
  assert.equal(told(), 7);
  await uplink.stop();
});
