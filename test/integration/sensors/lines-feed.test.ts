import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { eventually, isAlive } from '../../support/programs.ts';
import { configured, runFeed } from './feed-run.ts';

const node = (script: string): string[] => [process.execPath, '-e', script];
const TWO = [{ column: 'ax' }, { column: 'ay', scale: 10 }];

test('a file of CSV is gone through once, every window of it, by the names in its first line', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'imu.csv'), 'ay;t;ax\n1;0;10\n2;1;20\n\nbroken\n3;2;30\n4;3;40\n');
  const feed = {
    type: 'lines',
    path: 'imu.csv',
    delimiter: ';',
    channels: TWO,
    window: { count: 2, hop: 1 },
  };
  const run = await runFeed(t, { folder, feed });
  await run.until(({ state }) => state === 'ended', 'ended');
  assert.deepEqual(run.values(), [
    [
      [10, 10],
      [20, 20],
    ],
    [
      [20, 20],
      [30, 30],
    ],
    [
      [30, 30],
      [40, 40],
    ],
  ]);
  assert.deepEqual(await run.dropped(), { 'not-a-number': 1 });
});

test('a growing file goes on where it was, after a restart too, and knows its columns', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'imu.csv');
  await writeFile(path, 'ax,ay\n1,1\n2,2\n');
  const feed = { type: 'lines', path: 'imu.csv', follow: true, channels: TWO, window: { count: 2 } };
  const first = await runFeed(t, { folder, feed });
  await eventually(() => first.taken.length === 1, 'a window');
  await first.runner.stop();
  await appendFile(path, '3,3\n4,4\n');
  const second = await runFeed(t, { folder, feed });
  await eventually(() => second.taken.length === 1, 'the next one');
  assert.deepEqual(second.values(), [
    [
      [3, 30],
      [4, 40],
    ],
  ]);
});

test('the lines of a command are read as they come; what it says beside is logged, and it ends with the feed', async (t) => {
  const folder = await temporaryFolder(t);
  const script =
    'console.error("warming up"); require("fs").writeFileSync("pid", String(process.pid));' +
    'let n = 0; setInterval(() => console.log(JSON.stringify({ a: { x: n++ } })), 5)';
  const channels = [{ path: 'a.x' }];
  const feed = { type: 'lines', command: node(script), channels, window: { count: 4 } };
  const run = await runFeed(t, { folder, feed });
  await eventually(() => run.taken.length >= 2, 'windows');
  assert.deepEqual(run.values()[0], [[0], [1], [2], [3]]);
  assert.match(JSON.stringify(run.logger.lines), /feed\.command_said.*warming up/);
  const pid = Number(await readFile(join(folder, 'pid'), 'utf8'));
  await run.runner.stop();
  await eventually(() => !isAlive(pid), 'it has ended');
});

test('a command that ends is started again, one that is not there is said, and neither gets our secrets', async (t) => {
  process.env.OUTRIDER_AGENT_KEY = 's3cret-word';
  t.after(() => delete process.env.OUTRIDER_AGENT_KEY);
  const script =
    'console.log(JSON.stringify({ v: process.env.OUTRIDER_AGENT_KEY ? 1 : 0 })); process.exitCode = 3';
  const common = { type: 'lines', channels: [{ path: 'v' }], window: { count: 2 } };
  const run = await runFeed(t, { feed: { ...common, command: node(script) } });
  await run.until(({ reason }) => reason?.code === 'FEED_COMMAND_FAILED', 'failed');
  assert.match(run.status().reason?.message ?? '', /node has ended with 3$/);
  const absent = await runFeed(t, { feed: { ...common, command: ['no-such-program'] } });
  await absent.until(({ state }) => state === 'failed', 'failed');
  assert.match(absent.status().reason?.message ?? '', /there is no no-such-program/);
});

test('a line without end and garbage cost no memory and hold nothing up', async (t) => {
  const script =
    'process.stdout.write("x".repeat(3e6) + "\\n" + "\\0\\xff,,\\"\\n" + "7,8\\n9,10\\n"); setInterval(() => {}, 1e3)';
  const channels = [{ column: 1 }, { column: 2 }];
  const run = await runFeed(t, {
    feed: { type: 'lines', command: node(script), channels, window: { count: 2 } },
  });
  await eventually(() => run.taken.length === 1, 'a window');
  assert.deepEqual(run.values(), [
    [
      [7, 8],
      [9, 10],
    ],
  ]);
  assert.equal((await run.dropped())['too-large'], 1);
});

test('for a task of texts each line of a command is an input, or a part of it', async (t) => {
  const common = { task: 'text-classification', flags: ['--once'] };
  const lines = 'console.log("a fine film"); console.log(""); console.log("a dull one")';
  const plain = await runFeed(t, { ...common, feed: { type: 'lines', command: node(lines) } });
  await plain.until(({ state }) => state === 'ended', 'ended');
  assert.deepEqual(plain.texts(), ['a fine film', 'a dull one']);
  const json = 'console.log(JSON.stringify({ text: "Grüße" })); console.log("{}")';
  const feed = { type: 'lines', command: node(json), channels: [{ path: 'text' }] };
  const parts = await runFeed(t, { ...common, feed });
  await parts.until(({ state }) => state === 'ended', 'ended');
  assert.deepEqual(parts.texts(), ['Grüße']);
  assert.deepEqual(await parts.dropped(), { 'no-value': 1 });
});

test('what does not fit is said before anything starts, each with its key', async (t) => {
  const folder = await temporaryFolder(t);
  const mqtt = { type: 'mqtt', url: 'mqtt://127.0.0.1', channels: [{ topic: 'a' }] };
  const lines = { type: 'lines', command: ['cat'], channels: [{ column: 1 }] };
  const window = { count: 10 };
  const wrong: [string, object, RegExp][] = [
    ['time-series-classification', mqtt, /feed\.window: .*takes windows/],
    ['text-classification', { ...mqtt, window }, /feed\.window: .*takes no windows/],
    ['time-series-classification', { ...mqtt, window: { count: 1, time: '1s' } }, /either count or time/],
    ['time-series-classification', { ...mqtt, window: { time: '1s' } }, /time needs a rate/],
    ['time-series-classification', { ...mqtt, window: { count: 4, hop: '1s' } }, /hop is of the kind/],
    ['time-series-classification', { ...mqtt, window: { time: '1h', rate: 1000 } }, /at most 20000 rows/],
    ['time-series-classification', { ...mqtt, window, channels: [{ topic: 'a/#' }] }, /without wildcards/],
    ['time-series-classification', { ...mqtt, window, channels: [{ topic: 'a', path: '' }] }, /path/],
    ['time-series-classification', { ...lines, window, path: 'x' }, /either command or path/],
    ['time-series-classification', { ...lines, window, channels: [{}] }, /either column or path/],
    [
      'time-series-classification',
      { type: 'lines', path: 'x', channels: [{ column: 1 }], window: { time: '1s', rate: 2 } },
      /feed\.time: /,
    ],
  ];
  for (const [task, feed, message] of wrong)
    await assert.rejects(
      configured(folder, task, feed),
      (error) => isAppError(error, 'CONFIG_INVALID') && message.test(error.message),
      JSON.stringify(feed),
    );
});
