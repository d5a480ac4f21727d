import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { createAgentMetrics } from '../../../../../agent/metrics.ts';
import type { PictureOf } from '../../../../../agent/ports.ts';
import { SinkStates } from '../../../../../agent/sink/sink-states.ts';
import { WebhookQueue } from '../../../../../agent/sink/webhook/queue.ts';
import { WebhookSink } from '../../../../../agent/sink/webhook/webhook-sink.ts';
import { type Clock, systemClock } from '../../../../../shared/runtime/clock.ts';
import { temporaryFolder } from '../../../../support/fixed.ts';
import { hookServer } from '../../../../support/hook-server.ts';
import { eventually } from '../../../../support/programs.ts';
import { recordingLogger } from '../../../../support/recording-logger.ts';
import { answerOf, failureOf } from '../../../../support/results.ts';

const SECRET = `whsec_${Buffer.from('0123456789abcdef0123456789abcdef').toString('base64')}`;

/** Waits are over at once, and are written down; pauses for want of messages are no waits. */
function hurriedClock(): Clock & { readonly waits: number[] } {
  const waits: number[] = [];
  return {
    ...systemClock,
    waits,
    sleep: async (delayMs, signal) => {
      signal?.throwIfAborted();
      waits.push(delayMs);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

async function setUp(
  t: TestContext,
  url: string,
  options: {
    readonly path?: string;
    readonly bytes?: number;
    readonly pictureOf?: PictureOf;
    readonly clock?: ReturnType<typeof hurriedClock>;
    readonly allowPrivate?: boolean;
  } = {},
) {
  const path = options.path ?? join(await temporaryFolder(t), 'queue.ndjson');
  const clock = options.clock ?? hurriedClock();
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const states = new SinkStates({ clock, logger, metrics });
  const queue = new WebhookQueue(path, { bytes: options.bytes ?? 1e6, ageMs: 86_400_000 });
  await queue.open();
  const sink = new WebhookSink('webhook:hook.test', {
    place: { url, allowPrivate: options.allowPrivate ?? true },
    ...{ secret: SECRET, device: 'gate-01', pictureOf: options.pictureOf, queue, clock, random: () => 0 },
    tell: states.add({ pipeline: 'gate', name: 'webhook:hook.test', type: 'webhook' }, () => queue.length),
  });
  sink.start();
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (!isStopped) await sink.stop();
    isStopped = true;
  };
  t.after(stop);
  const state = () => states.of('gate')[0]!;
  return { sink, state, clock, logger, metrics, path, stop };
}

test('each Result is posted as Standard Webhooks has it, and its official library believes it', async (t) => {
  const server = await hookServer(t);
  const { sink, state } = await setUp(t, server.url);
  const provisional = answerOf('cat', 0.9, { provisional: true });
  const results = [provisional, { ...provisional, provisional: false }, failureOf()];
  for (const result of results) await sink.put(result);
  await eventually(() => state().delivered === 3, 'not all were delivered');
  const kinds = ['provisional', 'final', 'failed'];
  assert.deepEqual(
    server.ids(),
    results.map(({ id }, index) => `${id}.${kinds[index]}`),
  );
  for (const [index, { headers, body }] of server.received.entries()) {
    const event = new Webhook(SECRET).verify(body, headers as Record<string, string>) as Record<
      string,
      unknown
    >;
    assert.deepEqual(event, {
      type: `result.${kinds[index]}`,
      timestamp: new Date(1_000_000).toISOString(),
      data: { device: 'gate-01', ...results[index] },
    });
    assert.match(String(headers['user-agent']), /^outrider\//);
  }
  assert.throws(() =>
    new Webhook(SECRET).verify(
      `${server.received[0]?.body} `,
      server.received[0]?.headers as Record<string, string>,
    ),
  );
});

test('what answers 500 gets it again with growing patience, each time by the same id, and says so meanwhile', async (t) => {
  const server = await hookServer(
    t,
    (response, index) => void response.writeHead(index < 4 ? 500 : 200).end('ok'),
  );
  const { sink, state, clock, metrics, logger } = await setUp(t, server.url);
  const result = answerOf('cat');
  await sink.put(result);
  await eventually(() => state().delivered === 1, 'it was never delivered');
  assert.deepEqual(new Set(server.ids()), new Set([`${result.id}.final`]));
  assert.deepEqual(clock.waits, [500, 1_000, 2_000, 4_000]);
  assert.deepEqual(logger.failures(), ['sink.refusing WEBHOOK_REFUSED']);
  assert.equal(state().state, 'ready');
  const text = await metrics.text();
  assert.match(
    text,
    /outrider_sink_results_total\{pipeline="gate",sink="webhook:hook\.test",type="webhook",outcome="refused"\} 4/,
  );
  // What the address holds beside its host may be a secret.
  assert.doesNotMatch(JSON.stringify([state(), logger, text]), /hush|hooks\/gate/);
});

test('Retry-After is heeded, in seconds and as a date, up to an hour', async (t) => {
  const later = new Date(Date.now() + 90_000).toUTCString();
  const says = ['7', later, '999999', 'soon'];
  const server = await hookServer(t, (response, index) =>
    says[index] === undefined
      ? void response.writeHead(200).end()
      : void response.writeHead(503, { 'retry-after': says[index] }).end(),
  );
  const { sink, state, clock } = await setUp(t, server.url);
  await sink.put(answerOf('cat'));
  await eventually(() => state().delivered === 1, 'it was never delivered');
  const [seconds, date = 0, long, unknown] = clock.waits;
  assert.equal(seconds, 7_000);
  assert.ok(date > 80_000 && date <= 90_000, String(date));
  assert.deepEqual([long, unknown], [3_600_000, 4_000]);
});

test('a message that is not liked is given up after three tries, and holds up no other', async (t) => {
  const server = await hookServer(
    t,
    (response, index) => void response.writeHead(index < 3 ? 422 : 200).end(),
  );
  const { sink, state } = await setUp(t, server.url);
  const [bad, good] = [answerOf('cat'), answerOf('dog')];
  await sink.put(bad);
  await sink.put(good);
  await eventually(() => state().delivered === 1, 'the second was never delivered');
  assert.equal(state().dropped, 1);
  assert.equal(server.ids().at(-1), `${good.id}.final`);
});

test('410 disables it: nothing more is sent, and it is said', async (t) => {
  const server = await hookServer(t, (response) => void response.writeHead(410).end());
  const { sink, state } = await setUp(t, server.url);
  await sink.put(answerOf('cat'));
  await eventually(() => state().state === 'disabled', 'it was not disabled');
  await sink.put(answerOf('dog'));
  assert.deepEqual(state().reason?.code, 'WEBHOOK_GONE');
  assert.deepEqual([state().dropped, state().waiting, server.received.length], [2, 0, 1]);
});

test('a redirect is not followed, wherever it leads', async (t) => {
  const metadata = await hookServer(t);
  const server = await hookServer(t, (response, index) =>
    index < 2
      ? void response.writeHead(index === 0 ? 302 : 307, { location: metadata.url }).end()
      : void response.writeHead(200).end(),
  );
  const { sink, state } = await setUp(t, server.url);
  await sink.put(answerOf('cat'));
  await eventually(() => state().delivered === 1, 'it was never delivered');
  assert.equal(metadata.received.length, 0);
  assert.equal(server.received.length, 3);
});

test('nothing is sent to a private address unless that is allowed', async (t) => {
  const server = await hookServer(t);
  const { sink, state, logger } = await setUp(t, server.url, { allowPrivate: false });
  await sink.put(answerOf('cat'));
  await eventually(() => state().state === 'refusing', 'it was not refused');
  assert.equal(state().reason?.code, 'ADDRESS_REFUSED');
  assert.equal(server.received.length, 0);
  assert.deepEqual(logger.failures(), ['sink.refusing ADDRESS_REFUSED']);
});

test('what a webhook never takes is bounded on the disk, counted, and there after a restart', async (t) => {
  const server = await hookServer(
    t,
    (response, index) => void response.writeHead(index < 10 ? 500 : 200).end(),
  );
  const clock = { ...hurriedClock(), sleep: systemClock.sleep };
  const first = await setUp(t, server.url, { bytes: 3_000, clock });
  const results = Array.from({ length: 20 }, () => answerOf('cat'));
  for (const result of results) await first.sink.put(result);
  const { waiting, dropped } = first.state();
  assert.ok(waiting < 8 && waiting > 2, String(waiting));
  assert.equal(waiting + dropped, results.length);
  assert.match(await first.metrics.text(), /outcome="over-bytes"\} \d+/);
  await first.stop();
  const second = await setUp(t, server.url, { bytes: 3_000, path: first.path });
  await eventually(() => second.state().delivered === waiting, 'what waited was not delivered');
  assert.deepEqual(
    server.ids().slice(-waiting),
    results.slice(-waiting).map(({ id }) => `${id}.final`),
  );
});

test('an answer that never comes or never ends holds up neither puts nor the stop', async (t) => {
  const endless = (response: ServerResponse): void => {
    response.writeHead(200);
    const more = (): void =>
      void response.write(Buffer.alloc(64 * 1024), () => !response.destroyed && setImmediate(more));
    more();
  };
  const server = await hookServer(t, (response, index) => (index === 0 ? endless(response) : undefined));
  const { sink, state, stop } = await setUp(t, server.url);
  await sink.put(answerOf('cat'));
  await eventually(() => state().delivered === 1, 'an endless answer is a good one by its status');
  for (let i = 0; i < 50; i++) await sink.put(answerOf('dog'));
  await eventually(() => server.received.length === 2, 'the second was not sent');
  assert.equal(state().waiting, 50);
  await stop();
});

test('the picture goes along where it is there', async (t) => {
  const server = await hookServer(t);
  let picture: Uint8Array | undefined = Uint8Array.of(0xff, 0xd8, 1, 2);
  const { sink, state } = await setUp(t, server.url, { pictureOf: async () => picture });
  await sink.put(answerOf('cat'));
  picture = undefined;
  await sink.put(answerOf('cat'));
  await eventually(() => state().delivered === 2, 'not all were delivered');
  const told = server.received.map(
    ({ body }) => (JSON.parse(body) as { data: { picture?: unknown } }).data.picture,
  );
  assert.deepEqual(told, [{ contentType: 'image/jpeg', base64: '/9gBAg==' }, undefined]);
});
