import assert from 'node:assert/strict';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type AgentConfig, loadConfig } from '../../../../agent/config.ts';
import { FeedRunner } from '../../../../agent/feed/feed-runner.ts';
import { FeedStates } from '../../../../agent/feed/feed-states.ts';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { Feed, FeedItem } from '../../../../agent/ports.ts';
import { createFeed, feedDown } from '../../../../agent/wiring/feeds.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { MAX_IMAGE_BYTES, MAX_TEXT_BYTES } from '../../../../shared/tasks/limits.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const item = (label: string): FeedItem => ({
  label,
  input: { contentType: 'text/plain', body: Buffer.from(label) },
});

/** Yields these, then ends. */
const listFeed = (...labels: string[]): Feed => ({
  async run(take, signal) {
    for (const label of labels) {
      if (signal.aborted) return;
      await take(item(label));
    }
  },
});

/** Yields for ever, as fast as it is let. */
const endlessFeed: Feed = {
  async run(take, signal) {
    for (let i = 0; !signal.aborted; i++) {
      await take(item(String(i)));
      await new Promise((resolve) => setImmediate(resolve));
    }
  },
};

function setUp() {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const taken: string[] = [];
  const take = async ({ label }: FeedItem): Promise<undefined> => void taken.push(label ?? '');
  const states = new FeedStates({ clock, logger });
  return { clock, logger, states, taken, take, parts: { clock, states } };
}

test('runs the feeds beside each other, and has ended when all have', async () => {
  const { parts, taken, take } = setUp();
  const runner = new FeedRunner({
    runs: [
      { name: 'one', feed: listFeed('a', 'b', 'c'), take },
      { name: 'two', feed: listFeed('x', 'y'), take },
    ],
    ...parts,
  });
  runner.start();
  await runner.ended();
  assert.deepEqual(taken, ['a', 'x', 'b', 'y', 'c']);
  await runner.stop();
});

test('without feeds it has ended at once', async () => {
  const runner = new FeedRunner({ runs: [], ...setUp().parts });
  runner.start();
  await runner.ended();
  await runner.stop();
});

test('a feed that fails is started again with backoff, and does not disturb the others', async () => {
  const { parts, clock, logger, taken, take } = setUp();
  let failures = 3;
  const startsAtMs: number[] = [];
  const shaky: Feed = {
    async run(takeIt, signal) {
      startsAtMs.push(clock.nowMonoMs());
      if (failures-- > 0) throw new AppError('FILE_UNREADABLE');
      await listFeed('came up').run(takeIt, signal);
    },
  };
  const runner = new FeedRunner({
    runs: [
      { name: 'shaky', feed: shaky, take },
      { name: 'steady', feed: listFeed('a'), take },
    ],
    ...parts,
  });
  runner.start();
  await clock.advance(60_000);
  await runner.ended();
  assert.deepEqual(taken, ['a', 'came up']);
  assert.equal(startsAtMs.length, 4);
  assert.deepEqual(logger.failures(), ['feed.failed FILE_UNREADABLE'], 'told once while it stays the same');
  assert.ok(
    logger.lines.filter(({ level }) => level === 'warn').every(({ facts }) => facts.pipeline === 'shaky'),
  );
});

test('says which feeds have no source, until they have', async () => {
  const { parts, clock, take, logger, states } = setUp();
  let isThere = false;
  const source: Feed = {
    async run(_take, signal, tell) {
      if (!isThere) throw new AppError('FILE_UNREADABLE', 'the folder is gone');
      tell?.('live');
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    },
  };
  const runner = new FeedRunner({ runs: [{ name: 'gate', feed: source, take }], ...parts });
  runner.start();
  await clock.advance(60_000);
  assert.match(feedDown(states) ?? '', /gate: the folder is gone/);
  isThere = true;
  await clock.advance(10_000);
  assert.equal(feedDown(states), undefined);
  assert.deepEqual(logger.failures(), ['feed.failed FILE_UNREADABLE'], 'told once');
  await runner.stop();
});

test('a feed that does not end is not waited for beyond its time', async () => {
  const { parts, clock } = setUp();
  const stuck: Feed = { run: () => new Promise<void>(() => undefined) };
  const take = async (): Promise<undefined> => undefined;
  const runner = new FeedRunner({ runs: [{ name: 'stuck', feed: stuck, take }], ...parts });
  runner.start();
  await settle();
  const stopping = assert.rejects(runner.stop(), (error) => isAppError(error, 'STOPPING'));
  await clock.advance(10_000);
  await stopping;
});

test('stops between two tries', async () => {
  const { parts, take } = setUp();
  const broken: Feed = { run: () => Promise.reject(new AppError('FILE_UNREADABLE')) };
  const runner = new FeedRunner({ runs: [{ name: 'broken', feed: broken, take }], ...parts });
  runner.start();
  await settle();
  await runner.stop();
});

test('an input under way is finished before it has stopped, and no other is begun', async () => {
  const { parts } = setUp();
  let finish = (): void => undefined;
  const taken: string[] = [];
  const runner = new FeedRunner({
    runs: [
      {
        name: 'slow',
        feed: endlessFeed,
        take: async ({ label }) => {
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
          taken.push(label ?? '');
          return undefined;
        },
      },
    ],
    ...parts,
  });
  runner.start();
  await settle();
  let stopped = false;
  const stopping = runner.stop().then(() => {
    stopped = true;
  });
  await settle();
  assert.equal(stopped, false);
  finish();
  await stopping;
  assert.deepEqual(taken, ['0']);
});

test('whoever takes an input is told of the stop, so that nobody waits for the cloud', async () => {
  const { parts, logger } = setUp();
  const runner = new FeedRunner({
    runs: [
      {
        name: 'owed',
        feed: endlessFeed,
        take: (_item, signal) =>
          new Promise<undefined>((resolve) =>
            signal.addEventListener('abort', () => resolve(undefined), { once: true }),
          ),
      },
    ],
    ...parts,
  });
  runner.start();
  await settle();
  await runner.stop();
  assert.deepEqual(logger.failures(), []);
});

/** The configuration of one pipeline with this feed. */
async function configured(folder: string, task: string, feed: string, flags: string[] = []) {
  const path = join(folder, 'outrider.yaml');
  await writeFile(path, `pipelines: [{ name: one, task: ${task}, cloud: big, feed: ${feed} }]`);
  return (await loadConfig(['--config', path, ...flags], {})) as AgentConfig;
}

async function inputsOf(config: AgentConfig, folder: string, metrics = createAgentMetrics()) {
  const clock = new FakeClock();
  const parts = { dataDir: join(folder, 'data'), clock, logger: recordingLogger() };
  const feed = createFeed(config.pipelines[0]!, config, { ...parts, metrics });
  const taken: FeedItem[] = [];
  const running = feed?.run(async (one) => void taken.push(one), new AbortController().signal);
  // Until the files, which have just been written, count as whole.
  await clock.advance(500);
  await running;
  return taken;
}

test('a folder feed starts beside the configuration, and names the kind of its files', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'in'));
  for (const name of ['a.JPG', 'b.png', 'c.webp', 'd.bin']) await writeFile(join(folder, 'in', name), name);
  const config = await configured(folder, 'image-classification', '{ type: folder, path: in }', ['--once']);
  assert.deepEqual(
    (await inputsOf(config, folder)).map(({ input }) => input.contentType),
    ['image/jpeg', 'image/png', 'image/webp', 'application/octet-stream'],
  );
});

test('a folder feed drops what its task would refuse for its size, and counts it', async (t) => {
  for (const [task, limit] of [
    ['image-classification', MAX_IMAGE_BYTES],
    ['text-classification', MAX_TEXT_BYTES],
  ] as const) {
    const folder = await temporaryFolder(t);
    await mkdir(join(folder, 'in'));
    for (const [name, size] of [
      ['a-fits', limit],
      ['b-does-not', limit + 1],
    ] as const) {
      await writeFile(join(folder, 'in', name), '');
      await truncate(join(folder, 'in', name), size);
    }
    const config = await configured(folder, task, '{ type: folder, path: in }', ['--once']);
    const metrics = createAgentMetrics();
    const taken = await inputsOf(config, folder, metrics);
    assert.deepEqual(
      taken.map(({ label }) => label),
      ['a-fits'],
    );
    assert.match(
      await metrics.text(),
      /outrider_feed_dropped_total\{pipeline="one",reason="INPUT_TOO_LARGE"\} 1/,
    );
  }
});

test('a feed of lines is read to its end; a pipeline without a feed has none', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'lines.txt'), 'one\ntwo\n');
  const config = await configured(folder, 'text-classification', '{ type: text-lines, path: lines.txt }');
  assert.equal((await inputsOf(config, folder)).length, 2);
  const { clock, logger } = setUp();
  const parts = { dataDir: folder, clock, logger, metrics: createAgentMetrics() };
  const [{ feed: _none, ...silent } = assert.fail()] = config.pipelines;
  assert.equal(createFeed(silent, config, parts), undefined);
});
