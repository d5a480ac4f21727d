import assert from 'node:assert/strict';
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FolderFeed, type FolderFeedOptions } from '../../../../agent/feed/folder.ts';
import { TextLinesFeed } from '../../../../agent/feed/text-lines.ts';
import type { Feed, FeedItem } from '../../../../agent/ports.ts';
import type { Clock } from '../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const unreadable = (error: unknown): boolean => isAppError(error, 'FILE_UNREADABLE');
/** The user without rights, by its number on Linux. */
const NOBODY = 65_534;
const textOf = ({ input }: FeedItem): string => Buffer.from(input.body).toString();

/** A folder with these files in it, and a feed on it. */
async function setUp(
  t: TestContext,
  files: Record<string, string>,
  overrides: Partial<FolderFeedOptions> = {},
) {
  const root = await temporaryFolder(t);
  const path = join(root, 'in');
  await mkdir(path);
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
  const dropped: string[] = [];
  const logger = recordingLogger();
  const options: FolderFeedOptions = {
    path,
    repeatPaceMs: undefined,
    once: true,
    after: 'keep',
    moveTo: join(root, 'done'),
    statePath: join(root, 'state', 'vision.json'),
    maxBytes: 1_000,
    contentType: (name) => (name.endsWith('.png') ? 'image/png' : 'image/jpeg'),
    clock: new FakeClock(),
    logger,
    onDropped: (reason) => dropped.push(reason),
    ...overrides,
  };
  return { root, path, options, feed: new FolderFeed(options), dropped, logger };
}

/** Runs a feed until the test ends it. */
function run(t: TestContext, feed: Feed, onItem: (item: FeedItem) => Promise<void> | void = () => undefined) {
  const taken: FeedItem[] = [];
  const stopping = new AbortController();
  const ended = feed.run(async (item) => {
    taken.push(item);
    await onItem(item);
  }, stopping.signal);
  ended.catch(() => undefined);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
  };
  t.after(() => stop().catch(() => undefined));
  return { taken, ended, stop, signal: stopping.signal, names: () => taken.map(({ label }) => label) };
}

/** Goes through everything once. */
async function all(feed: Feed): Promise<FeedItem[]> {
  const taken: FeedItem[] = [];
  await feed.run(async (item) => void taken.push(item), new AbortController().signal);
  return taken;
}

test('goes through the files by name, one after the other, and ends', async (t) => {
  const { feed, path } = await setUp(t, {
    'b.jpg': 'two',
    'a.png': 'one',
    'c.jpg': 'three',
    '.hidden': 'no',
  });
  await mkdir(join(path, 'a-folder'));
  let under = 0;
  const taken: FeedItem[] = [];
  await feed.run(async (item) => {
    assert.equal(under++, 0, 'it waits for one to be taken before it yields the next');
    taken.push(item);
    await new Promise((resolve) => setImmediate(resolve));
    under--;
  }, new AbortController().signal);
  assert.deepEqual(
    taken.map((item) => [item.label, textOf(item), item.input.contentType]),
    [
      ['a.png', 'one', 'image/png'],
      ['b.jpg', 'two', 'image/jpeg'],
      ['c.jpg', 'three', 'image/jpeg'],
    ],
  );
});

test('ends early when told to stop', async (t) => {
  const { feed } = await setUp(t, { 'a.jpg': '1', 'b.jpg': '2' });
  const running = run(t, feed, () => void running.stop());
  await running.ended;
  assert.deepEqual(running.names(), ['a.jpg']);
});

test('repeats at its pace from the second pass on, and sees what has come meanwhile', async (t) => {
  const clock = new FakeClock();
  const { feed, path } = await setUp(
    t,
    { 'a.jpg': '1', 'b.jpg': '2' },
    {
      once: false,
      repeatPaceMs: 1_000,
      clock,
    },
  );
  const running = run(t, feed);
  await settle();
  assert.equal(running.taken.length, 2, 'the first pass takes no pauses');
  await writeFile(join(path, 'c.jpg'), '3');
  for (const count of [3, 4, 5]) {
    await clock.advance(999);
    assert.equal(running.taken.length, count - 1);
    await clock.advance(1);
    assert.equal(running.taken.length, count);
  }
  await clock.advance(2_999);
  assert.ok(running.taken.length < 8, 'three inputs, three pauses');
  await clock.advance(1_001);
  assert.deepEqual(running.names(), ['a.jpg', 'b.jpg', 'a.jpg', 'b.jpg', 'c.jpg', 'a.jpg', 'b.jpg', 'c.jpg']);
});

test('a file over the limit is dropped with its reason, and the next one is taken', async (t) => {
  const { feed, dropped, logger } = await setUp(t, {
    'a.jpg': 'x'.repeat(1_001),
    'b.jpg': 'x'.repeat(1_000),
  });
  assert.deepEqual(
    (await all(feed)).map(({ label }) => label),
    ['b.jpg'],
  );
  assert.deepEqual(dropped, ['INPUT_TOO_LARGE']);
  assert.deepEqual(logger.failures(), ['feed.file_skipped INPUT_TOO_LARGE']);
});

test('a folder that is not there or cannot be read is an error with its code, in every mode', async (t) => {
  for (const once of [true, false]) {
    const { feed, path } = await setUp(t, {}, { once });
    await rm(path, { recursive: true });
    await assert.rejects(all(feed), unreadable);
    await writeFile(path, 'a file, not a folder');
    await assert.rejects(all(feed), unreadable);
  }
});

test('a file that cannot be read is dropped with its reason', async (t) => {
  const { root, feed, path, dropped } = await setUp(t, { 'a.jpg': '1', 'b.jpg': '2' });
  await chmod(join(path, 'a.jpg'), 0);
  // Root reads every file; another user may come as far as the folder, and writes where the feed keeps its state.
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) await chmod(root, 0o777);
  try {
    if (isRoot) process.seteuid?.(NOBODY);
    assert.equal((await all(feed)).length, 1);
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
  assert.deepEqual(dropped, ['FILE_UNREADABLE']);
});

test('what has been taken is deleted, or moved, once it is safe', async (t) => {
  for (const after of ['delete', 'move'] as const) {
    const { feed, path, root } = await setUp(t, { 'a.jpg': '1', 'b.jpg': '2' }, { after });
    const there: string[][] = [];
    await feed.run(async () => void there.push(await readdir(path)), new AbortController().signal);
    assert.deepEqual(there, [['a.jpg', 'b.jpg'], ['b.jpg']], 'it stays until it has been taken');
    assert.deepEqual(await readdir(path), []);
    const moved = after === 'move' ? await readdir(join(root, 'done')) : [];
    assert.deepEqual(moved, after === 'move' ? ['a.jpg', 'b.jpg'] : []);
  }
});

test('an input that could not be taken stays where it is', async (t) => {
  const { feed, path } = await setUp(t, { 'a.jpg': '1' }, { after: 'delete' });
  await assert.rejects(
    feed.run(() => Promise.reject(new Error('no')), new AbortController().signal),
    /no/,
  );
  assert.deepEqual(await readdir(path), ['a.jpg']);
});

test('moves to another file system too', async (t) => {
  const elsewhere = await mkdtemp('/dev/shm/outrider-test-').catch(() => undefined);
  if (elsewhere === undefined) return t.skip('there is no /dev/shm');
  t.after(() => rm(elsewhere, { recursive: true }));
  const { feed, path, root } = await setUp(
    t,
    { 'a.jpg': '1' },
    {
      after: 'move',
      moveTo: join(elsewhere, 'done'),
    },
  );
  if ((await stat(root)).dev === (await stat(elsewhere)).dev)
    return t.skip('/dev/shm is no other file system than the one for temporary files');
  await all(feed);
  assert.deepEqual(await readdir(path), []);
  assert.equal(await readFile(join(elsewhere, 'done', 'a.jpg'), 'utf8'), '1');
});

test('a folder to move to that cannot be made is told, and the other inputs still come', async (t) => {
  const { feed, root, logger } = await setUp(t, { 'a.jpg': '1', 'b.jpg': '2' }, { after: 'move' });
  await writeFile(join(root, 'done'), 'a file stands in the way');
  assert.equal((await all(feed)).length, 2);
  assert.deepEqual(
    logger.lines.map(({ event, facts }) => [event, facts.file]),
    [
      ['feed.not_put_away', 'a.jpg'],
      ['feed.not_put_away', 'b.jpg'],
    ],
  );
});

const watching = { once: false };

/**
 * Watching is chokidar's, on the real disk, and goes by the process's timers: their hands are turned here. What the kernel has to say
 * of a file, it says as soon as the file is written, so that it has been heard when all is settled.
 */
function watchTime(t: TestContext): { pass: (ms: number) => Promise<void> } {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  return {
    async pass(ms) {
      await settle();
      for (let passedMs = 0; passedMs < ms; passedMs += 50) {
        t.mock.timers.tick(50);
        await settle();
      }
    },
  };
}

test('takes files as they appear, when they are whole', async (t) => {
  const { pass } = watchTime(t);
  const { feed, path } = await setUp(t, { 'a.jpg': 'there before' }, watching);
  const running = run(t, feed);
  await settle();
  assert.equal(running.taken.length, 1, 'what is there already is taken');
  await writeFile(join(path, 'b.jpg'), 'first half');
  for (let i = 0; i < 4; i++) {
    await pass(450);
    assert.equal(running.taken.length, 1, 'a file that grows is not whole');
    await appendFile(join(path, 'b.jpg'), `, ${i}`);
  }
  await writeFile(join(path, '.c.jpg.part'), 'hidden');
  await pass(1_000);
  assert.equal(running.taken.length, 2, 'the new file is whole');
  await pass(1_000);
  await running.stop();
  assert.deepEqual(running.taken.map(textOf), ['there before', 'first half, 0, 1, 2, 3']);
});

test('remembers across restarts what it has taken, and takes what has changed since', async (t) => {
  const { pass } = watchTime(t);
  const { options, path } = await setUp(t, { 'a.jpg': '1', 'b.jpg': '2' }, watching);
  const first = run(t, new FolderFeed(options));
  await settle();
  assert.equal(first.taken.length, 2);
  await first.stop();

  await writeFile(join(path, 'b.jpg'), 'another');
  await writeFile(join(path, 'c.jpg'), '3');
  const second = run(t, new FolderFeed(options));
  await pass(2_000);
  await second.stop();
  assert.deepEqual(second.taken.map(textOf).sort(), ['3', 'another']);
});

test('a memory that is damaged costs a repetition, not the feed', async (t) => {
  const { options, path, logger } = await setUp(t, { 'a.jpg': '1' }, watching);
  await mkdir(join(path, '..', 'state'));
  await writeFile(options.statePath, '{"taken": {"a.jpg"');
  const running = run(t, new FolderFeed(options));
  await settle();
  assert.equal(running.taken.length, 1);
  assert.deepEqual(logger.failures(), ['feed.state_unreadable DATA_CORRUPT']);
});

test('forgets files that are gone, so that its memory does not grow for ever', async (t) => {
  const { pass } = watchTime(t);
  const { options, path } = await setUp(t, { 'a.jpg': '1', 'b.jpg': '2', 'c.jpg': '3' }, watching);
  const remembered = async (): Promise<string[]> =>
    Object.keys(JSON.parse(await readFile(options.statePath, 'utf8')).taken).sort();
  const first = run(t, new FolderFeed(options));
  await settle();
  assert.equal(first.taken.length, 3);
  await unlink(join(path, 'a.jpg'));
  await pass(500);
  await first.stop();
  assert.deepEqual(await remembered(), ['b.jpg', 'c.jpg']);

  await unlink(join(path, 'b.jpg'));
  await writeFile(join(path, 'd.jpg'), '4');
  const second = run(t, new FolderFeed(options));
  await settle();
  assert.equal(second.taken.length, 1);
  await second.stop();
  assert.deepEqual(await remembered(), ['c.jpg', 'd.jpg']);
});

test('watching, it deletes what it has taken, and takes a new file of the same name', async (t) => {
  const { pass } = watchTime(t);
  const { options, path } = await setUp(t, { 'a.jpg': '1' }, { ...watching, after: 'delete' });
  const running = run(t, new FolderFeed(options));
  await settle();
  assert.deepEqual(await readdir(path), []);
  // A file that is written anew at once is, for chokidar, one that has changed.
  await pass(300);
  await writeFile(join(path, 'a.jpg'), '2');
  await pass(1_000);
  assert.deepEqual(await readdir(path), []);
  assert.deepEqual(running.taken.map(textOf), ['1', '2']);
});

test('watching, a file that cannot be put away is taken once, not again and again', async (t) => {
  const { pass } = watchTime(t);
  const { options, root } = await setUp(t, { 'a.jpg': '1' }, { ...watching, after: 'move' });
  await writeFile(join(root, 'done'), 'a file stands in the way');
  const first = run(t, new FolderFeed(options));
  await settle();
  assert.equal(first.taken.length, 1);
  await first.stop();
  const second = run(t, new FolderFeed(options));
  await pass(2_000);
  await second.stop();
  assert.deepEqual(second.names(), []);
});

async function textFile(t: TestContext, content: string): Promise<string> {
  const path = join(await temporaryFolder(t), 'sentences.txt');
  await writeFile(path, content);
  return path;
}

const linesFeed = (path: string, overrides: { repeatPaceMs?: number; once?: boolean; clock?: Clock } = {}) =>
  new TextLinesFeed({ path, repeatPaceMs: undefined, once: false, clock: new FakeClock(), ...overrides });

test('yields each line that is not blank, trimmed, and ends', async (t) => {
  const path = await textFile(t, 'one\r\n\n  two  \n\t\n“thrée”');
  const taken = await all(linesFeed(path));
  assert.deepEqual(
    taken.map((item) => [textOf(item), item.label, item.input.contentType]),
    ['one', 'two', '“thrée”'].map((line) => [line, line, 'text/plain; charset=utf-8']),
  );
});

test('knows a long line by its beginning', async (t) => {
  const [item] = await all(linesFeed(await textFile(t, 'x'.repeat(100))));
  assert.equal(item?.label, `${'x'.repeat(59)}…`);
  assert.equal(item?.input.body.length, 100);
});

test('a file of lines that cannot be read is an error with its code', async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(all(linesFeed(join(folder, 'nothing.txt'))), unreadable);
  await assert.rejects(all(linesFeed(folder)), unreadable);
});

test('lines repeat at their pace, unless it is to go through them once', async (t) => {
  const path = await textFile(t, 'one\ntwo\n');
  assert.equal((await all(linesFeed(path, { repeatPaceMs: 1_000, once: true }))).length, 2);

  const clock = new FakeClock();
  const running = run(t, linesFeed(path, { repeatPaceMs: 1_000, clock }));
  await settle();
  assert.equal(running.taken.length, 2, 'the first pass takes no pauses');
  await clock.advance(1_999);
  assert.equal(running.taken.length, 3);
  await clock.advance(1);
  assert.deepEqual(running.names(), ['one', 'two', 'one', 'two']);
  await running.stop();
});

test('a line that could not be taken ends the feed with the reason of that, not with the file’s', async (t) => {
  const path = await textFile(t, 'one\ntwo\n');
  const failing = linesFeed(path).run(
    () => Promise.reject(new Error('our own mistake')),
    new AbortController().signal,
  );
  await assert.rejects(failing, /our own mistake/);
});
