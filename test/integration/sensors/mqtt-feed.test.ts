import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OpenBroker, startOpenBroker } from '../../support/open-broker.ts';
import { eventually } from '../../support/programs.ts';
import { runFeed } from './feed-run.ts';

const MOTOR = 'zigbee2mqtt/motor';
const feedOf = ({ url }: OpenBroker, more: object = {}) => ({
  ...{ type: 'mqtt', url, window: { count: 3 } },
  channels: [
    { topic: MOTOR, path: 'x_axis' },
    { topic: MOTOR, path: 'y_axis', scale: 0.5, offset: 1 },
  ],
  ...more,
});
const said = (x: unknown, y: unknown) => JSON.stringify({ x_axis: x, y_axis: y, battery: 90 });

test('messages of zigbee2mqtt become windows, scaled by channel and named by topic and time', async (t) => {
  const broker = await startOpenBroker(t);
  const run = await runFeed(t, { feed: feedOf(broker) });
  await run.until(({ state }) => state === 'live', 'live');
  for (let n = 0; n < 3; n++) await broker.publish(MOTOR, said(n, 2 * n));
  await eventually(() => run.taken.length === 1, 'a window');
  for (let n = 3; n < 6; n++) await broker.publish(MOTOR, said(n, 2 * n));
  await eventually(() => run.taken.length === 2, 'another one');
  assert.deepEqual(run.values(), [
    [
      [0, 1],
      [1, 2],
      [2, 3],
    ],
    [
      [3, 4],
      [4, 5],
      [5, 6],
    ],
  ]);
  assert.match(run.taken[0]?.label ?? '', /^zigbee2mqtt\/motor, \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, \d+\.\d s$/);
  assert.deepEqual(await run.dropped(), {});
});

test('Tasmota says the time, Home Assistant’s statestream bare states; several topics are joined on time', async (t) => {
  const broker = await startOpenBroker(t);
  const tasmota = { topic: 'tele/plug/SENSOR', path: 'DHT11.Temperature' };
  const first = await runFeed(t, {
    feed: { type: 'mqtt', url: broker.url, channels: [tasmota], time: 'Time', window: { count: 2 } },
  });
  const states = ['state', 'power'].map((name) => ({ topic: `homeassistant/switch/pump/${name}` }));
  const second = await runFeed(t, {
    feed: { type: 'mqtt', url: broker.url, channels: states, window: { count: 2 }, join: '60s' },
  });
  for (const run of [first, second]) await run.until(({ state }) => state === 'live', 'live');
  const at = Date.now();
  for (const n of [0, 1]) {
    // Without a zone, as Tasmota has it: this machine's.
    const local = new Date(at + n * 10_000 - new Date().getTimezoneOffset() * 60_000)
      .toISOString()
      .slice(0, 19);
    await broker.publish('tele/plug/SENSOR', JSON.stringify({ Time: local, DHT11: { Temperature: 20 + n } }));
    await broker.publish('homeassistant/switch/pump/state', n === 0 ? 'on' : 'off');
    await broker.publish('homeassistant/switch/pump/power', `${n}.25`);
  }
  await eventually(() => first.taken.length === 1 && second.taken.length === 1, 'a window each');
  assert.deepEqual(first.values(), [[[20], [21]]]);
  assert.match(first.taken[0]?.label ?? '', /, 10\.0 s$/);
  assert.deepEqual(second.values(), [
    [
      [1, 0.25],
      [0, 1.25],
    ],
  ]);
});

test('windows by time say their rate', async (t) => {
  const broker = await startOpenBroker(t);
  const channels = [{ topic: 'a', path: 'v' }];
  const window = { time: '2s', hop: '1s', rate: 2 };
  const run = await runFeed(t, {
    feed: { type: 'mqtt', url: broker.url, channels, window, time: 't', missing: 'linear' },
  });
  await run.until(({ state }) => state === 'live', 'live');
  const start = Math.floor(Date.now() / 1_000);
  for (let n = 0; n <= 2; n++) await broker.publish('a', JSON.stringify({ v: n * 10, t: start + n }));
  await eventually(() => run.taken.length === 1, 'a window');
  assert.deepEqual(JSON.parse(run.texts()[0] ?? ''), { values: [[0], [5], [10], [15]], rate: 2 });
});

test('whatever is no sample is passed over and counted by its reason, and the next window is whole', async (t) => {
  const broker = await startOpenBroker(t);
  await broker.publish(MOTOR, said(99, 99), true);
  const run = await runFeed(t, { feed: feedOf(broker, { time: 'at' }) });
  await run.until(({ state }) => state === 'live', 'live');
  const now = Date.now();
  const at = (ms: unknown, x: unknown = 1) => JSON.stringify({ x_axis: x, y_axis: 2, at: ms });
  const bad = [
    ...['{"x_axis": NaN}', 'not json', '', '{"x_axis": "warm", "y_axis": "cold", "at": 1e9}'],
    ...[at('1970-01-01T00:00:05Z'), at('2100-01-01T00:00:00Z'), at('soon'), at(undefined)],
    JSON.stringify({ x_axis: 'warm', y_axis: 'cold', at: now - 1 }),
    `{"at": ${now}}`,
    `{"x_axis": 1e999, "at": ${now}}`,
    JSON.stringify({ x_axis: 1, at: now, padding: 'x'.repeat(10_000_000) }),
  ];
  for (const payload of bad) await broker.publish(MOTOR, payload);
  for (let n = 0; n < 3; n++) await broker.publish(MOTOR, at(now + n * 1_000, String(n)));
  await broker.publish(MOTOR, at(now + 2_000));
  await broker.publish(MOTOR, at(now + 500));
  await eventually(async () => ((await run.dropped()).late ?? 0) >= 4, 'late ones are counted');
  assert.equal(run.taken.length, 1);
  const { late: _late, ...dropped } = await run.dropped();
  assert.deepEqual(dropped, {
    retained: 1,
    'not-json': 3,
    'wrong-time': 3,
    'no-time': 2,
    'not-a-number': 3,
    'no-value': 1,
    'too-large': 1,
  });
  assert.equal(run.status().state, 'live');
  assert.ok(run.status().dropped >= 13);
});

test('while a pipeline is busy the newest window waits for it, and those before are counted', async (t) => {
  const broker = await startOpenBroker(t);
  let release = (): void => undefined;
  const busy = new Promise<void>((resolve) => {
    release = resolve;
  });
  const run = await runFeed(t, { feed: feedOf(broker, { window: { count: 1 } }), onItem: () => busy });
  await run.until(({ state }) => state === 'live', 'live');
  await broker.publish(MOTOR, said(0, 0));
  await eventually(() => run.taken.length === 1, 'the pipeline is busy');
  for (let n = 1; n < 6; n++) await broker.publish(MOTOR, said(n, 0));
  await eventually(async () => (await run.dropped()).newer === 4, 'four are passed over');
  release();
  await eventually(() => run.taken.length === 2, 'the first and the newest');
  assert.deepEqual(
    run.values().map(([[x]]) => x),
    [0, 5],
  );
});

test('a broker that is away at the start, killed and back needs nobody: the state says it meanwhile', async (t) => {
  const broker = await startOpenBroker(t);
  await broker.stop();
  const run = await runFeed(t, { feed: feedOf(broker) });
  await run.until(({ state }) => state === 'failed', 'failed');
  assert.equal(run.status().reason?.code, 'BROKER_UNREACHABLE');
  await broker.start();
  await run.until(({ state }) => state === 'live', 'live');
  await broker.publish(MOTOR, said(1, 1));
  await broker.stop();
  await run.until(({ state }) => state === 'failed', 'failed again');
  assert.match(run.status().reason?.message ?? '', /broker/);
  await broker.start();
  await run.until(({ state }) => state === 'live', 'live again');
  for (const n of [2, 3]) await broker.publish(MOTOR, said(n, n));
  await eventually(() => run.taken.length === 1, 'the window goes on over the break');
  assert.deepEqual(
    run.values()[0].map(([x]: number[]) => x),
    [1, 2, 3],
  );
});

test('a wrong password and a topic that may not be read are said, and the password never', async (t) => {
  const broker = await startOpenBroker(t, { password: 'right', refused: MOTOR });
  const url = broker.url.replace('//', '//watch:s3cret-word@');
  const wrong = await runFeed(t, { feed: feedOf({ ...broker, url }) });
  await wrong.until(({ state }) => state === 'failed', 'failed');
  assert.equal(wrong.status().reason?.code, 'LINK_REFUSED');
  const refused = await runFeed(t, { feed: feedOf(broker, { username: 'watch', password: 'right' }) });
  await refused.until(({ reason }) => reason?.code === 'LINK_REFUSED', 'refused');
  for (const run of [wrong, refused]) {
    const all = JSON.stringify([run.status(), run.logger.lines]);
    assert.doesNotMatch(all, /s3cret-word/);
  }
});

test('a silent sensor is stalled, with what was wrong with the last message, until it speaks again', async (t) => {
  const broker = await startOpenBroker(t);
  const run = await runFeed(t, { feed: feedOf(broker, { stalledAfter: '300ms' }) });
  await run.until(({ state }) => state === 'live', 'live');
  await broker.publish(MOTOR, '{"x": 1}');
  await run.until(({ state }) => state === 'stalled', 'stalled');
  assert.deepEqual(run.status().reason, {
    code: 'FEED_SILENT',
    message:
      'no number of zigbee2mqtt/motor x_axis and 1 more for 0.3 s; of what came last nothing stood there',
  });
  await eventually(async () => {
    await broker.publish(MOTOR, said(1, 2));
    return run.status().state === 'live';
  }, 'live again');
});

test('for a task of texts each message is an input, or a part of it, of topics with wildcards, too', async (t) => {
  const broker = await startOpenBroker(t);
  const channels = [{ topic: 'notes/+' }, { topic: 'chat/#', path: 'message.text' }];
  const run = await runFeed(t, {
    ...{ task: 'text-classification', feed: { type: 'mqtt', url: broker.url, channels } },
  });
  await run.until(({ state }) => state === 'live', 'live');
  await broker.publish('notes/kitchen', 'The soup is fine.');
  await broker.publish('notes/kitchen/deep', 'not this one');
  await broker.publish('chat/a/b', JSON.stringify({ message: { text: 'Grüße' } }));
  await broker.publish('chat/a/b', '{}');
  await broker.publish('notes/hall', '');
  await eventually(
    async () => run.taken.length === 2 && (await run.dropped())['no-value'] === 2,
    'two inputs',
  );
  assert.deepEqual(run.texts(), ['The soup is fine.', 'Grüße']);
  assert.deepEqual(
    run.taken.map(({ label }) => label),
    ['notes/kitchen', 'chat/a/b'],
  );
});
