import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { Intake, type IntakeOptions } from '../../../../cloud/intake/intake.ts';
import type { KeptReply } from '../../../../cloud/intake/reply-journal.ts';
import { createHubMetrics } from '../../../../cloud/metrics.ts';
import type { InferenceReply, InferenceRequest, SharedInput, UsageLine } from '../../../../cloud/ports.ts';
import { decodeEnvelope, encodeEnvelope } from '../../../../shared/contract/envelope.ts';
import { MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES } from '../../../../shared/contract/limits.ts';
import { type RequestHeader, replyHeader } from '../../../../shared/contract/messages.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { CLOUD_MODEL } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const MAX_PER_DEVICE = 64;
const OUTPUT = [{ label: 'dog', score: 0.9 }];
const REPLY: InferenceReply = {
  output: OUTPUT,
  model: CLOUD_MODEL,
  timingsMs: { queue: 1, preprocess: 2, inference: 3 },
};

const requestOf = (overrides: Partial<RequestHeader> = {}): RequestHeader => ({
  id: newId(),
  pipeline: 'vision',
  model: 'cloud-model',
  task: 'image-classification',
  contentType: 'image/jpeg',
  deadlineMs: 2_000,
  expiresMs: 60_000,
  ...overrides,
});
const frameOf = (header: object, body = 'picture'): Buffer => encodeEnvelope(header, Buffer.from(body));

/** An inference that the test ends. */
interface Inference {
  readonly request: InferenceRequest;
  readonly done: (reply?: InferenceReply) => void;
  readonly failed: (error: unknown) => void;
}

function setUp(options: Partial<IntakeOptions> = {}) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const metrics = createHubMetrics();
  const active = new Set(['gate-01', 'gate-02']);
  const usage: UsageLine[] = [];
  const inferences: Inference[] = [];
  const replies: { readonly device: string; readonly frame: Buffer }[] = [];
  const broker = { isUp: true };
  const setAside: [kind: string, device: string][] = [];
  const acks: [device: string, id: string, next: number][] = [];
  let receiveChunk = (_device: string, _frame: Uint8Array): void => assert.fail('it does not listen');
  let receive = (_device: string, _frame: Uint8Array): void => assert.fail('it does not listen');
  const intake = new Intake({
    link: {
      onRequest: (handle) => {
        receive = handle;
      },
      onChunk: (handle) => {
        receiveChunk = handle;
      },
      acknowledge: async (device, id, next) => {
        if (!broker.isUp) throw new AppError('BROKER_UNREACHABLE');
        acks.push([device, id, next]);
      },
      reply: async (device, frame) => {
        if (!broker.isUp) throw new AppError('BROKER_UNREACHABLE');
        replies.push({ device, frame: Buffer.from(frame) });
      },
    },
    devices: { isActive: (id) => active.has(id) },
    models: {
      resolve: (name) => {
        if (name !== 'cloud-model') throw new AppError('MODEL_UNKNOWN', `no model ${name}`);
        return { folder: '/models/cloud-model', ref: CLOUD_MODEL, task: 'image-classification' };
      },
    },
    inferencer: {
      infer: (request) =>
        new Promise((resolve, reject) =>
          inferences.push({ request, done: (reply = REPLY) => resolve(reply), failed: reject }),
        ),
    },
    usage: { record: (line) => usage.push(line) },
    setAside: { put: (kind, device) => setAside.push([kind, device]) },
    clock,
    logger,
    metrics,
    ...options,
  });
  intake.start();
  const send = async (header: object, device = 'gate-01', body?: string): Promise<void> => {
    receive(device, frameOf(header, body));
    await settle();
  };
  /** What a device has been told, decoded. */
  const told = (device = 'gate-01') =>
    replies
      .filter((reply) => reply.device === device)
      .map(({ frame }) => {
        const { header, body } = decodeEnvelope(frame, replyHeader);
        return { header, body: Buffer.from(body).toString() };
      });
  /** Ids and codes of what a device has been told; null for an answer. */
  const outcomes = (device?: string) =>
    told(device).map(({ header }) => [header.id, header.ok ? null : header.error.code]);
  const counted = async (model: string, outcome: string): Promise<number> => {
    const line = new RegExp(`outrider_requests_total\\{model="${model}",outcome="${outcome}"\\} (\\d+)`);
    return Number(line.exec(await metrics.text())?.[1] ?? 0);
  };
  return {
    ...{ clock, logger, metrics, active, usage, inferences, replies, broker, intake, send, told, outcomes },
    ...{ counted, receive: (device: string, frame: Uint8Array) => receive(device, frame) },
    ...{ acks, setAside, receiveChunk: (device: string, frame: Uint8Array) => receiveChunk(device, frame) },
  };
}

test('answers a request, to the device that asked, and meters it', async () => {
  const { send, inferences, told, usage, clock, counted } = setUp();
  const header = requestOf({ parameters: { top_k: 1 } });
  await send(header);
  const [{ request, done } = assert.fail()] = inferences;
  assert.equal(request.model, 'cloud-model');
  assert.deepEqual(
    [request.input.contentType, Buffer.from(request.input.body).toString(), request.input.parameters],
    ['image/jpeg', 'picture', { top_k: 1 }],
  );
  await clock.advance(20);
  done();
  await settle();
  assert.deepEqual(told(), [
    {
      header: {
        id: header.id,
        ok: true,
        contentType: 'application/json',
        model: CLOUD_MODEL,
        timingsMs: { queue: 1, preprocess: 2, inference: 3, total: 20 },
      },
      body: JSON.stringify(OUTPUT),
    },
  ]);
  assert.deepEqual(told('gate-02'), []);
  assert.deepEqual(usage, [
    {
      atMs: clock.nowAtMs(),
      who: 'gate-01',
      requestId: header.id,
      model: CLOUD_MODEL,
      inputBytes: 7,
      inferenceMs: 3,
    },
  ]);
  assert.equal(await counted('cloud-model', 'answered'), 1);
});

test('passes on an input that may be seen, once it is answered, and no other', async () => {
  const seen: SharedInput[] = [];
  const { send, inferences } = setUp({ gallery: { inputShared: (input) => seen.push(input) } });
  const [shared, failing] = [requestOf({ shareInput: true }), requestOf({ shareInput: true })];
  await send(shared);
  await send(requestOf());
  await send(failing);
  assert.equal(seen.length, 0);
  inferences[0]!.done();
  inferences[1]!.done();
  inferences[2]!.failed(new AppError('IMAGE_CORRUPT'));
  await settle();
  await send(shared);
  const { id, pipeline, model, task } = shared;
  const [{ body, answer } = assert.fail()] = seen as readonly SharedInput[];
  const from = { deviceId: 'gate-01', requestId: id, pipeline };
  const contentType = 'image/jpeg';
  const none = { parameters: undefined, edge: undefined };
  assert.deepEqual(seen, [{ ...from, model, task, contentType, ...none, body, answer }]);
  assert.deepEqual([answer.output, answer.model], [OUTPUT, CLOUD_MODEL]);
  assert.equal(Buffer.from(body).toString(), 'picture');
});

test('devices wait for people, and audits for devices', async () => {
  const { send, inferences } = setUp();
  await send(requestOf());
  await send(requestOf({ background: true }));
  assert.deepEqual(
    inferences.map(({ request }) => request.priority),
    ['device', 'background'],
  );
});

test('hands on deadline and expiry as points on its own clock, also a deadline that has passed', async () => {
  const { send, inferences, clock } = setUp();
  await send(requestOf({ deadlineMs: -500, expiresMs: 100 }));
  const { deadlineMonoMs, expiresMonoMs } = inferences[0]!.request;
  assert.deepEqual([deadlineMonoMs, expiresMonoMs], [clock.nowMonoMs() - 500, clock.nowMonoMs() + 100]);
});

test('the same request gets the same reply, is worked on once, and metered once', async () => {
  const { send, inferences, replies, usage, counted } = setUp();
  const header = requestOf();
  await send(header);
  inferences[0]!.done();
  await settle();
  await send(header);
  await send({ ...header, deadlineMs: -1, expiresMs: 10 });
  assert.equal(inferences.length, 1);
  assert.equal(usage.length, 1);
  assert.equal(replies.length, 3);
  assert.ok(replies.every(({ frame }) => frame.equals(replies[0]!.frame)));
  assert.equal(await counted('cloud-model', 'repeated'), 2);
});

test('asked again while it works it says nothing: the reply is on its way', async () => {
  const { send, inferences, outcomes, logger } = setUp();
  const header = requestOf();
  await send(header);
  await send(header);
  assert.deepEqual([outcomes(), logger.lines], [[], []]);
  inferences[0]!.done();
  await settle();
  assert.deepEqual(outcomes(), [[header.id, null]]);
});

test('the same id of another device is another request', async () => {
  const { send, inferences, outcomes } = setUp();
  const header = requestOf();
  await send(header, 'gate-01');
  await send(header, 'gate-02');
  assert.equal(inferences.length, 2);
  inferences[1]!.done();
  await settle();
  assert.deepEqual([outcomes('gate-01'), outcomes('gate-02')], [[], [[header.id, null]]]);
});

test('a failure that may heal is not kept: the device is told when to ask again, and then it is tried again', async () => {
  for (const code of ['QUEUE_FULL', 'RUNNER_CRASHED', 'MODEL_NOT_LOADED', 'STOPPING'] as const) {
    const { send, inferences, outcomes, told } = setUp();
    const header = requestOf();
    await send(header);
    inferences[0]!.failed(new AppError(code));
    await settle();
    const [{ header: reply } = assert.fail()] = told();
    assert.ok(!reply.ok && (reply.error.retryAfterMs ?? 0) > 0, code);
    await send(header);
    inferences[1]!.done();
    await settle();
    assert.deepEqual(
      outcomes(),
      [
        [header.id, code],
        [header.id, null],
      ],
      code,
    );
  }
});

test('a failure that stays is kept like an answer', async () => {
  const { send, inferences, outcomes, usage, told } = setUp();
  const header = requestOf();
  await send(header);
  inferences[0]!.failed(new AppError('IMAGE_CORRUPT', 'not a picture'));
  await settle();
  await send(header);
  assert.equal(inferences.length, 1);
  assert.deepEqual(outcomes(), Array(2).fill([header.id, 'IMAGE_CORRUPT']));
  assert.deepEqual(told()[0]?.header, {
    id: header.id,
    ok: false,
    error: { code: 'IMAGE_CORRUPT', message: 'not a picture' },
  });
  assert.equal(usage.length, 0, 'a failure costs nothing');
});

test('no failure tells a device where something lies on the hub', async () => {
  const { send, inferences, told } = setUp();
  await send(requestOf());
  inferences[0]!.failed(new AppError('MODEL_INVALID', '/srv/hub/models/eyes/config.json is missing'));
  await settle();
  const [{ header } = assert.fail()] = told();
  assert.deepEqual(!header.ok && header.error, {
    code: 'MODEL_INVALID',
    message: 'config.json is missing',
  });
});

test('our own mistakes stay inside', async () => {
  const { send, inferences, told, logger } = setUp();
  await send(requestOf());
  inferences[0]!.failed(new TypeError('cannot read the secret'));
  await settle();
  const [{ header } = assert.fail()] = told();
  assert.deepEqual(!header.ok && header.error, { code: 'INVARIANT_BROKEN', message: 'Our own mistake.' });
  assert.deepEqual(logger.failures(), ['intake.not_answered INVARIANT_BROKEN']);
});

test('a revoked device is told so and costs nothing', async () => {
  const { send, active, inferences, outcomes, counted } = setUp();
  active.delete('gate-01');
  const header = requestOf();
  await send(header);
  assert.equal(inferences.length, 0);
  assert.deepEqual(outcomes(), [[header.id, 'LINK_REFUSED']]);
  assert.equal(await counted('cloud-model', 'refused'), 1);
  // Enrolled again, it may ask the same.
  active.add('gate-01');
  await send(header);
  assert.equal(inferences.length, 1);
});

test('what has expired on its way costs nothing', async () => {
  const { send, inferences, outcomes } = setUp();
  const header = requestOf({ expiresMs: 0 });
  await send(header);
  assert.equal(inferences.length, 0);
  assert.deepEqual(outcomes(), [[header.id, 'EXPIRED']]);
});

test('one device cannot fill the queue', async () => {
  const { send, inferences, outcomes, told } = setUp();
  for (let i = 0; i < MAX_PER_DEVICE; i++) await send(requestOf());
  const tooMany = requestOf();
  await send(tooMany);
  assert.deepEqual(outcomes(), [[tooMany.id, 'QUEUE_FULL']]);
  const [{ header } = assert.fail()] = told();
  assert.ok(!header.ok && (header.error.retryAfterMs ?? 0) > 0);
  await send(requestOf(), 'gate-02');
  assert.equal(inferences.length, MAX_PER_DEVICE + 1);
  inferences[0]!.failed(new AppError('IMAGE_CORRUPT'));
  await settle();
  await send(tooMany);
  assert.equal(inferences.length, MAX_PER_DEVICE + 2, 'its place is free again');
});

test('another task, an unknown model and bad parameters are refused for good', async () => {
  for (const [overrides, code] of [
    [{ task: 'text-classification' }, 'BAD_REQUEST'],
    [{ model: 'nobody-knows' }, 'MODEL_UNKNOWN'],
    [{ parameters: { top_k: 0 } }, 'PARAMETERS_INVALID'],
    [{ parameters: { temperature: 1 } }, 'PARAMETERS_INVALID'],
  ] as const) {
    const { send, inferences, outcomes } = setUp();
    const header = requestOf(overrides);
    await send(header);
    assert.equal(inferences.length, 0);
    assert.deepEqual(outcomes(), [[header.id, code]]);
  }
});

test('names of models that strangers make up do not become labels', async () => {
  const { send, metrics, counted } = setUp();
  for (let i = 0; i < 5; i++) await send(requestOf({ model: `made-up-${i}` }));
  assert.doesNotMatch(await metrics.text(), /made-up/);
  assert.equal(await counted('unknown', 'failed'), 5);
});

test('frames that are no requests are counted, logged and survived', async () => {
  const { receive, send, replies, inferences, counted, logger } = setUp();
  const good = frameOf(requestOf());
  const version = Buffer.from(good);
  version[0] = 9;
  const bad = [
    Buffer.alloc(0),
    Buffer.from('hello'),
    version,
    good.subarray(0, 60),
    Buffer.alloc(MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES + 1),
    frameOf({ id: 'no uuid' }),
  ];
  for (const frame of bad) receive('gate-01', frame);
  await settle();
  assert.deepEqual([replies.length, inferences.length], [0, 0]);
  assert.equal(await counted('', 'malformed'), bad.length);
  assert.equal(logger.failures().length, bad.length);
  await send(requestOf());
  assert.equal(inferences.length, 1);
});

test('a request that this hub cannot read, but whose id it can, is refused instead of being asked for ever', async () => {
  const { receive, outcomes, active, counted } = setUp();
  const newer = { ...requestOf(), task: 'a-task-of-a-newer-agent' };
  receive('gate-01', frameOf(newer));
  await settle();
  assert.deepEqual(outcomes(), [[newer.id, 'MESSAGE_MALFORMED']]);
  assert.equal(await counted('', 'malformed'), 1);
  active.delete('gate-01');
  receive('gate-01', frameOf(newer));
  await settle();
  assert.equal(outcomes().length, 1, 'strangers get no answer to nonsense');
});

test('whatever bytes come, it goes on', async () => {
  const { receive, send, inferences } = setUp();
  const header = fc.record(
    {
      id: fc.constantFrom(newId(), 'x'),
      task: fc.string(),
      expiresMs: fc.anything(),
      deadlineMs: fc.anything(),
    },
    { requiredKeys: [] },
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    header.map((one) => new Uint8Array(frameOf(one))),
  );
  fc.assert(fc.property(bytes, (frame) => receive('gate-01', frame)));
  await settle();
  await send(requestOf());
  assert.ok(inferences.length >= 1);
});

test('a reply that did not get out is there when the device asks again', async () => {
  const { send, broker, inferences, outcomes, logger, usage } = setUp();
  const header = requestOf();
  await send(header);
  broker.isUp = false;
  inferences[0]!.done();
  await settle();
  assert.deepEqual(logger.failures(), ['intake.failed BROKER_UNREACHABLE']);
  broker.isUp = true;
  await send(header);
  assert.deepEqual(outcomes(), [[header.id, null]]);
  assert.deepEqual([inferences.length, usage.length], [1, 1]);
});

test('a stop answers what is being worked on, and takes nothing more', async () => {
  const { send, intake, inferences, outcomes } = setUp();
  const header = requestOf();
  await send(header);
  let stopped = false;
  const stopping = intake.stop().then(() => {
    stopped = true;
  });
  await send(requestOf());
  assert.deepEqual([stopped, inferences.length], [false, 1]);
  inferences[0]!.done();
  await stopping;
  assert.deepEqual(outcomes(), [[header.id, null]]);
});

/** A large request in four parts. */
function large(overrides: Partial<RequestHeader> = {}) {
  const body = randomBytes(400);
  const sha256 = createHash('sha256').update(body).digest('hex');
  const header = requestOf({ ...overrides, chunk: { count: 4, bytes: body.length, sha256 } });
  const part = (index: number): Buffer => body.subarray(index * 100, (index + 1) * 100);
  return {
    ...{ id: header.id, header, body },
    first: encodeEnvelope(header, part(0)),
    chunk: (index: number) => encodeEnvelope({ id: header.id, index }, part(index)),
    resume: encodeEnvelope({ id: header.id, resume: true }),
  };
}

test('a large request is acknowledged chunk by chunk, then answered like any other, and asked again from memory', async () => {
  const { receive, receiveChunk, acks, inferences, outcomes, usage } = setUp();
  const { id, first, chunk, resume, body } = large();
  receive('gate-01', first);
  await settle();
  for (const index of [1, 2, 3]) receiveChunk('gate-01', chunk(index));
  await settle();
  assert.deepEqual(
    acks,
    [1, 2, 3, 4].map((next) => ['gate-01', id, next]),
  );
  assert.deepEqual(Buffer.from(inferences[0]!.request.input.body), body);
  receiveChunk('gate-01', resume);
  receive('gate-01', first);
  await settle();
  assert.deepEqual(
    acks.slice(4).map(([, , next]) => next >= 4),
    [true, true],
    'it is being worked on: all has come',
  );
  inferences[0]!.done();
  await settle();
  receive('gate-01', first);
  receiveChunk('gate-01', resume);
  await settle();
  assert.deepEqual(outcomes(), [
    [id, null],
    [id, null],
    [id, null],
  ]);
  assert.deepEqual([inferences.length, usage.length], [1, 1]);
});

test('a link that is lost while a large request is worked on fails nothing but the acknowledgement', async () => {
  const { receive, receiveChunk, broker, inferences, outcomes, logger } = setUp();
  const { header, first, chunk } = large();
  receive('gate-01', first);
  await settle();
  for (const index of [1, 2]) receiveChunk('gate-01', chunk(index));
  await settle();
  broker.isUp = false;
  receiveChunk('gate-01', chunk(3));
  // An unhandled rejection here would end the hub, and this test.
  await settle();
  assert.deepEqual(logger.failures(), ['intake.failed BROKER_UNREACHABLE']);
  broker.isUp = true;
  inferences[0]?.done();
  await settle();
  assert.deepEqual(outcomes(), [[header.id, null]]);
});

test('a first chunk is admitted like a request, and chunks of a revoked device fall silent', async () => {
  const { receive, receiveChunk, acks, active, outcomes, inferences } = setUp();
  const expired = large({ expiresMs: 0 });
  receive('gate-01', expired.first);
  await settle();
  assert.deepEqual(outcomes(), [[expired.id, 'EXPIRED']]);
  const { first, chunk } = large();
  receive('gate-01', first);
  await settle();
  active.delete('gate-01');
  for (const index of [1, 2, 3]) receiveChunk('gate-01', chunk(index));
  await settle();
  assert.deepEqual([acks.length, inferences.length], [1, 0]);
});

test('a chunk that nobody began, or that is nonsense, does no harm', async () => {
  const { receiveChunk, acks, logger } = setUp();
  const { id, chunk } = large();
  receiveChunk('gate-01', chunk(2));
  receiveChunk('gate-01', Buffer.from('nonsense'));
  await settle();
  assert.deepEqual(acks, [['gate-01', id, 0]]);
  assert.deepEqual(logger.failures(), ['intake.malformed MESSAGE_VERSION']);
});

test('a device that asks too often is told when to come back, before it costs anything', async () => {
  const { send, outcomes, told, inferences, clock } = setUp({ rate: { perSecond: 10, burst: 2 } });
  const headers = [requestOf(), requestOf(), requestOf()];
  for (const header of headers) await send(header);
  assert.deepEqual(outcomes(), [[headers[2]!.id, 'RATE_LIMITED']]);
  const { header } = told()[0]!;
  assert.equal(!header.ok && header.error.retryAfterMs, 100);
  assert.equal(inferences.length, 2);
  await clock.advance(100);
  await send(headers[2]!);
  assert.equal(inferences.length, 3);
});

test('an input that ends the runner time and again is poisonous: refused for good, and set aside', async () => {
  const { send, outcomes, inferences, setAside } = setUp();
  const header = requestOf();
  for (const [at, code] of ['RUNNER_CRASHED', 'RUNNER_TIMEOUT', 'RUNNER_CRASHED'].entries()) {
    await send(header);
    inferences[at]!.failed(new AppError(code as 'RUNNER_CRASHED'));
    await settle();
  }
  await send(header);
  assert.deepEqual(
    outcomes().map(([, code]) => code),
    ['RUNNER_CRASHED', 'RUNNER_TIMEOUT', 'INPUT_POISONOUS', 'INPUT_POISONOUS'],
  );
  assert.equal(inferences.length, 3, 'the last time it was not tried');
  assert.deepEqual(setAside, [['poisonous', 'gate-01']]);
});

test('what cannot be decoded is set aside, unless strangers sent it', async () => {
  const { receive, setAside, active } = setUp();
  receive('gate-01', Buffer.from('nonsense'));
  active.delete('gate-02');
  receive('gate-02', Buffer.from('nonsense'));
  await settle();
  assert.deepEqual(setAside, [['malformed', 'gate-01']]);
});

test('usage is counted once the reply is kept, and what is kept is answered after a restart', async () => {
  const log: KeptReply[] = [];
  const waiting: (() => void)[] = [];
  const replies = {
    append: (reply: KeptReply, written: () => void) => {
      log.push(reply);
      waiting.push(written);
    },
  };
  const before = setUp({ replies });
  const header = requestOf();
  await before.send(header);
  before.inferences[0]!.done();
  await settle();
  assert.deepEqual([before.outcomes().length, before.usage.length], [1, 0]);
  for (const written of waiting.splice(0)) written();
  assert.equal(before.usage.length, 1);

  const after = setUp({ replies });
  after.intake.restore(log);
  await after.send(header);
  assert.deepEqual(after.outcomes(), [[header.id, null]]);
  assert.deepEqual([after.inferences.length, after.usage.length], [0, 0]);
  assert.deepEqual(after.replies[0]?.frame, before.replies[0]?.frame, 'the very same reply');
});

test('an answer that no broker would take is a failure that says so, and is not asked for again', async () => {
  const { send, inferences, outcomes, usage } = setUp();
  const header = requestOf();
  await send(header);
  inferences[0]?.done({ ...REPLY, output: ['x'.repeat(1024 * 1024)] });
  await settle();
  assert.deepEqual(outcomes(), [[header.id, 'ANSWER_TOO_LARGE']]);
  assert.equal(usage.length, 0);
  await send(header);
  assert.equal(inferences.length, 1);
});
