import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FolderFeed, type FolderFeedOptions } from '../../../../agent/feed/folder.ts';
import { FreshFiles } from '../../../../agent/feed/fresh-files.ts';
import { TakenFiles } from '../../../../agent/feed/taken-files.ts';
import { TextLinesFeed, type TextLinesFeedOptions } from '../../../../agent/feed/text-lines.ts';
import type { Feed, FeedItem } from '../../../../agent/ports.ts';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const unreadable = (error: unknown): boolean => isAppError(error, 'FILE_UNREADABLE');
/** The user without rights, by its number on Linux. */
const NOBODY = 65_534;
/** Of POSIX: Node cannot make a pipe with a name. */
const MAKE_PIPE = 'mkfifo';
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
    recursive: false,
    settleMs: 0,
    after: 'keep',
    moveTo: join(root, 'done'),
    statePath: join(root, 'state', 'vision.ndjson'),
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
function run(
  t: TestContext,
  feed: Feed,
  onItem: (item: FeedItem) => Promise<ErrorCode | undefined> | ErrorCode | undefined = () => undefined,
) {
  const taken: FeedItem[] = [];
  const stopping = new AbortController();
  const ended = feed.run(async (item) => {
    taken.push(item);
    return (await onItem(item)) ?? undefined;
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
    return undefined;
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

/** A watching feed, and the hands of its clock. What the kernel has to say of a file, it has said when all is settled. */
async function setUpWatching(
  t: TestContext,
  files: Record<string, string>,
  overrides: Partial<FolderFeedOptions> = {},
) {
  const clock = new FakeClock();
  const made = await setUp(t, files, { once: false, settleMs: 500, clock, ...overrides });
  return { ...made, pass: (ms: number) => clock.advance(ms) };
}

test('takes files as they appear, when they are whole', async (t) => {
  const { feed, path, pass } = await setUpWatching(t, { 'a.jpg': 'there before' });
  const running = run(t, feed);
  await pass(500);
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

test('a file that is renamed into the folder is whole at once', async (t) => {
  const { root, feed, path } = await setUpWatching(t, {});
  const running = run(t, feed);
  await settle();
  for (const [from, name] of [
    [root, 'from-elsewhere'],
    [path, 'from-hidden'],
  ] as const) {
    await writeFile(join(from, '.part'), name);
    // Some kernels tell times apart by 10 ms only.
    await utimes(join(from, '.part'), 1_000, 1_000);
    await rename(join(from, '.part'), join(path, `${name}.jpg`));
    await settle();
  }
  assert.deepEqual(running.names(), ['from-elsewhere.jpg', 'from-hidden.jpg'], 'no time has passed');
});

test('takes a file again each time that it has changed, however it was written', async (t) => {
  const { feed, path, pass, root } = await setUpWatching(t, { 'latest.jpg': 'one' });
  const running = run(t, feed);
  await pass(500);
  await writeFile(join(path, 'latest.jpg'), 'two');
  await pass(500);
  await rm(join(path, 'latest.jpg'));
  await writeFile(join(path, 'latest.jpg'), 'three');
  await pass(500);
  await writeFile(join(root, 'next.jpg'), 'four');
  await rename(join(root, 'next.jpg'), join(path, 'latest.jpg'));
  await pass(500);
  await chmod(join(path, 'latest.jpg'), 0o600);
  await pass(60_000);
  assert.deepEqual(running.taken.map(textOf), ['one', 'two', 'three', 'four']);
});

test('what is written to while it is answered stays, and is taken anew', async (t) => {
  for (const after of ['delete', 'move'] as const) {
    const { feed, path, pass, root } = await setUpWatching(t, { 'a.jpg': 'half' }, { after });
    const there: string[] = [];
    const running = run(t, feed, async () => {
      there.push(await readFile(join(path, 'a.jpg'), 'utf8'));
      if (there.length === 1) await appendFile(join(path, 'a.jpg'), ' and whole');
      return undefined;
    });
    await pass(500);
    assert.deepEqual(await readdir(path), ['a.jpg'], 'its second half was not read');
    await pass(500);
    assert.deepEqual(running.taken.map(textOf), ['half', 'half and whole']);
    assert.deepEqual(await readdir(path), []);
    if (after === 'move') assert.equal(await readFile(join(root, 'done', 'a.jpg'), 'utf8'), 'half and whole');
  }
});

test('what could not be answered is neither deleted nor moved, nor taken again as it is', async (t) => {
  for (const after of ['delete', 'move'] as const) {
    const { feed, options, path, pass } = await setUpWatching(t, { 'a.jpg': 'torn' }, { after });
    const answer = ({ input }: FeedItem): ErrorCode | undefined =>
      Buffer.from(input.body).toString() === 'torn' ? 'IMAGE_CORRUPT' : undefined;
    const first = run(t, feed, answer);
    await pass(60_000);
    await first.stop();
    assert.deepEqual(await readdir(path), ['a.jpg']);
    const second = run(t, new FolderFeed(options), answer);
    await pass(60_000);
    assert.deepEqual(second.names(), [], 'not after a restart either');
    await writeFile(join(path, 'a.jpg'), 'mended');
    await pass(1_000);
    assert.deepEqual(second.taken.map(textOf), ['mended']);
    assert.deepEqual(await readdir(path), []);
    await second.stop();
  }
});

test('what had no answer for a passing reason is taken again after a restart', async (t) => {
  const { feed, options, path, pass } = await setUpWatching(t, { 'a.jpg': '1' }, { after: 'delete' });
  const first = run(t, feed, () => 'RUNNER_CRASHED');
  await pass(60_000);
  assert.equal(first.taken.length, 1);
  await first.stop();
  const second = run(t, new FolderFeed(options));
  await pass(1_000);
  assert.equal(second.taken.length, 1);
  assert.deepEqual(await readdir(path), []);
});

test('what is moved does not take the place of what was moved before', async (t) => {
  const { feed, path, root, pass } = await setUpWatching(t, { 'latest.jpg': '0' }, { after: 'move' });
  const running = run(t, feed);
  await pass(500);
  for (const content of ['1', '2']) {
    await writeFile(join(path, 'latest.jpg'), content);
    await pass(500);
  }
  assert.equal(running.taken.length, 3);
  const moved = await readdir(join(root, 'done'));
  const contents = await Promise.all(moved.map((name) => readFile(join(root, 'done', name), 'utf8')));
  assert.deepEqual(contents.sort(), ['0', '1', '2']);
  assert.ok(
    moved.every((name) => /^latest(-[\dTZ-]+)?\.jpg$/.test(name)),
    moved.join(),
  );
});

test('only regular files are taken: the rest is counted once, and neither holds up the feed nor its stop', async (t) => {
  if (process.platform === 'win32') return t.skip('Windows has no pipes and sockets with names');
  for (const once of [true, false]) {
    const { feed, path, dropped, pass } = await setUpWatching(t, { 'z.jpg': '1' }, { once });
    execFileSync(MAKE_PIPE, [join(path, 'a-pipe.jpg')]);
    await mkdir(join(path, 'b-folder'));
    const server = createServer().listen(join(path, 'c-socket.jpg'));
    t.after(() => server.close());
    await symlink('/dev/zero', join(path, 'd-device.jpg'));
    await symlink(join(path, 'nothing'), join(path, 'e-nowhere.jpg'));
    await symlink(join(path, 'z.jpg'), join(path, 'y-link.jpg'));
    const running = run(t, feed);
    await pass(120_000);
    assert.deepEqual(running.names(), ['y-link.jpg', 'z.jpg'], 'what a link leads to is as good as a file');
    assert.deepEqual(dropped, Array(4).fill('NOT_A_FILE'));
    if (!once) {
      execFileSync(MAKE_PIPE, [join(path, 'later.jpg')]);
      await pass(1_000);
      assert.equal(dropped.length, 5);
    }
    await running.stop();
  }
});

test('an empty file is waited with until it has content, and told', async (t) => {
  const { feed, path, dropped, pass } = await setUpWatching(t, { 'a.jpg': '' }, { after: 'delete' });
  const running = run(t, feed);
  await pass(120_000);
  assert.deepEqual([running.taken.length, dropped], [0, ['INPUT_EMPTY']]);
  await writeFile(join(path, 'a.jpg'), 'now');
  await pass(500);
  assert.deepEqual(running.taken.map(textOf), ['now']);
});

test('a file that becomes readable is taken then', async (t) => {
  const { root, feed, path, dropped, pass } = await setUpWatching(t, { 'a.jpg': '1' });
  await chmod(join(path, 'a.jpg'), 0);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) await chmod(root, 0o777);
  try {
    if (isRoot) process.seteuid?.(NOBODY);
    const running = run(t, feed);
    await pass(120_000);
    assert.deepEqual(dropped, ['FILE_UNREADABLE'], 'told once');
    if (isRoot) process.seteuid?.(0);
    await chmod(join(path, 'a.jpg'), 0o644);
    if (isRoot) process.seteuid?.(NOBODY);
    await pass(1_000);
    assert.equal(running.taken.length, 1);
    await running.stop();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});

test('names that are not UTF-8 are taken, shown with their bytes, remembered and put away', async (t) => {
  if (process.platform !== 'linux') return t.skip('elsewhere names are UTF-8');
  for (const [once, after] of [
    [true, 'move'],
    [false, 'move'],
    [false, 'keep'],
  ] as const) {
    const { feed, options, path, root, pass } = await setUpWatching(t, {}, { once, after, recursive: true });
    const below = Buffer.concat([Buffer.from(`${path}/d`), Buffer.from([0xe9])]);
    await mkdir(below);
    await writeFile(
      Buffer.concat([Buffer.from(`${path}/caf`), Buffer.from([0xe9]), Buffer.from('.jpg')]),
      '1',
    );
    await writeFile(Buffer.concat([below, Buffer.from('/ü.png')]), '2');
    const running = run(t, feed);
    await pass(1_000);
    await running.stop();
    assert.deepEqual(
      running.taken.map(({ label, input }) => [label, input.contentType]),
      [
        ['caf\\xe9.jpg', 'image/jpeg'],
        ['d\\xe9/\\xc3\\xbc.png', 'image/png'],
      ],
    );
    if (after === 'move') {
      const moved = await readdir(join(root, 'done'), { encoding: 'latin1' });
      assert.deepEqual(moved.sort(), ['caf\xe9.jpg', 'd\xe9']);
    } else {
      const second = run(t, new FolderFeed(options));
      await pass(60_000);
      await second.stop();
      assert.equal(second.taken.length, 0);
    }
  }
});

test('goes through the folders below where it is told to, and through those that come later', async (t) => {
  for (const after of ['keep', 'move'] as const) {
    const made = await setUpWatching(t, { 'a.jpg': '1' }, { recursive: true, after });
    const { path, pass, options } = made;
    // Inside of the folder itself: what is moved there is not taken again.
    const feed = new FolderFeed({ ...options, moveTo: join(path, 'done') });
    await mkdir(join(path, 'old', 'deep'), { recursive: true });
    await writeFile(join(path, 'old', 'deep', 'b.jpg'), '2');
    const running = run(t, feed);
    await pass(500);
    await mkdir(join(path, 'new', 'deep'), { recursive: true });
    await writeFile(join(path, 'new', 'deep', 'c.jpg'), '3');
    await pass(1_000);
    await rm(join(path, 'new'), { recursive: true });
    await mkdir(join(path, 'new'));
    await settle();
    await writeFile(join(path, 'new', 'd.jpg'), '4');
    await pass(1_000);
    assert.deepEqual(running.names(), ['a.jpg', 'old/deep/b.jpg', 'new/deep/c.jpg', 'new/d.jpg']);
    await running.stop();
  }
});

test('a folder that goes is an error with its code; one that is made in its place is watched', async (t) => {
  const { feed, path, pass, root } = await setUpWatching(t, { 'a.jpg': '1' });
  let ups = 0;
  const taken: FeedItem[] = [];
  const stopping = new AbortController();
  const start = (): Promise<void> =>
    feed.run(
      async (item) => void taken.push(item),
      stopping.signal,
      () => void ups++,
    );
  let running = start();
  await pass(1_000);
  assert.equal(ups, 1);
  const failed = assert.rejects(running, unreadable);
  await rm(path, { recursive: true });
  await pass(1_000);
  await failed;
  await assert.rejects(start(), unreadable);
  assert.equal(ups, 1);
  await mkdir(path);
  running = start();
  await settle();
  assert.equal(ups, 2);
  // In the place of the last one before anybody has looked.
  renameSync(path, join(root, 'away'));
  mkdirSync(path);
  await pass(1_000);
  await writeFile(join(path, 'b.jpg'), '2');
  await pass(1_000);
  assert.deepEqual(taken.map(textOf), ['1', '2']);
  stopping.abort();
  await running;
});

test('what the kernel does not tell is found all the same', async (t) => {
  const { feed, path, pass } = await setUpWatching(t, { 'a.jpg': '1' });
  const running = run(t, feed);
  await pass(1_000);
  // As on a network mount: somebody else has written there, and no event comes.
  t.mock.method(FreshFiles.prototype, 'touch', () => undefined);
  await writeFile(join(path, 'a.jpg'), 'another');
  await writeFile(join(path, 'b.jpg'), '2');
  await pass(31_000);
  assert.deepEqual(running.taken.map(textOf), ['1', 'another', '2']);
});

test('remembers across restarts what it has taken, and takes what has changed since', async (t) => {
  const { options, path, pass } = await setUpWatching(t, { 'a.jpg': '1', 'b.jpg': '2' });
  const first = run(t, new FolderFeed(options));
  await pass(500);
  assert.equal(first.taken.length, 2);
  await first.stop();

  await writeFile(join(path, 'b.jpg'), 'another');
  await writeFile(join(path, 'c.jpg'), '3');
  const second = run(t, new FolderFeed(options));
  await pass(2_000);
  await second.stop();
  assert.deepEqual(second.taken.map(textOf).sort(), ['3', 'another']);
});

test('knows what a release before this one has taken', async (t) => {
  const { options, path, pass } = await setUpWatching(t, { 'a.jpg': '1', 'b.jpg': '2' });
  const { size, mtimeMs } = await stat(join(path, 'a.jpg'));
  await mkdir(join(path, '..', 'state'));
  const before = options.statePath.replace('.ndjson', '.json');
  await writeFile(before, JSON.stringify({ taken: { 'a.jpg': `${size}:${mtimeMs}` } }));
  for (const names of [['b.jpg'], []]) {
    const running = run(t, new FolderFeed(options));
    await pass(1_000);
    await running.stop();
    assert.deepEqual(running.names(), names);
  }
});

test('a memory that is damaged costs a repetition, not the feed', async (t) => {
  const { options, path, pass } = await setUpWatching(t, { 'a.jpg': '1' });
  await mkdir(join(path, '..', 'state'));
  await writeFile(options.statePath, '["a.jpg"');
  const running = run(t, new FolderFeed(options));
  await pass(500);
  assert.equal(running.taken.length, 1);
});

test('writes down what is new, not what is there, and forgets files that are gone', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${i}.jpg`, '1']));
  const { options, path, pass } = await setUpWatching(t, files);
  const first = run(t, new FolderFeed(options));
  await pass(2_000);
  assert.equal(first.taken.length, 50);
  await writeFile(join(path, 'new.jpg'), '2');
  const before = (await stat(options.statePath)).size;
  await pass(2_000);
  await writeFile(join(path, 'newer.jpg'), '2');
  await pass(2_000);
  await first.stop();
  const written = (await readFile(options.statePath, 'utf8')).slice(before).trim().split('\n');
  assert.ok(written.length < 55, 'no line is written twice');
  await rm(join(path, '0.jpg'));
  const memory = new TakenFiles({
    path: options.statePath,
    clock: new FakeClock(),
    logger: recordingLogger(),
  });
  const second = run(t, new FolderFeed(options));
  await pass(2_000);
  await second.stop();
  await memory.load();
  assert.deepEqual([...memory.names()].includes('0.jpg'), false);
  assert.equal([...memory.names()].length, 51);
});

test('a memory of many changes is written anew, no longer than what is there', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'state.ndjson');
  const clock = new FakeClock();
  const make = () => new TakenFiles({ path, clock, logger: recordingLogger() });
  const memory = make();
  await memory.load();
  for (let i = 0; i < 3_000; i++) {
    await memory.add('latest.jpg', `${i}:1`);
    await clock.advance(1_000);
  }
  await memory.close();
  assert.ok((await readFile(path, 'utf8')).split('\n').length < 1_010);
  const again = make();
  await again.load();
  assert.equal(again.get('latest.jpg'), '2999:1');
});

test('watching, it deletes what it has taken, and takes a new file of the same name', async (t) => {
  const { options, path, pass } = await setUpWatching(t, { 'a.jpg': '1' }, { after: 'delete' });
  const running = run(t, new FolderFeed(options));
  await pass(500);
  assert.deepEqual(await readdir(path), []);
  await writeFile(join(path, 'a.jpg'), '2');
  await pass(1_000);
  assert.deepEqual(await readdir(path), []);
  assert.deepEqual(running.taken.map(textOf), ['1', '2']);
});

test('watching, a file that cannot be put away is taken once, not again and again', async (t) => {
  const { options, root, pass } = await setUpWatching(t, { 'a.jpg': '1' }, { after: 'move' });
  await writeFile(join(root, 'done'), 'a file stands in the way');
  const first = run(t, new FolderFeed(options));
  await pass(500);
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

const linesFeed = (path: string, overrides: Partial<TextLinesFeedOptions> = {}) =>
  new TextLinesFeed({
    path,
    repeatPaceMs: undefined,
    once: false,
    follow: false,
    statePath: `${path}.state`,
    maxBytes: 1_000,
    clock: new FakeClock(),
    logger: recordingLogger(),
    onDropped: () => undefined,
    ...overrides,
  });

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
  await assert.rejects(all(linesFeed(folder)), (error) => isAppError(error, 'NOT_A_FILE'));
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

test('a pipe in the place of a file of lines is refused, not waited for', async (t) => {
  if (process.platform === 'win32') return t.skip('Windows has no pipes with names');
  const path = join(await temporaryFolder(t), 'pipe');
  execFileSync(MAKE_PIPE, [path]);
  for (const follow of [false, true])
    await assert.rejects(all(linesFeed(path, { follow })), (error) => isAppError(error, 'NOT_A_FILE'));
});

test('a line over the limit is dropped with its reason, and no text is handed on as it came', async (t) => {
  const path = await textFile(t, '');
  await writeFile(
    path,
    Buffer.concat([Buffer.alloc(300_000, 'x'), Buffer.from('\nfine\n'), Buffer.from([0xff])]),
  );
  const dropped: string[] = [];
  const taken = await all(linesFeed(path, { onDropped: (reason) => dropped.push(reason) }));
  assert.deepEqual(dropped, ['INPUT_TOO_LARGE']);
  assert.deepEqual(
    taken.map(({ input }) => [...input.body]),
    [[...Buffer.from('fine')], [0xff]],
  );
});

test('follows a file of lines: what is appended, truncated, put in its place, and after a restart', async (t) => {
  const path = await textFile(t, 'one\ntw');
  const clock = new FakeClock();
  const follow = () => run(t, linesFeed(path, { follow: true, clock }));
  const first = follow();
  await settle();
  assert.deepEqual(first.names(), ['one'], 'a line without its end is still being written');
  await appendFile(path, 'o\n');
  await clock.advance(500);
  assert.deepEqual(first.names(), ['one', 'two']);
  // As logrotate does: renamed, a new one in its place, and the writer is told a little later.
  await rename(path, `${path}.1`);
  await appendFile(`${path}.1`, 'late\n');
  await writeFile(path, 'three\n');
  await clock.advance(1_000);
  assert.deepEqual(first.names(), ['one', 'two', 'late', 'three']);
  // As copytruncate does.
  await truncate(path);
  await clock.advance(500);
  await appendFile(path, '4\n');
  await clock.advance(500);
  assert.deepEqual(first.names().slice(4), ['4']);
  await first.stop();

  await appendFile(path, '5\n');
  const second = follow();
  await settle();
  assert.deepEqual(second.names(), ['5'], 'it goes on where it was');
  await second.stop();
  await writeFile(path, 'another file\nof the same name\n');
  const third = follow();
  await settle();
  assert.deepEqual(third.names(), ['another file', 'of the same name']);
  await third.stop();
});
