/**
 * Whatever comes in by whichever door, each gets one clear error with its code in the shape of that door; nothing crashes and
 * nothing else is lost. One real broker, hub and agent for all of it, with the tiny models of test/fixtures.
 */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createdKey, enrollmentToken, type KeyScope, problem } from '../../shared/contract/admin.ts';
import { decodeEnvelope, encodeEnvelope } from '../../shared/contract/envelope.ts';
import { enrollResponse, type RequestHeader, replyHeader } from '../../shared/contract/messages.ts';
import { failure, isFailure, type Result, result } from '../../shared/contract/result.ts';
import { deviceTopics } from '../../shared/contract/topics.ts';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import { ERRORS, type ErrorCode, isAppError } from '../../shared/runtime/errors.ts';
import { newId, newSecret } from '../../shared/runtime/ids.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { corruptJpeg, goodPicture, heic, hugePng, longText, notUtf8, svg } from '../support/bad-inputs.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { commandOf, descendants, eventually, isAlive, outrider, upFlags } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const GOOD_TEXT = 'a fine film';

/** The body, how it is sent, and the code that it must get. */
interface Case {
  readonly what: string;
  readonly to: string;
  readonly body?: Uint8Array | string;
  readonly headers?: Record<string, string>;
  readonly code: ErrorCode;
  readonly method?: string;
}

const PICTURE_CASES: readonly Omit<Case, 'to'>[] = [
  { what: 'a cut JPEG', body: corruptJpeg(), code: 'IMAGE_CORRUPT' },
  { what: 'noise', body: Buffer.from([0, 1, 2, 3, 4, 250, 251, 252]), code: 'IMAGE_CORRUPT' },
  { what: 'no bytes', code: 'INPUT_EMPTY' },
  { what: 'a PNG of 100 megapixels', body: hugePng(), code: 'IMAGE_TOO_LARGE' },
  { what: 'an SVG', body: svg(), code: 'IMAGE_UNSUPPORTED' },
  { what: 'a HEIC', body: heic(), code: 'IMAGE_UNSUPPORTED' },
  { what: 'a text', body: GOOD_TEXT, code: 'INPUT_KIND_WRONG' },
  {
    what: 'an unknown parameter',
    body: JSON.stringify({ inputs: goodPicture().toString('base64'), parameters: { topk: 3 } }),
    headers: { 'content-type': 'application/json' },
    code: 'PARAMETERS_INVALID',
  },
];
const TEXT_CASES: readonly Omit<Case, 'to'>[] = [
  { what: 'no bytes', code: 'INPUT_EMPTY' },
  { what: 'a text of 10 MB', body: longText(), code: 'INPUT_TOO_LARGE' },
  { what: 'a picture', body: goodPicture(), code: 'INPUT_KIND_WRONG' },
  { what: 'bytes that are not UTF-8', body: notUtf8(), code: 'TEXT_INVALID' },
  {
    what: 'JSON of another form',
    body: '{"input": "a fine film"}',
    headers: { 'content-type': 'application/json' },
    code: 'BAD_REQUEST',
  },
];

test('bad input gets one clear error at every door, and good input its answer', async (t) => {
  const data = await temporaryFolder(t);
  const models = join(data, 'models');
  for (const name of ['colours', 'words', 'no-labels'])
    cpSync(join(FIXTURES, name), join(models, name), { recursive: true });
  cpSync(join(FIXTURES, 'colours'), join(models, 'damaged'), { recursive: true });
  writeFileSync(join(models, 'damaged', 'onnx', 'model.onnx'), 'not the recorded bytes');
  cpSync(join(FIXTURES, 'colours'), join(models, 'foreign'), { recursive: true });
  rmSync(join(models, 'foreign', 'outrider.json'));
  const config = join(data, 'outrider.yaml');
  writeFileSync(config, CONFIG);

  const { flags, hub, agent } = await upFlags(data);
  const up = outrider(t, ['up', ...flags, '--config', config, '--models', models]);
  await up.says('Outrider');
  await eventually(async () => (await fetch(`${agent}/readyz`)).ok, 'the agent is not ready');
  const admin = readFileSync(join(data, 'hub', 'admin.key'), 'utf8').trim();
  const keyFor = async (...scopes: KeyScope[]): Promise<string> => {
    const made = await send(`${hub}/api/v1/keys`, {
      body: JSON.stringify({ name: 'test', scopes }),
      headers: { authorization: `Bearer ${admin}` },
    });
    return createdKey.parse(made.json).key;
  };
  const infer = { authorization: `Bearer ${await keyFor('infer')}` };
  const metricsKey = { authorization: `Bearer ${await keyFor('metrics')}` };
  await allGood();
  // Broker, hub, agent, and two runners of each side; that of the model without labels has come and gone.
  let running: number[] = [];
  await eventually(() => {
    // tsx keeps a compiler beside a program whose sources it has not seen before.
    running = descendants(up.process.pid!).filter((pid) => !commandOf(pid).includes('esbuild'));
    return running.length === 7;
  }, 'there are more or fewer processes').catch(() => assert.fail(running.map(commandOf).join('\n')));

  await t.test('the agent’s API', async (agentTest) => {
    const local: Case[] = [
      ...PICTURE_CASES.map((one) => ({ ...one, to: '/v1/infer/pictures' })),
      ...TEXT_CASES.map((one) => ({ ...one, to: '/v1/infer/texts' })),
      { what: 'an unknown pipeline', to: '/v1/infer/nothing', body: 'x', code: 'PIPELINE_UNKNOWN' },
      { what: 'an unknown route', to: '/v1/infer/texts?route=moon', body: 'x', code: 'BAD_REQUEST' },
      { what: 'an unknown result', to: `/v1/results/${newId()}`, method: 'GET', code: 'RESULT_UNKNOWN' },
      { what: 'an unknown address', to: '/v2/infer', body: 'x', code: 'NOT_FOUND' },
      {
        what: 'a page of another site',
        to: '/v1/infer/texts',
        body: 'x',
        headers: { origin: 'https://elsewhere.example' },
        code: 'HOST_REFUSED',
      },
      {
        what: 'a name that leads here by DNS',
        to: '/v1/infer/texts',
        body: 'x',
        headers: { host: 'rebound.example' },
        code: 'HOST_REFUSED',
      },
    ];
    await each(agentTest, local, agent, agentError);
  });

  await t.test('the agent’s API, answered by the hub over MQTT', async (cloudTest) => {
    // Nobody looks at these inputs before the hub does.
    const far: Case[] = [
      ...PICTURE_CASES.map((one) => ({ ...one, to: '/v1/infer/far-pictures' })),
      ...TEXT_CASES.map((one) => ({ ...one, to: '/v1/infer/far-texts' })),
      {
        what: 'a model that the hub has not',
        to: '/v1/infer/nowhere',
        body: GOOD_TEXT,
        code: 'MODEL_UNKNOWN',
      },
      {
        what: 'a model without labels',
        to: '/v1/infer/unlabelled',
        body: goodPicture(),
        code: 'MODEL_INVALID',
      },
    ];
    await each(cloudTest, far, agent, agentError);
  });

  await t.test('the hub’s Hugging Face API', async (hubTest) => {
    const cases: Case[] = [
      ...PICTURE_CASES.map((one) => ({ ...one, to: '/hf/models/colours' })),
      ...TEXT_CASES.map((one) => ({ ...one, to: '/hf/models/words' })),
      { what: 'an unknown model', to: '/hf/models/nothing', body: 'x', code: 'MODEL_UNKNOWN' },
      { what: 'a name that is a path', to: '/hf/models/..%2f..%2fetc', body: 'x', code: 'MODEL_UNKNOWN' },
      {
        what: 'a model without labels',
        to: '/hf/models/no-labels',
        body: goodPicture(),
        code: 'MODEL_INVALID',
      },
      { what: 'a damaged model', to: '/hf/models/damaged', body: goodPicture(), code: 'MODEL_UNKNOWN' },
    ].map((one) => ({ headers: {}, ...one, code: one.code as ErrorCode }));
    const asInfer = cases.map((one) => ({ ...one, headers: { ...one.headers, ...infer } }));
    const strangers: Case[] = [
      { what: 'no key', to: '/hf/models/words', body: 'x', code: 'UNAUTHORIZED' },
      {
        what: 'a wrong key',
        to: '/hf/models/words',
        body: 'x',
        headers: { authorization: `Bearer ${newSecret()}` },
        code: 'UNAUTHORIZED',
      },
      {
        what: 'a key without the scope',
        to: '/hf/models/words',
        body: 'x',
        headers: metricsKey,
        code: 'FORBIDDEN',
      },
    ];
    await each(hubTest, [...asInfer, ...strangers], hub, huggingFaceError);
  });

  await t.test('the hub’s admin API', async (adminTest) => {
    const asAdmin = { authorization: `Bearer ${admin}` };
    const cases: Case[] = [
      { what: 'no key', to: '/api/v1/devices', method: 'GET', code: 'UNAUTHORIZED' },
      {
        what: 'a key without the scope',
        to: '/api/v1/devices',
        method: 'GET',
        headers: infer,
        code: 'FORBIDDEN',
      },
      { what: 'metrics without the scope', to: '/metrics', method: 'GET', headers: infer, code: 'FORBIDDEN' },
      { what: 'no JSON', to: '/api/v1/keys', body: 'a key, please', headers: asAdmin, code: 'BAD_REQUEST' },
      {
        what: 'an unknown field',
        to: '/api/v1/keys',
        body: '{"nam":"x"}',
        headers: asAdmin,
        code: 'BAD_REQUEST',
      },
      { what: 'too much', to: '/api/v1/keys', body: longText(), headers: asAdmin, code: 'INPUT_TOO_LARGE' },
      {
        what: 'an unknown device',
        to: '/api/v1/devices/x',
        method: 'DELETE',
        headers: asAdmin,
        code: 'DEVICE_UNKNOWN',
      },
      {
        what: 'a made-up token',
        to: '/api/v1/enroll',
        body: JSON.stringify({ token: newSecret(), deviceId: 'stranger', secret: newSecret() }),
        code: 'ENROLLMENT_REFUSED',
      },
      {
        what: 'an unknown address',
        to: '/api/v1/nothing',
        method: 'GET',
        headers: asAdmin,
        code: 'NOT_FOUND',
      },
    ];
    await each(adminTest, cases, hub, ({ json }) => problem.parse(json));
  });

  await t.test('the command line', async () => {
    const jpeg = join(data, 'cut.jpg');
    writeFileSync(jpeg, corruptJpeg());
    const good = join(data, 'good.jpg');
    writeFileSync(good, goodPicture());
    const says = async (args: string[], code: number, text: RegExp): Promise<void> => {
      const command = outrider(t, [...args, '--data', data]);
      assert.deepEqual((await command.exited).code, code, command.output());
      assert.match(command.output(), text);
      assert.doesNotMatch(command.output(), /\n\s+at /, 'a stack is nobody’s business');
    };
    await Promise.all([
      says(['infer', 'colours', jpeg], 1, /^outrider: .*cannot be decoded.* \(IMAGE_CORRUPT\)\n$/),
      says(['infer', 'words', good], 1, /\(INPUT_KIND_WRONG\)/),
    ]);
    await Promise.all([
      says(['infer', 'colours', join(data, 'nothing.jpg')], 1, /\(FILE_UNREADABLE\)/),
      says(['infer', 'nothing', 'x'], 1, /\(MODEL_UNKNOWN\)/),
    ]);
    await Promise.all([
      says(['devices', 'ls', '--key', newSecret()], 1, /\(UNAUTHORIZED\)/),
      says(['devices', 'revoke', 'nobody'], 1, /\(DEVICE_UNKNOWN\)/),
    ]);
  });

  await t.test('1,000 broken messages of a device, and topics that are not its own', async () => {
    const device = await enrolled('rude');
    const topics = deviceTopics('rude');
    const replies: Uint8Array[] = [];
    device.onMessage((topic, payload) => {
      if (topic === topics.reply) replies.push(payload);
    });
    await device.subscribe([topics.reply]);
    const before = await malformed();
    for (let index = 0; index < 1_000; index++) await device.publish(topics.infer, broken(index), { qos: 1 });
    await eventually(async () => (await malformed()) - before === 1_000, 'the hub did not count them');

    await assert.rejects(
      () => device.subscribe([deviceTopics('probe').reply]),
      (error) => isAppError(error, 'LINK_REFUSED'),
    );
    // MQTT 3.1.1 knows no other refusal of a message than to end the connection.
    await device.publish(deviceTopics('probe').reply, 'a false answer', { qos: 1 }).catch(() => undefined);
    await eventually(() => device.connected, 'the device did not come back');

    // A whole envelope with an input that is not whole is answered, in the shape of the wire.
    const replyTo = async (body: Uint8Array) => {
      const request = requestFor('colours');
      await device.publish(topics.infer, encodeEnvelope(request, body), { qos: 1 });
      const find = () =>
        replies
          .map((frame) => decodeEnvelope(frame, replyHeader))
          .find(({ header }) => header.id === request.id);
      await eventually(() => find() !== undefined, 'no reply came');
      return find()!;
    };
    const { header, body } = await replyTo(corruptJpeg());
    assert.equal(header.ok, false);
    assert.equal(!header.ok && header.error.code, 'IMAGE_CORRUPT');
    assert.equal(body.length, 0);
    const good = await replyTo(goodPicture());
    assert.equal(good.header.ok, true);
    // Of the broken ones, those whose header still told their id were refused by it; the others have nobody to answer.
    const refused = replies
      .map((frame) => decodeEnvelope(frame, replyHeader).header)
      .filter(({ id }) => id !== header.id && id !== good.header.id);
    assert.deepEqual(new Set(refused.map((one) => one.ok || one.error.code)), new Set(['MESSAGE_MALFORMED']));
    await device.end();
  });

  await t.test(
    'everything that ran still runs, good input is answered, and failures are on the sinks',
    async () => {
      await allGood();
      assert.deepEqual(
        running.filter((pid) => !isAlive(pid)),
        [],
        'a process ended',
      );
      const lines = readFileSync(join(data, 'agent', 'results', 'pictures.ndjson'), 'utf8')
        .trim()
        .split('\n');
      const failed = lines.map((line) => result.parse(JSON.parse(line))).filter(isFailure);
      const codes = new Set(failed.map(({ error }) => error.code));
      for (const code of [
        'IMAGE_CORRUPT',
        'IMAGE_TOO_LARGE',
        'IMAGE_UNSUPPORTED',
        'INPUT_KIND_WRONG',
      ] as const)
        assert.ok(codes.has(code), `${code} is not on the sink`);
      const log = readFileSync(join(data, 'logs', 'hub.log'), 'utf8');
      for (const name of ['damaged', 'foreign'])
        assert.match(
          log,
          new RegExp(`"path":"[^"]*${name}".*hub.model_invalid`),
          `${name} is not in the log`,
        );
      assert.doesNotMatch(log, /"level":50/, 'the hub logged a failure of its own');
      const agentLog = readFileSync(join(data, 'logs', 'agent.log'), 'utf8');
      assert.doesNotMatch(agentLog, /"level":50/, 'the agent logged a failure of its own');
    },
  );

  async function allGood(): Promise<void> {
    for (const [pipeline, body] of [
      ['pictures', goodPicture()],
      ['texts', GOOD_TEXT],
      ['far-pictures', goodPicture()],
      ['far-texts', GOOD_TEXT],
    ] as const) {
      const { status, json } = await send(`${agent}/v1/infer/${pipeline}`, { body });
      assert.equal(status, 200, JSON.stringify(json));
      const answer: Result = result.parse(json);
      assert.ok(!isFailure(answer));
      assert.equal(answer.source, pipeline.startsWith('far') ? 'cloud' : 'edge');
    }
  }

  async function enrolled(deviceId: string) {
    const token = enrollmentToken.parse(
      (
        await send(`${hub}/api/v1/enrollment-tokens`, {
          body: '{}',
          headers: { authorization: `Bearer ${admin}` },
        })
      ).json,
    ).token;
    const secret = newSecret();
    const made = await send(`${hub}/api/v1/enroll`, { body: JSON.stringify({ token, deviceId, secret }) });
    const { mqttUrl } = enrollResponse.parse(made.json);
    const device = await connectMqtt({
      url: mqttUrl,
      clientId: deviceId,
      username: deviceId,
      password: secret,
      logger: silentLogger,
      random: () => 0,
    });
    t.after(() => device.end());
    await eventually(() => device.connected, 'the device did not connect');
    return device;
  }

  async function malformed(): Promise<number> {
    const { text } = await send(`${hub}/metrics`, { method: 'GET', headers: metricsKey });
    return Number(/^outrider_requests_total\{[^}]*outcome="malformed"[^}]*\} (\d+)$/m.exec(text)?.[1] ?? 0);
  }
});

const CONFIG = `device: probe
pipelines:
  - { name: pictures, task: image-classification, edge: colours, sinks: [{ type: file, path: results/pictures.ndjson }] }
  - { name: texts, task: text-classification, edge: words }
  - { name: far-pictures, task: image-classification, cloud: colours, route: { deadline: 20s } }
  - { name: far-texts, task: text-classification, cloud: words, route: { deadline: 20s } }
  - { name: nowhere, task: text-classification, cloud: nothing, route: { deadline: 20s } }
  - { name: unlabelled, task: image-classification, cloud: no-labels, route: { deadline: 20s } }
`;

interface Answered {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
  readonly json: unknown;
}

/** Over node:http, because fetch sets Host by itself. */
function send(
  url: string,
  { method = 'POST', headers = {}, body = '' }: Pick<Case, 'method' | 'headers' | 'body'>,
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const asking = request(url, {
      method,
      headers: { 'content-length': Buffer.byteLength(body), ...headers },
    });
    let isAnswered = false;
    asking.on('response', (response) => {
      isAnswered = true;
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const contentType = response.headers['content-type'] ?? '';
        resolve({
          status: response.statusCode ?? 0,
          contentType,
          text,
          json: contentType.includes('json') ? JSON.parse(text) : undefined,
        });
      });
    });
    // Whoever refuses a large body need not read it: what cannot be sent any more is no failure once there is an answer.
    asking.on('socket', (socket) => socket.on('error', () => undefined));
    asking.on('error', (error) => {
      if (!isAnswered) reject(error);
    });
    asking.end(body);
  });
}

/** Each case answers with its code, the status of the table, and that face's own shape. */
async function each(
  t: TestContext,
  cases: readonly Case[],
  base: string,
  read: (answered: Answered) => { readonly code: string },
): Promise<void> {
  for (const { what, to, code, ...rest } of cases) {
    await t.test(`${what} to ${to}: ${code}`, async () => {
      const answered = await send(`${base}${to}`, rest);
      assert.equal(read(answered).code, code, answered.text);
      assert.equal(answered.status, ERRORS[code].httpStatus);
      assert.ok(answered.text.length < 2_000, 'an error is a sentence');
    });
  }
}

/** What the agent could not take is an error with the request's id; a failed input is a Result. */
function agentError({ json }: Answered): { code: string } {
  const failed = failure.safeParse(json);
  if (failed.success) return failed.data.error;
  const { error, requestId } = json as { error: { code: string; message: string }; requestId: string };
  assert.ok(requestId.length > 0 && error.message.length > 0);
  return error;
}

function huggingFaceError({ json }: Answered): { code: string } {
  const { error, code, requestId } = json as { error: string; code: string; requestId: string };
  assert.ok(error.length > 0 && requestId.length > 0);
  return { code };
}

const requestFor = (model: string): RequestHeader => ({
  id: newId(),
  pipeline: 'pictures',
  model,
  task: 'image-classification',
  contentType: 'image/jpeg',
  deadlineMs: 10_000,
  expiresMs: 60_000,
});

/** Every kind of broken envelope in turn; the index chooses where it breaks. */
function broken(index: number): Uint8Array {
  const whole = encodeEnvelope(requestFor('colours'), Buffer.from('body'));
  const headerEnd = 5 + whole.readUInt32BE(1);
  const kinds: (() => Uint8Array)[] = [
    // Cut inside the frame or the header: what is left cannot be whole.
    () => whole.subarray(0, index % headerEnd),
    () => withByte(whole, 0, 2 + (index % 250)),
    () => withByte(whole, 1, 1 + (index % 255)),
    () => withByte(whole, 5 + (index % 2), 0x00),
    () => Buffer.from(Array.from({ length: index % 400 }, (_, at) => (at * 7919 + index * 104_729) % 251)),
    () => encodeEnvelope({ ...requestFor('colours'), id: `${index}` }),
    () => encodeEnvelope({ ...requestFor('../../etc/passwd') }),
    () => encodeEnvelope({ ...requestFor('colours'), deadlineMs: 'soon' }),
    () => encodeEnvelope([index]),
  ];
  return kinds[index % kinds.length]!();
}

function withByte(frame: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(frame);
  changed[at] = value;
  return changed;
}
