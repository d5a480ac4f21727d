import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { deflateSync, gzipSync } from 'node:zlib';
import { createAgentApi } from '../../../../agent/api/api.ts';
import { ResultStore } from '../../../../agent/api/result-store.ts';
import { ApiServer } from '../../../../agent/api/server.ts';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { Asked, DeadLetter, FeedItem, Outbox, PipelineFace } from '../../../../agent/ports.ts';
import type { FeedStatus } from '../../../../shared/contract/feed-status.ts';
import type { UpdateReport } from '../../../../shared/contract/messages.ts';
import type { Answer, Result } from '../../../../shared/contract/result.ts';
import type { SinkStatus } from '../../../../shared/contract/sink-status.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { MAX_TEXT_BYTES } from '../../../../shared/tasks/limits.ts';
import type { TaskName } from '../../../../shared/tasks/tasks.ts';
import { ROOMY } from '../../../support/disks.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';
import { eventually } from '../../../support/programs.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { startedRouter } from '../../../support/routing.ts';

const DEADLINE_MS = 2_000;
const MAX_WAITING = 32;
const HOST = '127.0.0.1:8090';
const KEY = 'a key of this device';

const answer = (id: string = newId(), provisional = false): Answer => ({
  id,
  pipeline: 'text',
  task: 'text-classification',
  output: [{ label: 'POSITIVE', score: 0.9 }],
  source: 'edge',
  provisional,
  model: EDGE_MODEL,
  agreement: 0.99,
  reason: 'confident',
  timingsMs: { preprocess: 1, inference: 1, queue: null, network: null, total: 2 },
  input: null,
  atMs: 1,
});
const failure = (code: ErrorCode, id: string = newId()): Result => ({
  id,
  pipeline: 'text',
  error: { code, message: 'why' },
  input: null,
  atMs: 1,
});

const UPDATE: UpdateReport = {
  model: { ...EDGE_MODEL, version: '2' },
  phase: 'trial',
  error: null,
  test: 'golden',
  downloadedBytes: 10,
  totalBytes: 10,
  answers: 3,
  atMs: 1,
};

/** A pipeline that answers when the test says so. */
class TestPipeline implements PipelineFace {
  readonly name: string;
  readonly task: TaskName;
  readonly deadlineMs = DEADLINE_MS;
  readonly accepted: { readonly item: FeedItem; readonly forced: string | undefined }[] = [];
  readonly waiting: ((result: Result) => void)[] = [];
  /** Answers at once with this. */
  next: Result | AppError | undefined = answer();

  constructor(name: string, task: TaskName) {
    this.name = name;
    this.task = task;
  }

  async accept(item: FeedItem, { forced }: Asked = {}) {
    this.accepted.push({ item, forced });
    const { next } = this;
    if (next instanceof AppError) throw next;
    const id = next?.id ?? newId();
    const first = next
      ? Promise.resolve(next)
      : new Promise<Result>((resolve) => this.waiting.push((result) => resolve({ ...result, id })));
    return { id, first };
  }

  readonly dropped: string[] = [];
  async drop(id: string): Promise<void> {
    this.dropped.push(id);
  }

  readonly retried: DeadLetter[] = [];
  async retry(letter: DeadLetter): Promise<string> {
    this.retried.push(letter);
    return newId();
  }

  provisional(): Promise<Result | undefined> {
    return Promise.resolve(undefined);
  }

  status() {
    return {
      name: this.name,
      task: this.task,
      edge: EDGE_MODEL,
      cloud: 'big',
      router: startedRouter().status(),
      owed: 3,
    };
  }
}

function setUp(options: { readonly key?: string; readonly notReady?: string } = {}) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const results = new ResultStore();
  const feeds = new Map<string, FeedStatus>();
  const sinks = new Map<string, SinkStatus[]>();
  const text = new TestPipeline('text', 'text-classification');
  const vision = new TestPipeline('vision', 'image-classification');
  const metrics = createAgentMetrics();
  const owed = new Set<string>();
  const allowed: string[] = [];
  const app = createAgentApi({
    deviceId: 'gate-01',
    pipelines: new Map([
      ['text', text],
      ['vision', vision],
    ]),
    feedOf: (name) => feeds.get(name),
    sinksOf: (name) => sinks.get(name) ?? [],
    results,
    outbox: { has: (id: string) => owed.has(id), find: () => undefined } as unknown as Outbox,
    hurry: () => undefined,
    meter: { today: () => ({ day: '2026-01-01', capBytes: undefined, use: [] }) },
    updates: () => [UPDATE],
    disk: () => ROOMY,
    connections: () => [],
    sent: async () => [],
    agent: () => ({ managed: false, why: 'a test', update: null }),
    allowMetered: () => allowed.push('metered'),
    ready: () => options.notReady,
    link: () => ({
      online: true,
      hub: 'https://hub.example.com',
      problem: null,
      outbox: { entries: 3, bytes: 300, oldestAtMs: null, deadLetters: 0 },
    }),
    key: options.key,
    metrics,
    clock,
    logger,
  });
  const get = async (path: string, headers: Record<string, string> = {}) =>
    app.request(path, { headers: { host: HOST, ...headers } });
  const post = async (
    path: string,
    body: string | Uint8Array | ReadableStream = 'good',
    headers: Record<string, string> = {},
  ) =>
    app.request(path, {
      method: 'POST',
      headers: { host: HOST, ...headers },
      body: body as never,
      ...(body instanceof ReadableStream && { duplex: 'half' }),
    });
  return { clock, logger, results, feeds, sinks, owed, allowed, text, vision, app, get, post };
}

/** @returns status, code of the error and Retry-After */
async function refusal(asking: Response | Promise<Response>) {
  const response = await asking;
  const body = (await response.json()) as { error: { code: string } };
  return [response.status, body.error.code, response.headers.get('retry-after')];
}

test('answers with the result of the pipeline', async () => {
  const { post, text } = setUp();
  const response = await post('/v1/infer/text', 'a fine film', { 'content-type': 'text/plain' });
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), text.next);
  const [given] = text.accepted;
  assert.deepEqual(
    [Buffer.from(given?.item.input.body ?? []).toString(), given?.item.label, given?.forced],
    ['a fine film', null, undefined],
  );
});

test('the input’s kind follows from the task and the body, whatever curl calls it', async () => {
  const { post, text, vision } = setUp();
  const curl = { 'content-type': 'application/x-www-form-urlencoded' };
  await post('/v1/infer/text', 'a fine film', curl);
  await post('/v1/infer/text', '{"inputs": "a fine film", "parameters": {"top_k": 1}}', curl);
  await post('/v1/infer/vision', new Uint8Array([0xff, 0xd8, 0xff]), curl);
  await post('/v1/infer/vision', new Uint8Array([0xff, 0xd8, 0xff]), { 'content-type': 'image/jpeg' });
  assert.deepEqual(
    [...text.accepted, ...vision.accepted].map(({ item: { input } }) => [
      input.contentType,
      [...input.body].length,
      input.parameters,
    ]),
    [
      ['text/plain; charset=utf-8', 11, undefined],
      ['text/plain; charset=utf-8', 11, { top_k: 1 }],
      ['application/octet-stream', 3, undefined],
      ['image/jpeg', 3, undefined],
    ],
  );
});

test('a body may be compressed; another coding is refused, and what comes out is bounded', async () => {
  const { post, text } = setUp();
  const encoding = (coding: string) => ({ 'content-encoding': coding });
  assert.equal((await post('/v1/infer/text', gzipSync('a fine film'), encoding('gzip'))).status, 200);
  assert.equal((await post('/v1/infer/text', deflateSync('a fine film'), encoding('deflate'))).status, 200);
  assert.deepEqual(
    text.accepted.map(({ item }) => Buffer.from(item.input.body).toString()),
    ['a fine film', 'a fine film'],
  );
  const refused = await post('/v1/infer/text', 'a fine film', encoding('br'));
  assert.deepEqual(
    [refused.status, refused.headers.get('accept-encoding')],
    [415, 'gzip, deflate, identity'],
  );
  const bomb = await post('/v1/infer/text', gzipSync(Buffer.alloc(32 * 1024 * 1024)), encoding('gzip'));
  assert.equal(bomb.status, 413);
  assert.equal((await post('/v1/infer/text', 'no gzip', encoding('gzip'))).status, 400);
  assert.equal(text.accepted.length, 2);
});

test('a failed input has the status of its code, and says whether to come back', async () => {
  const { post, text } = setUp();
  for (const [code, status, retryAfter] of [
    ['TEXT_INVALID', 422, null],
    ['OUTBOX_FULL', 429, '1'],
    ['EXPIRED', 504, null],
  ] as const) {
    text.next = failure(code);
    assert.deepEqual(await refusal(post('/v1/infer/text')), [status, code, retryAfter]);
  }
});

test('forces the route that is asked for, and no other word', async () => {
  const { post, text } = setUp();
  await post('/v1/infer/text?route=edge');
  await post('/v1/infer/text?route=cloud');
  assert.deepEqual(
    text.accepted.map(({ forced }) => forced),
    ['edge', 'cloud'],
  );
  assert.deepEqual(await refusal(post('/v1/infer/text?route=moon')), [400, 'BAD_REQUEST', null]);
  assert.equal(text.accepted.length, 2);
});

test('refuses what is no input before the pipeline sees it', async () => {
  const { post, text, vision } = setUp();
  const json = { 'content-type': 'application/json' };
  assert.deepEqual(await refusal(post('/v1/infer/text', '')), [400, 'INPUT_EMPTY', null]);
  assert.deepEqual(await refusal(post('/v1/infer/text', '{"text": 1}', json)), [400, 'BAD_REQUEST', null]);
  assert.deepEqual(await refusal(post('/v1/infer/text', '{"inputs": ""}', json)), [400, 'INPUT_EMPTY', null]);
  assert.deepEqual(
    await refusal(post('/v1/infer/text', '{"inputs": "x", "parameters": {"top_k": 0}}', json)),
    [400, 'PARAMETERS_INVALID', null],
  );
  assert.deepEqual(await refusal(post('/v1/infer/text', 'x'.repeat(MAX_TEXT_BYTES * 1.5))), [
    413,
    'INPUT_TOO_LARGE',
    null,
  ]);
  assert.deepEqual(await refusal(post('/v1/infer/nothing')), [404, 'PIPELINE_UNKNOWN', null]);
  const named = (await (await post('/v1/infer/nothing')).json()) as { error: { message: string } };
  assert.match(named.error.message, /text, vision/);
  assert.equal(text.accepted.length + vision.accepted.length, 0);
});

test('without an answer by the deadline it says where one will be', async () => {
  const { post, get, text, clock, results, owed } = setUp();
  text.next = undefined;
  const asking = post('/v1/infer/text');
  await clock.advance(DEADLINE_MS - 1);
  let early = true;
  void asking.then(() => {
    early = false;
  });
  await settle();
  assert.ok(early);
  await clock.advance(1);
  const response = await asking;
  const body = (await response.json()) as { id: string };
  assert.equal(response.status, 202);
  assert.deepEqual(body, { id: body.id, pipeline: 'text', status: 'accepted' });
  const location = response.headers.get('location') ?? '';
  assert.equal(location, `/v1/results/${body.id}`);
  assert.deepEqual(await refusal(get(location)), [404, 'RESULT_UNKNOWN', null]);
  owed.add(body.id);
  assert.equal((await get(location)).status, 202, 'while the cloud owes it');
  results.add(answer(body.id));
  assert.deepEqual(await (await get(location)).json(), answer(body.id));
});

test('holds so many callers of a pipeline; more are told to come back, until one has its answer', async () => {
  const { post, text } = setUp();
  text.next = undefined;
  const held = Array.from({ length: MAX_WAITING }, () => post('/v1/infer/text'));
  await settle();
  assert.deepEqual(await refusal(post('/v1/infer/text')), [429, 'QUEUE_FULL', '1']);
  assert.equal((await post('/v1/infer/vision', 'x')).status, 200, 'another pipeline has its own room');
  text.waiting[0]!(answer());
  assert.equal((await held[0]!).status, 200);
  const next = post('/v1/infer/text');
  await settle();
  for (const resolve of text.waiting) resolve(answer());
  assert.deepEqual(
    (await Promise.all([...held, next])).map(({ status }) => status),
    Array(MAX_WAITING + 1).fill(200),
  );
});

test('who sends slowly or not at all keeps nobody from asking, and is told when the time is over', async () => {
  const { post, text, clock } = setUp();
  const bodies: ReadableStreamDefaultController[] = [];
  const slow = (): ReadableStream =>
    new ReadableStream({
      start(controller) {
        bodies.push(controller);
      },
    });
  const sending = Array.from({ length: 3 * MAX_WAITING }, () => post('/v1/infer/text', slow()));
  await settle();
  assert.equal((await post('/v1/infer/text')).status, 200);
  bodies[0]?.close();
  bodies[1]?.enqueue(Buffer.from('good'));
  bodies[1]?.close();
  bodies[2]?.error(new Error('hung up'));
  await settle();
  await clock.advance(30_000);
  const statuses = (await Promise.all(sending)).map(({ status }) => status);
  assert.deepEqual(statuses, [400, 200, 400, ...Array(3 * MAX_WAITING - 3).fill(408)]);
  assert.equal((await post('/v1/infer/text')).status, 200);
  assert.equal(text.accepted.length, 3);
});

test('a pipeline that fails gives the place back, and our own mistakes stay inside', async () => {
  const { post, text, logger } = setUp();
  text.next = new AppError('INVARIANT_BROKEN', 'the secret reason');
  for (let i = 0; i < MAX_WAITING + 1; i++) {
    const response = await post('/v1/infer/text');
    const body = (await response.json()) as { error: { code: string; message: string }; requestId: string };
    assert.equal(response.status, 500);
    assert.deepEqual(body.error, { code: 'INVARIANT_BROKEN', message: 'Our own mistake.' });
    assert.equal(body.requestId, logger.lines.at(-1)?.facts.requestId, 'the log knows this request');
  }
});

test('says whether it lives and whether it is ready, what runs, and what it counted', async () => {
  const { get } = setUp();
  assert.deepEqual(await (await get('/healthz')).json(), { status: 'ok' });
  assert.deepEqual(await (await get('/readyz')).json(), { status: 'ready' });
  const starting = setUp({ notReady: 'the runner of small is being started' });
  const response = await starting.get('/readyz');
  assert.deepEqual(
    [response.status, await response.json()],
    [503, { status: 'not ready', reason: 'the runner of small is being started' }],
  );
  assert.match(await (await get('/metrics')).text(), /outrider_inputs_total/);
  const pipelines = (await (await get('/v1/pipelines')).json()) as {
    device: string;
    link: unknown;
    pipelines: { name: string; owed: number }[];
  };
  assert.equal(pipelines.device, 'gate-01');
  assert.deepEqual(pipelines.link, {
    online: true,
    hub: 'https://hub.example.com',
    problem: null,
    outbox: { entries: 3, bytes: 300, oldestAtMs: null, deadLetters: 0 },
    today: { day: '2026-01-01', use: [] },
  });
  assert.deepEqual(
    pipelines.pipelines.map(({ name, owed }) => [name, owed]),
    [
      ['text', 3],
      ['vision', 3],
    ],
  );
  assert.deepEqual(await refusal(get('/nowhere')), [404, 'NOT_FOUND', null]);
});

test('an address that is there says which methods it takes', async () => {
  const { app } = setUp();
  const ask = (method: string, path: string) => app.request(path, { method, headers: { host: HOST } });
  for (const [method, path, allow] of [
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['PATCH', '/v1/pipelines', 'GET, HEAD'],
    ['PUT', '/v1/outbox', 'GET, HEAD'],
    ['POST', '/v1/outbox/some-id', 'GET, HEAD, DELETE'],
    ['GET', '/v1/outbox/some-id/retry', 'POST'],
    ['GET', '/v1/infer/text', 'POST'],
    ['POST', '/assets/nothing.js', 'GET, HEAD'],
  ] as const) {
    const response = await ask(method, path);
    const { error } = (await response.json()) as { error: { code: string } };
    assert.deepEqual(
      [response.status, error.code, response.headers.get('allow')],
      [405, 'METHOD_NOT_ALLOWED', allow],
      `${method} ${path}`,
    );
  }
  for (const [method, path] of [
    ['GET', '/assets/nothing.js'],
    ['POST', '/v1/nothing'],
    ['GET', '/v1/infer'],
  ] as const)
    assert.equal((await ask(method, path)).status, 404, `${method} ${path}`);
});

test('the page, and each file that it names, come from here, and it may load nothing else', async () => {
  const { get } = setUp();
  const response = await get('/');
  assert.match(response.headers.get('content-type') ?? '', /text\/html/);
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'.*script-src 'self'/);
  assert.doesNotMatch(policy, /unsafe|http/);
  const named = [...(await response.text()).matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(
    ([, at]) => at!,
  );
  assert.equal(named.length, 3);
  for (const path of named) assert.equal((await get(path)).status, 200, path);
  for (const path of [
    '/assets/agent/main.ts',
    '/assets/../agent/main.ts',
    '/assets/',
    '/assets/package.json',
  ])
    assert.equal((await get(path)).status, 404, path);
});

test('tells the model updates and its own version beside the pipelines', async () => {
  const { get } = setUp();
  const told = (await (await get('/v1/pipelines')).json()) as { updates: unknown; version: string };
  assert.deepEqual(told.updates, [UPDATE]);
  assert.match(told.version, /^\d+\.\d+\.\d+/);
});

test('off loopback a browser reads why it sees nothing, and nothing else', async () => {
  const { get } = setUp({ key: KEY });
  const response = await get('/', { host: 'gate-01.local:8090', accept: 'text/html,*/*' });
  assert.equal(response.status, 401);
  const text = await response.text();
  assert.match(text, /answers only with its key/);
  assert.doesNotMatch(text, /gate-01/);
  const { status } = await get('/assets/shared/page/page.css', { host: 'gate-01.local:8090' });
  assert.equal(status, 401);
});

test('on loopback only its own address is let in, and no page of another site', async () => {
  const { get, post, text } = setUp();
  for (const host of ['127.0.0.1:8090', 'localhost:8090', '[::1]:8090', 'localhost'])
    assert.equal((await get('/healthz', { host })).status, 200, host);
  for (const host of [
    'evil.example.com',
    '127.0.0.1.evil.example.com',
    'localhost.evil.example.com:8090',
    '',
  ])
    assert.deepEqual(await refusal(post('/v1/infer/text', 'x', { host })), [403, 'HOST_REFUSED', null], host);
  for (const origin of ['https://evil.example.com', 'null', `https://${HOST}`, 'http://localhost:3000'])
    assert.deepEqual(
      await refusal(post('/v1/infer/text', 'x', { origin })),
      [403, 'HOST_REFUSED', null],
      origin,
    );
  assert.equal(text.accepted.length, 0);
  assert.equal((await post('/v1/infer/text', 'x', { origin: `http://${HOST}` })).status, 200);
  // Served over HTTPS, its page is of that origin.
  const { app } = setUp();
  const headers = { host: HOST, origin: `https://${HOST}` };
  const overTls = await app.request(`https://${HOST}/v1/infer/text`, { method: 'POST', body: 'x', headers });
  assert.equal(overTls.status, 200);
});

test('off loopback everything but the health checks needs the key, whatever the host is called', async () => {
  const { get, post } = setUp({ key: KEY });
  const host = 'gate-01.local:8090';
  for (const path of ['/', '/metrics', '/v1/pipelines', '/v1/results', '/v1/results/x', '/nowhere']) {
    assert.deepEqual(await refusal(get(path, { host })), [401, 'UNAUTHORIZED', null], path);
    for (const authorization of [`Bearer ${KEY}x`, 'Bearer ', KEY, `Basic ${KEY}`])
      assert.equal((await get(path, { host, authorization })).status, 401, `${path} ${authorization}`);
  }
  for (const path of ['/healthz', '/readyz']) assert.equal((await get(path, { host })).status, 200);
  const authorization = `Bearer ${KEY}`;
  assert.equal((await get('/v1/pipelines', { host, authorization })).status, 200);
  assert.equal((await post('/v1/infer/text', 'x', { host, authorization })).status, 200);
});

test('says what the feed of a pipeline is doing, and off loopback no path of its disk', async () => {
  const failed: FeedStatus = {
    state: 'failed',
    reason: { code: 'FILE_UNREADABLE', message: 'the feed’s folder /srv/pictures/gate cannot be read' },
    sinceAtMs: 1_000,
    inputs: 3,
    dropped: 1,
  };
  const feedOf = async (options: { readonly key?: string }, headers: Record<string, string>) => {
    const { get, feeds } = setUp(options);
    feeds.set('text', failed);
    const { pipelines } = (await (await get('/v1/pipelines', headers)).json()) as {
      pipelines: { name: string; feed: FeedStatus | null }[];
    };
    return pipelines.map(({ name, feed }) => [name, feed]);
  };
  assert.deepEqual(await feedOf({}, {}), [
    ['text', failed],
    ['vision', null],
  ]);
  const [[, told] = []] = await feedOf({ key: KEY }, { authorization: `Bearer ${KEY}` });
  assert.deepEqual(told, {
    ...failed,
    reason: { code: 'FILE_UNREADABLE', message: 'the feed’s folder gate cannot be read' },
  });
});

test('says what each sink is doing, and off loopback no path of its disk', async () => {
  const refusing: SinkStatus = {
    ...{ name: 'file:/srv/results/gate.ndjson', type: 'file', state: 'refusing', sinceAtMs: 1_000 },
    reason: { code: 'DISK_FULL', message: 'no space for /srv/results/gate.ndjson' },
    ...{ delivered: 3, dropped: 1, waiting: 2 },
  };
  const sinksOf = async (options: { readonly key?: string }, headers: Record<string, string>) => {
    const { get, sinks } = setUp(options);
    sinks.set('text', [refusing]);
    const { pipelines } = (await (await get('/v1/pipelines', headers)).json()) as {
      pipelines: { sinks: SinkStatus[] }[];
    };
    return pipelines.map((one) => one.sinks);
  };
  assert.deepEqual(await sinksOf({}, {}), [[refusing], []]);
  const [[told] = []] = await sinksOf({ key: KEY }, { authorization: `Bearer ${KEY}` });
  assert.deepEqual(told, {
    ...refusing,
    name: 'file:gate.ndjson',
    reason: { code: 'DISK_FULL', message: 'no space for gate.ndjson' },
  });
});

/** Reads events of a stream as they come. */
function events(response: Response) {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  const next = async (): Promise<{ event: string; id: string; data: unknown } | undefined> => {
    while (!text.includes('\n\n')) {
      const { done, value } = await reader.read();
      if (done) return undefined;
      text += Buffer.from(value).toString();
    }
    const end = text.indexOf('\n\n');
    const fields = Object.fromEntries(
      text
        .slice(0, end)
        .split('\n')
        .map((line) => line.split(/: (.*)/s).slice(0, 2)),
    ) as { event: string; id: string; data: string };
    text = text.slice(end + 2);
    return { ...fields, data: JSON.parse(fields.data) as unknown };
  };
  return { next, cancel: () => reader.cancel() };
}

test('streams what is kept, then each result as it comes', async () => {
  const { get, results } = setUp();
  const [old, fresh, failed] = [answer(), answer(), failure('EXPIRED')];
  results.add(old);
  const response = await get('/v1/results');
  assert.match(response.headers.get('content-type') ?? '', /text\/event-stream/);
  const { next, cancel } = events(response);
  assert.deepEqual(await next(), { event: 'result', id: old.id, data: old });
  results.add(fresh);
  results.add(failed);
  assert.deepEqual(await next(), { event: 'result', id: fresh.id, data: fresh });
  assert.deepEqual(await next(), { event: 'failure', id: failed.id, data: failed });
  await cancel();
});

test('streams only what comes, where that is asked for', async () => {
  const { get, results } = setUp();
  results.add(answer());
  const { next, cancel } = events(await get('/v1/results?since=now'));
  const fresh = answer();
  results.add(fresh);
  assert.equal((await next())?.id, fresh.id);
  await cancel();
});

/** Counts who listens to a store. */
function countListeners(results: ResultStore): () => number {
  let listeners = 0;
  const { subscribe } = results;
  results.subscribe = (listener) => {
    listeners++;
    const end = subscribe.call(results, listener);
    return () => {
      listeners--;
      end();
    };
  };
  return () => listeners;
}

test('a reader that goes is forgotten', async () => {
  const { get, results } = setUp();
  const listeners = countListeners(results);
  const { next, cancel } = events(await get('/v1/results'));
  results.add(answer());
  await next();
  assert.equal(listeners(), 1);
  await cancel();
  await settle();
  assert.equal(listeners(), 0);
});

test('a reader that is too slow is cut off, not queued for ever', async () => {
  const { get, results } = setUp();
  const listeners = countListeners(results);
  const { next } = events(await get('/v1/results?since=now'));
  const first = answer();
  results.add(first);
  assert.equal((await next())?.id, first.id);
  for (let i = 0; i < 6_000; i++) results.add(first);
  let read = 0;
  while ((await next()) !== undefined) read++;
  assert.ok(read < 5_000, `${read} were read`);
  assert.equal(listeners(), 0);
});

async function serve(t: TestContext, port = 0) {
  const { app, results } = setUp();
  const server = new ApiServer({ app, host: '127.0.0.1', port });
  await server.start();
  t.after(() => server.stop());
  return { server, results, url: `http://127.0.0.1:${server.port}` };
}

test('a reader that does not read at all is cut off, and its connection with it', async (t) => {
  const { server, results } = await serve(t);
  const listeners = countListeners(results);
  const socket = connect(server.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(`GET /v1/results?since=now HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\n\r\n`);
  await eventually(() => listeners() === 1, 'nobody reads');
  // More than the system keeps for a connection: from here on a write waits for the reader.
  const long = { ...answer(), output: [{ label: 'x'.repeat(100_000), score: 1 }] };
  for (let i = 0; i < 200; i++) results.add(long);
  await delay(0);
  for (let i = 0; i < 6_000; i++) results.add(long);
  await eventually(() => listeners() === 0, 'it is still waited for');
  const closed = once(socket, 'close');
  socket.resume();
  await closed;
});

test('so many read the stream at a time; one more is told to come back', async () => {
  const { get, results } = setUp();
  for (let i = 0; i < 100; i++) results.subscribe(() => undefined);
  const { status, headers } = await get('/v1/results');
  assert.deepEqual([status, headers.get('retry-after')], [429, '1']);
});

test('listens where it says, and names the flag when the port is taken', async (t) => {
  const { server, url } = await serve(t);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  await assert.rejects(
    serve(t, server.port),
    (error) => isAppError(error, 'PORT_TAKEN') && error.message.includes('--agent-port'),
  );
});

test('stops although somebody listens to the stream', async (t) => {
  const { server, results, url } = await serve(t);
  const { next } = events(await fetch(`${url}/v1/results`));
  results.add(answer());
  await next();
  await server.stop();
  await assert.rejects(fetch(`${url}/healthz`));
  await server.stop();
});

test('who asks from another machine is told no paths of this one, who asks on it is', async () => {
  const message = 'no space to write /var/lib/outrider/outbox/1.log';
  for (const [key, told] of [
    [KEY, 'no space to write 1.log'],
    [undefined, message],
  ] as const) {
    const { get, post, results, text } = setUp({ notReady: message, ...(key !== undefined && { key }) });
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const failed: Result = { ...failure('DISK_FULL'), error: { code: 'DISK_FULL', message } };
    const asked = async (): Promise<{ error: { message: string } }> =>
      (await post('/v1/infer/text', 'a', headers)).json() as never;
    text.next = failed;
    assert.equal((await asked()).error.message, told);
    text.next = new AppError('DISK_FULL', message);
    assert.equal((await asked()).error.message, told);
    results.add(failed);
    const kept = (await (await get(`/v1/results/${failed.id}`, headers)).json()) as typeof failed;
    assert.equal('error' in kept && kept.error.message, told);
    assert.match(await (await get('/readyz')).text(), new RegExp(`"reason":"${told}"`));
    const reader = (await get('/v1/results', headers)).body?.getReader();
    const event = Buffer.from((await reader?.read())?.value ?? []).toString();
    await reader?.cancel();
    assert.ok(event.includes(`"message":"${told}"`), event);
  }
});

test('updates that wait for an unmetered link are let through, by who may', async () => {
  const { post, allowed } = setUp({ key: 'the key' });
  assert.equal((await post('/v1/updates/over-metered', '')).status, 401);
  const { status } = await post('/v1/updates/over-metered', '', { authorization: 'Bearer the key' });
  assert.deepEqual([status, allowed], [202, ['metered']]);
});
