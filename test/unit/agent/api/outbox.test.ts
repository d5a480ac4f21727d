/** `/v1/outbox` over the real outbox and a real pipeline, and what becomes of requests that end without an answer. */
import assert from 'node:assert/strict';
import { readdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createOutboxApi } from '../../../../agent/api/outbox.ts';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DiskOutbox } from '../../../../agent/outbox/outbox.ts';
import { Pipeline } from '../../../../agent/pipeline/pipeline.ts';
import type { CloudReply, Router, Uplink } from '../../../../agent/ports.ts';
import { noLocalModel } from '../../../../agent/slot/slot.ts';
import { outboxItem, outboxList, outboxRetried } from '../../../../shared/contract/outbox.ts';
import { isFailure, type Result } from '../../../../shared/contract/result.ts';
import { withoutPathsIn } from '../../../../shared/runtime/disk-paths.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { cloudAnswer, freeMeter, outboxRequest, temporaryFolder } from '../../../support/fixed.ts';

const UNKNOWN_MODEL: CloudReply = { ok: false, error: { code: 'MODEL_UNKNOWN', message: 'no such model' } };

async function setUp(
  t: TestContext,
  options: { folder?: string; maxDead?: number; told?: typeof withoutPathsIn } = {},
) {
  const clock = new FakeClock();
  const folder = options.folder ?? (await temporaryFolder(t));
  const metrics = createAgentMetrics();
  const outbox = new DiskOutbox({
    folder,
    time: { nowRunMs: () => clock.nowMonoMs() },
    clock,
    logger: silentLogger,
    metrics,
    limits: {
      maxEntries: 100,
      maxBytes: 1e6,
      segmentBytes: 1e5,
      deadLetters: { maxEntries: options.maxDead ?? 10, maxBytes: 1e6 },
    },
  });
  await outbox.start();
  const asked: string[] = [];
  const hurried: string[] = [];
  const uplink: Uplink = {
    online: true,
    maxRequestBytes: 1e6,
    enqueue: (id) => asked.push(id),
    hurry: (id) => hurried.push(id),
    onReply: () => undefined,
    onChange: () => undefined,
  };
  const router = {
    choose: () => ({ to: 'cloud', reason: 'no-edge-model', meanwhile: 'never' }),
    agreementAt: () => null,
    settle: () => undefined,
    asked: () => undefined,
    cloudModelSeen: () => undefined,
    edgeModelSeen: () => undefined,
  } as unknown as Router;
  const shown: Result[] = [];
  const pipeline = new Pipeline({
    ...{ name: 'vision', task: 'image-classification', cloud: 'cloud-model' },
    ...{ deadlineMs: 2_000, expiresMs: 60_000, local: noLocalModel, router, outbox, uplink },
    ...{ meter: freeMeter, shrinking: () => undefined, show: (result) => shown.push(result) },
    ...{ deliver: () => Promise.resolve(), clock, logger: silentLogger, metrics },
  });
  pipeline.start();
  const app = createOutboxApi({
    outbox,
    pipelines: new Map([['vision', pipeline]]),
    hurry: (id) => uplink.hurry(id),
    told: options.told ?? ((item) => item),
  });
  app.onError((error, c) => c.json({ code: isAppError(error) ? error.code : String(error) }, 400));
  const call = async (path: string, method = 'GET') => {
    const response = await app.request(path, { method });
    return { status: response.status, text: await response.text() };
  };
  const list = async (query = '') => outboxList.parse(JSON.parse((await call(`/${query}`)).text));
  /** Accepted, and on disk. */
  const accept = async (label: string): Promise<string> => {
    const body = Buffer.from(`picture of ${label}`);
    return (await pipeline.accept({ input: { contentType: 'image/png', body }, label })).id;
  };
  /** The hub refuses it for good. */
  const kill = async (id: string, reply = UNKNOWN_MODEL): Promise<void> => {
    pipeline.onReply(id, reply, 1);
    await untilGone(id);
  };
  const untilGone = async (id: string): Promise<void> => {
    await settle();
    assert.ok(!outbox.has(id), 'it never ended');
  };
  t.after(async () => {
    await pipeline.stop();
    await outbox.stop();
  });
  return {
    ...{ clock, folder, outbox, pipeline, metrics, asked, hurried, shown },
    ...{ call, list, accept, kill, untilGone },
  };
}

const codes = (results: readonly Result[]) =>
  results.map((one) => (isFailure(one) ? one.error.code : 'answer'));

test('lists what waits and what was given up, oldest first, in pages', async (t) => {
  const { list, accept, kill } = await setUp(t);
  const ids = [await accept('a'), await accept('b'), await accept('c')];
  await kill(ids[1] ?? '');
  const all = await list();
  assert.deepEqual([all.entries, all.deadLetters, all.next], [2, 1, null]);
  assert.deepEqual(
    all.items.map(({ id, state, label, bytes, error }) => [id, state, label, bytes, error?.code]),
    [
      [ids[0], 'waiting', 'a', 12, undefined],
      [ids[1], 'dead', 'b', 12, 'MODEL_UNKNOWN'],
      [ids[2], 'waiting', 'c', 12, undefined],
    ],
  );
  const first = await list('?limit=2');
  assert.deepEqual([first.items.length, first.next], [2, ids[1]]);
  const second = await list(`?limit=2&after=${first.next}`);
  assert.deepEqual([second.items.map(({ id }) => id), second.next], [[ids[2]], null]);
  assert.deepEqual(
    (await list('?state=dead')).items.map(({ id }) => id),
    [ids[1]],
  );
});

test('shows one, and gives its input back as it was, also of a dead letter', async (t) => {
  const { call, accept, kill } = await setUp(t);
  const [waiting, dead] = [await accept('a'), await accept('b')];
  await kill(dead);
  for (const [id, state, text] of [
    [waiting, 'waiting', 'picture of a'],
    [dead, 'dead', 'picture of b'],
  ] as const) {
    const item = outboxItem.parse(JSON.parse((await call(`/${id}`)).text));
    assert.deepEqual([item.id, item.state, item.reason], [id, state, 'no-edge-model']);
    assert.equal((await call(`/${id}/input`)).text, text);
  }
});

test('retry sends a waiting request now, and asks again about a dead letter under a new id', async (t) => {
  const { call, accept, kill, hurried, asked, outbox, list, pipeline, shown, untilGone } = await setUp(t);
  const [waiting, dead] = [await accept('a'), await accept('b')];
  await kill(dead);
  const now = outboxRetried.parse(JSON.parse((await call(`/${waiting}/retry`, 'POST')).text));
  assert.deepEqual([now.retriedAs, hurried], [waiting, [waiting]]);
  const again = outboxRetried.parse(JSON.parse((await call(`/${dead}/retry`, 'POST')).text));
  assert.notEqual(again.retriedAs, dead, 'the old id has had its final Result');
  assert.equal(asked.at(-1), again.retriedAs);
  assert.equal((await outbox.read(again.retriedAs))?.request.input.body.toString(), 'picture of b');
  assert.deepEqual(
    (await list('?state=dead')).items.map(({ id }) => id),
    [],
  );
  pipeline.onReply(again.retriedAs, cloudAnswer('dog'), 1);
  await untilGone(again.retriedAs);
  assert.deepEqual(codes(shown), ['MODEL_UNKNOWN', 'answer']);
});

test('drop ends a waiting request with DROPPED, and throws a dead letter away', async (t) => {
  const { call, accept, kill, list, shown, metrics } = await setUp(t);
  const [waiting, dead] = [await accept('a'), await accept('b')];
  await kill(dead);
  assert.equal((await call(`/${waiting}`, 'DELETE')).status, 204);
  assert.equal((await call(`/${dead}`, 'DELETE')).status, 204);
  const { items, entries, deadLetters } = await list();
  assert.deepEqual([items, entries, deadLetters], [[], 0, 0]);
  assert.deepEqual(codes(shown), ['MODEL_UNKNOWN', 'DROPPED']);
  assert.match(
    await metrics.text(),
    /outrider_escalations_ended_total\{pipeline="vision",outcome="dropped"\} 1/,
  );
});

test('what is not there, and what is no question, has one clear error', async (t) => {
  const { call } = await setUp(t);
  const id = outboxRequest().id;
  for (const [path, method] of [
    [`/${id}`, 'GET'],
    [`/${id}/input`, 'GET'],
    [`/${id}/retry`, 'POST'],
    [`/${id}`, 'DELETE'],
    ['/..%2Fdead', 'GET'],
  ] as const)
    assert.deepEqual(JSON.parse((await call(path, method)).text), { code: 'NOT_FOUND' }, path);
  for (const query of ['?limit=0', '?limit=x', '?state=alive'])
    assert.deepEqual(JSON.parse((await call(`/${query}`)).text), { code: 'BAD_REQUEST' });
});

test('what expired is a dead letter, with its input, also after a restart', async (t) => {
  const { folder, accept, pipeline, untilGone, shown, outbox } = await setUp(t);
  const id = await accept('a');
  pipeline.expire(id);
  await untilGone(id);
  assert.deepEqual(codes(shown), ['EXPIRED']);
  await outbox.stop();
  const after = await setUp(t, { folder });
  const letter = await after.outbox.readDeadLetter(id);
  assert.deepEqual([letter?.error.code, letter?.request.input.body.toString()], ['EXPIRED', 'picture of a']);
});

test('dead letters have a cap of their own: the oldest go, and are counted', async (t) => {
  const { accept, kill, list, metrics, folder } = await setUp(t, { maxDead: 3 });
  const ids: string[] = [];
  for (const label of ['a', 'b', 'c', 'd', 'e']) {
    const id = await accept(label);
    await kill(id);
    ids.push(id);
  }
  assert.deepEqual(
    (await list()).items.map(({ id }) => id),
    ids.slice(2),
  );
  assert.equal((await readdir(join(folder, 'dead'))).length, 3);
  assert.match(await metrics.text(), /outrider_dead_letters_dropped_total\{reason="cap"\} 2/);
});

test('a dead letter that is damaged is told, hides no other and can be dropped', async (t) => {
  const { accept, kill, list, call, folder } = await setUp(t);
  const [bad, good] = [await accept('a'), await accept('b')];
  await kill(bad);
  await kill(good);
  await truncate(join(folder, 'dead', `${bad}.dead`), 40);
  assert.deepEqual(
    (await list()).items.map(({ id }) => id),
    [good],
  );
  assert.deepEqual(JSON.parse((await call(`/${bad}`)).text), { code: 'DATA_CORRUPT' });
  assert.equal((await call(`/${bad}`, 'DELETE')).status, 204);
});

test('a given-up request is given up once: a reply that comes with it changes nothing', async (t) => {
  const { accept, pipeline, untilGone, shown } = await setUp(t);
  const id = await accept('a');
  pipeline.expire(id);
  pipeline.onReply(id, cloudAnswer('dog'), 1);
  await untilGone(id);
  await settle();
  assert.deepEqual(codes(shown), ['EXPIRED']);
});

test('who asks from elsewhere is told no path of a disk in why a request was given up, in the list and of one', async (t) => {
  const message = '/srv/models/words/model.onnx cannot be read';
  const reply: CloudReply = { ok: false, error: { code: 'MODEL_UNKNOWN', message } };
  for (const [told, expected] of [
    [undefined, message],
    [withoutPathsIn, 'model.onnx cannot be read'],
  ] as const) {
    const { accept, kill, list, call } = await setUp(t, told && { told });
    const id = await accept('a');
    await kill(id, reply);
    const { items } = await list('?state=dead');
    assert.deepEqual(
      items.map(({ error }) => error?.message),
      [expected],
    );
    const one = outboxItem.parse(JSON.parse((await call(`/${id}`)).text));
    assert.equal(one.error?.message, expected);
  }
});
