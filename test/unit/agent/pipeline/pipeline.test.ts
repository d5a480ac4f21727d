import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DiskOutbox } from '../../../../agent/outbox/outbox.ts';
import { Expiries } from '../../../../agent/pipeline/expiries.ts';
import { Pipeline } from '../../../../agent/pipeline/pipeline.ts';
import type {
  CloudReply,
  FeedItem,
  LocalModel,
  Route,
  RouteQuestion,
  Router,
  Uplink,
} from '../../../../agent/ports.ts';
import { noLocalModel } from '../../../../agent/slot/slot.ts';
import { isFailure, type Result } from '../../../../shared/contract/result.ts';
import type { Shrinking } from '../../../../shared/inference/runner/runner.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import {
  CLOUD_MODEL,
  cloudAnswer,
  EDGE_MODEL,
  localAnswer,
  temporaryFolder,
} from '../../../support/fixed.ts';
import { routerWith, startedRouter } from '../../../support/routing.ts';

const ITEM: FeedItem = {
  input: { contentType: 'image/jpeg', body: Buffer.from('picture') },
  label: 'cat.jpg',
};

/** An uplink that takes note, and answers when the test says so. */
class TestUplink implements Uplink {
  online = true;
  maxRequestBytes = 120_000;
  readonly asked: string[] = [];
  hurry(): void {}
  enqueue(id: string): void {
    this.asked.push(id);
  }
  onReply(): void {}
  onChange(): void {}
}

interface Setup {
  readonly route?: Route;
  readonly local?: LocalModel;
  readonly cloud?: string;
  readonly folder?: string;
  readonly maxEntries?: number;
  readonly router?: Router;
  readonly mayAccept?: () => boolean;
  readonly shrinking?: Shrinking;
  readonly askedBelow?: number | null;
  /** How far the running time is ahead, as after another run of the agent. */
  readonly runMsOffset?: number;
  /** After the sinks have the Result. */
  readonly afterDelivery?: () => Promise<void>;
}

const localModel = (infer: LocalModel['infer'] = async () => localAnswer()): LocalModel => ({
  model: EDGE_MODEL,
  infer,
  shrink: (input) => Promise.resolve(input),
});
const TO_CLOUD: Route = { to: 'cloud', reason: 'uncertain', meanwhile: 'at-deadline' };

async function setUp(t: TestContext, setup: Setup = {}) {
  const clock = new FakeClock();
  const folder = setup.folder ?? (await temporaryFolder(t));
  const limits = { maxEntries: setup.maxEntries ?? 100, maxBytes: 1e6, segmentBytes: 1e5 };
  const outbox = new DiskOutbox({
    clock: systemClock,
    metrics: createAgentMetrics(),
    folder,
    time: { nowRunMs: () => clock.nowMonoMs() + (setup.runMsOffset ?? 0) },
    logger: silentLogger,
    limits,
  });
  await outbox.start();
  const uplink = new TestUplink();
  const settled: [string, number | string][] = [];
  const questions: RouteQuestion[] = [];
  const router: Router = {
    choose: (_id, question) => {
      questions.push(question);
      return setup.route ?? TO_CLOUD;
    },
    agreementAt: () => 0.7,
    askedBelow: (forced) => (forced === undefined ? setup.askedBelow : forced === 'cloud' ? null : undefined),
    asked: () => undefined,
    settle: (id, _digest, outcome) =>
      settled.push([id, outcome.kind === 'answered' ? outcome.loss : outcome.kind]),
    cloudModelSeen: () => undefined,
    edgeModelSeen: () => undefined,
    status: () => routerWith().status(),
  };
  const shown: Result[] = [];
  const delivered: Result[] = [];
  const metrics = createAgentMetrics();
  const pipeline = new Pipeline({
    name: 'vision',
    task: 'image-classification',
    cloud: setup.cloud ?? 'cloud-model',
    deadlineMs: 2_000,
    expiresMs: 600_000,
    local: setup.local ?? localModel(),
    router: setup.router ?? router,
    outbox,
    uplink,
    meter: { mayAccept: setup.mayAccept ?? (() => true) },
    shrinking: () => setup.shrinking,
    show: (result) => shown.push(result),
    deliver: async (result) => {
      delivered.push(result);
      await setup.afterDelivery?.();
    },
    clock,
    logger: silentLogger,
    metrics,
  });
  pipeline.start();
  const expiries = new Expiries({
    pipelines: new Map([['vision', pipeline]]),
    outbox,
    clock,
    logger: silentLogger,
    metrics: createAgentMetrics(),
  });
  expiries.start();
  const stop = async (): Promise<void> => {
    await expiries.stop();
    await pipeline.stop();
    await outbox.stop();
  };
  return { clock, folder, outbox, uplink, settled, questions, shown, delivered, pipeline, metrics, stop };
}

const brief = (result: Result) =>
  isFailure(result)
    ? result.error.code
    : [
        result.source,
        result.reason,
        result.provisional ? 'provisional' : 'final',
        (result.output as { label: string }[])[0]?.label,
      ];

/** Once the real disk is done, something is true. */
async function until(what: () => boolean): Promise<void> {
  await settle();
  assert.ok(what(), 'it never came true');
}

test('a confident answer stays at the edge and owes nothing', async (t) => {
  const { pipeline, outbox, delivered, stop } = await setUp(t, {
    route: { to: 'edge', reason: 'confident', audit: false },
  });
  const result = await pipeline.process(ITEM);
  assert.deepEqual(brief(result), ['edge', 'confident', 'final', 'cat']);
  await stop();
  assert.deepEqual(delivered.map(brief), [['edge', 'confident', 'final', 'cat']]);
  assert.equal(outbox.depth.entries, 0);
});

test('a reply before the deadline is the only result', async (t) => {
  const { pipeline, outbox, uplink, delivered, settled, stop } = await setUp(t);
  const { id, first } = await pipeline.accept(ITEM);
  assert.deepEqual(uplink.asked, [id]);
  assert.equal(outbox.depth.entries, 1, 'it is on disk before it is asked');
  pipeline.onReply(id, cloudAnswer('dog'), 50);
  assert.deepEqual(brief(await first), ['cloud', 'uncertain', 'final', 'dog']);
  await until(() => outbox.depth.entries === 0);
  assert.deepEqual(delivered.map(brief), [['cloud', 'uncertain', 'final', 'dog']]);
  assert.deepEqual(settled, [[id, 1]]);
  await stop();
});

test('at the deadline the local answer comes, provisional, and the cloud’s corrects it later', async (t) => {
  const { pipeline, clock, outbox, shown, stop } = await setUp(t);
  const { id, first } = await pipeline.accept(ITEM);
  await clock.advance(2_000);
  assert.deepEqual(brief(await first), ['edge', 'late', 'provisional', 'cat']);
  pipeline.onReply(id, cloudAnswer('cat'), 50);
  await until(() => outbox.depth.entries === 0);
  assert.deepEqual(shown.map(brief), [
    ['edge', 'late', 'provisional', 'cat'],
    ['cloud', 'uncertain', 'final', 'cat'],
  ]);
  assert.ok(shown.every((result) => result.id === id));
  await stop();
});

test('when the link is lost nobody waits for the deadline', async (t) => {
  const { pipeline, stop } = await setUp(t);
  const { first } = await pipeline.accept(ITEM);
  pipeline.onOffline();
  assert.deepEqual(brief(await first), ['edge', 'offline', 'provisional', 'cat']);
  await stop();
});

test('a second reply changes nothing', async (t) => {
  const { pipeline, outbox, shown, stop } = await setUp(t);
  const { id } = await pipeline.accept(ITEM);
  pipeline.onReply(id, cloudAnswer('dog'), 50);
  pipeline.onReply(id, cloudAnswer('frog'), 60);
  await until(() => outbox.depth.entries === 0);
  pipeline.onReply(id, cloudAnswer('horse'), 70);
  await settle();
  assert.deepEqual(shown.map(brief), [['cloud', 'uncertain', 'final', 'dog']]);
  await stop();
});

test('what the cloud owes survives a restart, and is asked again', async (t) => {
  const before = await setUp(t);
  const { id } = await before.pipeline.accept(ITEM);
  await before.stop();

  const after = await setUp(t, { folder: before.folder });
  assert.deepEqual(after.uplink.asked, [id]);
  await until(() => after.shown.length > 0);
  assert.deepEqual(after.shown.map(brief), [['edge', 'late', 'provisional', 'cat']]);
  after.pipeline.onReply(id, cloudAnswer('dog'), 50);
  await until(() => after.outbox.depth.entries === 0);
  assert.deepEqual(brief(after.delivered.at(-1)!), ['cloud', 'uncertain', 'final', 'dog']);
  await after.stop();
});

test('a reply on disk that no sink had taken is delivered after a restart, not asked for again', async (t) => {
  const before = await setUp(t);
  const { id } = await before.pipeline.accept(ITEM);
  await before.pipeline.stop();
  await before.outbox.answer(id, cloudAnswer('dog'));
  await before.outbox.stop();

  const after = await setUp(t, { folder: before.folder });
  await until(() => after.outbox.depth.entries === 0);
  assert.deepEqual(after.delivered.map(brief), [['cloud', 'uncertain', 'final', 'dog']]);
  assert.deepEqual(after.shown, after.delivered, 'who asks by its id finds it, too');
  assert.deepEqual(after.uplink.asked, []);
  await after.stop();
});

test('past its expiry a request ends as EXPIRED, and teaches nothing', async (t) => {
  const { pipeline, clock, outbox, shown, settled, stop } = await setUp(t);
  const { id } = await pipeline.accept(ITEM);
  await clock.advance(601_000);
  await until(() => outbox.depth.entries === 0);
  assert.deepEqual(shown.map(brief), [['edge', 'late', 'provisional', 'cat'], 'EXPIRED']);
  assert.deepEqual(settled, [[id, 'expired']]);
  await stop();
});

test('one that a sink has had as EXPIRED stays expired, also when a crash sets the running time back', async (t) => {
  const before = await setUp(t, { afterDelivery: () => Promise.reject(new AppError('STOPPING')) });
  const { id } = await before.pipeline.accept(ITEM);
  await before.clock.advance(601_000);
  await until(() => before.delivered.map(brief).includes('EXPIRED'));
  // The entry was not closed: as far as the disk knows, the agent ended here.
  await before.stop();

  const after = await setUp(t, { folder: before.folder });
  await until(() => after.outbox.depth.entries === 0);
  after.pipeline.onReply(id, cloudAnswer('dog'), 50);
  assert.deepEqual(after.delivered.map(brief), ['EXPIRED']);
  assert.deepEqual(after.uplink.asked, []);
  await after.stop();
});

test('a hub that finds a request expired ends it as the agent would', async (t) => {
  const { pipeline, outbox, delivered, stop } = await setUp(t);
  const { id } = await pipeline.accept(ITEM);
  pipeline.onReply(id, { ok: false, error: { code: 'EXPIRED', message: 'too late' } }, 5);
  await until(() => outbox.depth.entries === 0);
  assert.deepEqual(delivered.map(brief), ['EXPIRED']);
  await stop();
});

test('a hub that cannot answer leaves the local answer, and says why', async (t) => {
  const { pipeline, stop } = await setUp(t);
  const failed: CloudReply = { ok: false, error: { code: 'MODEL_UNKNOWN', message: 'no such model' } };
  const { id, first } = await pipeline.accept(ITEM);
  pipeline.onReply(id, failed, 5);
  assert.deepEqual(brief(await first), ['edge', 'cloud-failed', 'final', 'cat']);
  await stop();
});

test('a bad input fails once, with its code, and asks nobody', async (t) => {
  const local = localModel(() => Promise.reject(new AppError('IMAGE_CORRUPT', 'not a picture')));
  const { pipeline, uplink, shown, stop } = await setUp(t, { local });
  assert.equal(brief(await pipeline.process(ITEM)), 'IMAGE_CORRUPT');
  assert.deepEqual([shown.length, uplink.asked.length], [1, 0]);
  await stop();
});

test('a full outbox refuses the new request: the local answer says so, the accepted one stays', async (t) => {
  const { pipeline, outbox, stop } = await setUp(t, { maxEntries: 1 });
  const accepted = await pipeline.accept(ITEM);
  assert.deepEqual(brief(await pipeline.process(ITEM)), ['edge', 'outbox-full', 'final', 'cat']);
  assert.ok(outbox.has(accepted.id));
  await stop();
});

test('a background audit says something only when the cloud disagrees', async (t) => {
  const { pipeline, outbox, shown, settled, stop } = await setUp(t, {
    route: { to: 'edge', reason: 'confident', audit: true },
  });
  for (const label of ['cat', 'dog']) {
    const { id } = await pipeline.accept(ITEM);
    pipeline.onReply(id, cloudAnswer(label), 5);
    await until(() => outbox.depth.entries === 0);
  }
  assert.deepEqual(shown.map(brief), [
    ['edge', 'confident', 'final', 'cat'],
    ['edge', 'confident', 'final', 'cat'],
    ['cloud', 'audit', 'final', 'dog'],
  ]);
  assert.deepEqual(
    settled.map(([, loss]) => loss),
    [0, 1],
  );
  await stop();
});

test('without a local answer nothing is shown until the cloud’s comes', async (t) => {
  const local = localModel(() => Promise.reject(new AppError('RUNNER_CRASHED')));
  const { pipeline, clock, shown, stop } = await setUp(t, {
    local,
    route: { to: 'cloud', reason: 'edge-failed', meanwhile: 'at-deadline' },
  });
  const { id, first } = await pipeline.accept(ITEM);
  await clock.advance(5_000);
  assert.deepEqual(shown, []);
  pipeline.onReply(id, cloudAnswer('dog'), 5);
  const result = await first;
  assert.deepEqual(brief(result), ['cloud', 'edge-failed', 'final', 'dog']);
  assert.deepEqual(isFailure(result) ? undefined : result.model, CLOUD_MODEL);
  await stop();
});

test('an answer that is no number is asked of the cloud, counted, and teaches nothing', async (t) => {
  const local = localModel(() => Promise.reject(new AppError('OUTPUT_NOT_FINITE')));
  const { pipeline, metrics, questions, stop } = await setUp(t, {
    local,
    route: { to: 'cloud', reason: 'edge-failed', meanwhile: 'at-deadline' },
  });
  const { id, first } = await pipeline.accept(ITEM);
  pipeline.onReply(id, cloudAnswer('dog'), 5);
  assert.deepEqual(brief(await first), ['cloud', 'edge-failed', 'final', 'dog']);
  assert.deepEqual(
    questions.map(({ routeScore, edgeDigest, noLocalAnswer }) => [routeScore, edgeDigest, noLocalAnswer]),
    [[null, null, 'edge-failed']],
  );
  assert.match(
    await metrics.text(),
    /outrider_edge_failures_total\{pipeline="vision",code="OUTPUT_NOT_FINITE"\} 1/,
  );
  await stop();
});

test('a feed that is told to stop does not wait for the cloud: the outbox has its input', async (t) => {
  const local = localModel(() => Promise.reject(new AppError('RUNNER_CRASHED')));
  const { pipeline, outbox, stop } = await setUp(t, {
    local,
    route: { to: 'cloud', reason: 'edge-failed', meanwhile: 'at-deadline' },
  });
  const stopping = new AbortController();
  const processing = pipeline.process(ITEM, stopping.signal);
  await until(() => outbox.depth.entries === 1);
  stopping.abort();
  assert.equal(await processing, undefined);
  // One that is taken in after the stop began is on disk before it is let go.
  assert.equal(await pipeline.process(ITEM, stopping.signal), undefined);
  assert.equal(outbox.depth.entries, 2);
  await stop();
});

test('a pipeline that waits for the cloud gives no local answer meanwhile, whatever the link and the agent do', async (t) => {
  const route: Route = { to: 'cloud', reason: 'uncertain', meanwhile: 'never' };
  const before = await setUp(t, { route });
  const { id } = await before.pipeline.accept(ITEM);
  before.pipeline.onOffline();
  await before.clock.advance(5_000);
  await before.stop();
  const after = await setUp(t, { route, folder: before.folder });
  after.pipeline.onOffline();
  assert.deepEqual([...before.shown, ...after.shown], []);
  after.pipeline.onReply(id, cloudAnswer('dog'), 5);
  await until(() => after.outbox.depth.entries === 0);
  assert.deepEqual(after.shown.map(brief), [['cloud', 'uncertain', 'final', 'dog']]);
  await after.stop();
});

test('over the bytes of the day it stays local, and without a local answer it says OVER_BUDGET', async (t) => {
  const router = startedRouter({ start: 'learn' });
  const over = { router, mayAccept: () => false };
  const withLocal = await setUp(t, over);
  assert.deepEqual(brief(await withLocal.pipeline.process(ITEM)), ['edge', 'over-budget', 'final', 'cat']);
  const without = await setUp(t, { ...over, local: noLocalModel });
  assert.equal(brief(await without.pipeline.process(ITEM)), 'OVER_BUDGET');
  assert.deepEqual([withLocal.uplink.asked, without.uplink.asked], [[], []]);
  await Promise.all([withLocal.stop(), without.stop()]);
});

test('a picture goes to the cloud no larger than is of use; as it came where that cannot be had', async (t) => {
  const large: FeedItem = { input: { contentType: 'image/png', body: Buffer.alloc(20_000, 1) }, label: 'a' };
  const shrinking = {
    ...({ resize: { kind: 'shortest', edgePx: 224 }, kernel: 'linear' } as const),
    ...({ format: 'webp', quality: 90 } as const),
  };
  const shrunk: unknown[] = [];
  const local: LocalModel = {
    ...localModel(),
    shrink: async (input, to) => {
      shrunk.push(to);
      if (shrunk.length > 1) throw new AppError('RUNNER_CRASHED');
      return { ...input, contentType: 'image/webp', body: Buffer.from('small') };
    },
  };
  const { pipeline, outbox, stop } = await setUp(t, { local, shrinking });
  const [first, second, small] = [
    await pipeline.accept(large),
    await pipeline.accept(large),
    await pipeline.accept(ITEM),
  ];
  const sent = async (id: string) => (await outbox.read(id))?.request.input;
  assert.equal((await sent(first.id))?.contentType, 'image/webp');
  assert.equal(Buffer.from((await sent(first.id))?.body ?? []).toString(), 'small');
  assert.equal((await sent(second.id))?.body.length, 20_000);
  assert.equal(Buffer.from((await sent(small.id))?.body ?? []).toString(), 'picture');
  assert.deepEqual(shrunk, [shrinking, shrinking], 'a small file is not worth it');
  await stop();
});

test('a picture that will hardly stay comes back with its answer as the cloud is to get it: one walk to the runner', async (t) => {
  const large: FeedItem = { input: { contentType: 'image/png', body: Buffer.alloc(20_000, 1) }, label: 'a' };
  const shrinking = {
    ...({ resize: { kind: 'shortest', edgePx: 224 }, kernel: 'linear' } as const),
    ...({ format: 'webp', quality: 90 } as const),
  };
  const asked: (number | null | undefined)[] = [];
  const local: LocalModel = {
    ...localModel(),
    infer: async (input, shrink) => {
      asked.push(shrink?.below);
      const shrunk = { ...input, contentType: 'image/webp', body: Buffer.from('small') };
      return { ...(await localModel().infer(input)), ...(shrink && { shrunk }) };
    },
    shrink: () => assert.fail('a second walk'),
  };
  const { pipeline, outbox, uplink, stop } = await setUp(t, { local, shrinking, askedBelow: 1.5 });
  const { id } = await pipeline.accept(large);
  const kept = (await outbox.read(id))?.request;
  assert.equal(Buffer.from(kept?.input.body ?? []).toString(), 'small');
  assert.deepEqual(
    Object.keys(kept?.local ?? {}).sort(),
    Object.keys(await localModel().infer(large.input)).sort(),
  );
  await pipeline.accept(large, { forced: 'cloud' });
  await pipeline.accept(ITEM);
  uplink.online = false;
  await pipeline.accept(large).catch(() => undefined);
  assert.deepEqual(
    asked,
    [1.5, null, undefined, undefined],
    'small ones and those of an edge alone go as they came',
  );
  await stop();
});

test('a provisional Result that sinks have had is not given again by any restart', async (t) => {
  const before = await setUp(t);
  const { id } = await before.pipeline.accept(ITEM);
  await before.clock.advance(2_000);
  await until(() => before.outbox.find(id)?.isShown === true);
  await before.stop();
  for (let restart = 0; restart < 3; restart++) {
    const after = await setUp(t, { folder: before.folder });
    await until(() => after.uplink.asked.includes(id));
    await settle();
    assert.deepEqual([after.shown, after.delivered], [[], []]);
    if (restart < 2) await after.stop();
    else {
      after.pipeline.onReply(id, cloudAnswer('dog'), 50);
      await until(() => after.outbox.depth.entries === 0);
      assert.deepEqual(after.delivered.map(brief), [['cloud', 'uncertain', 'final', 'dog']]);
      await after.stop();
    }
  }
});

test('a provisional Result that a sink had not taken when the agent was killed is given after the restart', async (t) => {
  const before = await setUp(t, { afterDelivery: () => new Promise(() => undefined) });
  const { id } = await before.pipeline.accept(ITEM);
  await before.clock.advance(2_000);
  await until(() => before.delivered.length > 0);
  const after = await setUp(t, { folder: before.folder });
  await until(() => after.outbox.find(id)?.isShown === true);
  assert.deepEqual(after.delivered.map(brief), [['edge', 'late', 'provisional', 'cat']]);
  await after.stop();
});

test('what was shown before the restart long ago is not shown again, and its reply still corrects it and teaches', async (t) => {
  const before = await setUp(t);
  const { id } = await before.pipeline.accept(ITEM);
  await before.clock.advance(2_000);
  await before.stop();
  const after = await setUp(t, { folder: before.folder, runMsOffset: 200_000 });
  await until(() => after.uplink.asked.includes(id));
  await settle();
  assert.deepEqual(after.shown, []);
  after.pipeline.onReply(id, cloudAnswer('dog'), 50);
  await until(() => after.outbox.depth.entries === 0);
  assert.deepEqual(after.shown.map(brief), [['cloud', 'uncertain', 'final', 'dog']]);
  assert.deepEqual(after.settled, [[id, 1]]);
  await after.stop();
});

test('a raw picture never reaches the outbox: the runner encodes it, and where none is there it goes as PNG', async (t) => {
  const pixels = Buffer.from(Array.from({ length: 48 }, (_, at) => (at * 37) % 256));
  const body = Buffer.concat([Buffer.from('P6\n4 4\n255\n'), pixels]);
  const item: FeedItem = { input: { contentType: 'image/x-portable-pixmap', body }, label: 'gate' };
  const asked: Shrinking[] = [];
  const encoding: LocalModel = {
    ...localModel(),
    shrink: async (input, to) => {
      asked.push(to);
      return { ...input, contentType: 'image/webp', body: Buffer.from('encoded') };
    },
  };
  const broken: LocalModel = {
    ...localModel(),
    shrink: () => Promise.reject(new AppError('RUNNER_CRASHED')),
  };
  const route: Route = { to: 'cloud', reason: 'uncertain', meanwhile: 'never' };
  for (const [local, type] of [
    [encoding, 'image/webp'],
    [broken, 'image/png'],
    [noLocalModel, 'image/png'],
  ] as const) {
    const { pipeline, outbox, stop } = await setUp(t, { local, route });
    const { id } = await pipeline.accept(item);
    const sent = (await outbox.read(id))?.request.input;
    assert.equal(sent?.contentType, type);
    assert.notEqual(sent?.body.subarray(0, 2).toString(), 'P6');
    await stop();
  }
  const own = { resize: { kind: 'warp', widthPx: 4, heightPx: 4 }, kernel: 'linear', always: true };
  assert.deepEqual(asked, [{ ...own, format: 'webp', quality: 'lossless' }], 'lossless, at its own size');
});
