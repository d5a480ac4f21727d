import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAgentMetrics } from '../../../../../agent/metrics.ts';
import {
  componentsOf,
  discoveryMessage,
  type ShownDevice,
} from '../../../../../agent/sink/home-assistant/discovery.ts';
import { type DeviceFacts, HomeAssistant } from '../../../../../agent/sink/home-assistant/home-assistant.ts';
import { modelState, pipelineState } from '../../../../../agent/sink/home-assistant/state.ts';
import { SinkStates } from '../../../../../agent/sink/sink-states.ts';
import { FakeClock } from '../../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../../support/fixed.ts';
import { MemoryMqtt } from '../../../../support/memory-mqtt.ts';
import { recordingLogger } from '../../../../support/recording-logger.ts';
import { answerOf, boxesOf, failureOf } from '../../../../support/results.ts';

const vision = { name: 'vision', saysLabels: true, hasPictures: true, hasFeed: true, asksCloud: true };
const text = { name: 'text', saysLabels: false, hasPictures: false, hasFeed: false, asksCloud: false };
const DEVICE: ShownDevice = {
  ...{ id: 'gate-01', version: '1.2.3', page: 'http://10.0.0.7:8090', prefix: 'homeassistant' },
  ...{ pipelines: [vision], models: ['cifar10-cnn'] },
};
const CONFIG = 'homeassistant/device/outrider_gate-01/config';
const ROOT = 'outrider/ha/gate-01';
const MODEL = { name: 'cifar10-cnn', installed: '3', latest: '4', isUnderWay: false, summary: null };

async function setUp(
  t: TestContext,
  options: { readonly device?: ShownDevice; readonly memoryPath?: string } = {},
) {
  const memoryPath = options.memoryPath ?? join(await temporaryFolder(t), 'home-assistant.json');
  const connection = new MemoryMqtt();
  const clock = new FakeClock();
  const logger = recordingLogger();
  const states = new SinkStates({ clock, logger, metrics: createAgentMetrics() });
  const installs: string[] = [];
  const facts: { -readonly [Key in keyof DeviceFacts]: DeviceFacts[Key] } = {
    ...{ online: true, outbox: 3, feedOf: () => 'live', models: [MODEL] },
  };
  const device = options.device ?? DEVICE;
  const pictures: (Uint8Array | undefined)[] = [];
  const home = new HomeAssistant({
    ...{ device, connection, memoryPath, clock, logger, broker: 'mqtt://10.0.0.2' },
    facts: () => facts,
    onInstall: (model) => void installs.push(model),
  });
  const sinks = device.pipelines.map(({ name }) =>
    home.sink(name, {
      name: `homeassistant:${name}`,
      tell: states.add({ pipeline: name, name: `homeassistant:${name}`, type: 'homeassistant' }, () => 0),
      pictureOf: async () => pictures.shift(),
    }),
  );
  await home.start();
  /** Everything that is under way has been published. */
  const settle = () => clock.advance(0);
  const connect = async (): Promise<void> => {
    connection.connect();
    await settle();
  };
  const topics = (): string[] => connection.published.map(({ topic }) => topic);
  const last = (topic: string): unknown => {
    const found = connection.on(topic).at(-1);
    return found === undefined || found === '' ? found : JSON.parse(found);
  };
  return {
    home,
    connection,
    clock,
    logger,
    states,
    installs,
    facts,
    pictures,
    sinks,
    memoryPath,
    connect,
    settle,
    topics,
    last,
  };
}

/** What the real Home Assistant took in `npm run test:peers`. */
test('the messages are those that Home Assistant took', async () => {
  const golden = JSON.parse(await readFile('test/fixtures/home-assistant/messages.json', 'utf8')) as object;
  const device = { ...DEVICE, pipelines: [vision, text] };
  const detection = { ...boxesOf(['person', 0.9], ['car', 0.6]), id: '019de000-0000-7000-8000-000000000000' };
  assert.deepEqual(golden, {
    discovery: discoveryMessage(device, componentsOf(device), { old_label: 'sensor' }),
    states: {
      classification: pipelineState({ ...answerOf('cat'), id: detection.id }),
      detection: pipelineState(detection),
      text: pipelineState({
        ...answerOf('', 0, { task: 'text-generation', output: { generated_text: 'hello' } }),
        id: detection.id,
      }),
      model: modelState(MODEL),
      unknownModel: modelState({ ...MODEL, installed: null, latest: null }),
    },
  });
});

test('entities are announced before their states, their states before the device is available; all is retained', async (t) => {
  const { connect, connection, topics, last } = await setUp(t);
  await connect();
  assert.deepEqual(topics(), [
    CONFIG,
    ...[`${ROOT}/link`, `${ROOT}/outbox`, `${ROOT}/pipeline/vision/feed`, `${ROOT}/model/cifar10-cnn`],
    `${ROOT}/availability`,
  ]);
  assert.ok(connection.published.every(({ retain, qos }) => retain && qos === 1));
  assert.deepEqual(connection.published.at(-1)?.text, 'online');
  const { cmps } = last(CONFIG) as { cmps: Record<string, unknown> };
  assert.deepEqual(Object.keys(cmps).sort(), [
    ...[
      'link',
      'model_cifar10-cnn',
      'outbox',
      'vision_agreement',
      'vision_feed',
      'vision_label',
      'vision_picture',
    ],
    ...['vision_score', 'vision_source'],
  ]);
});

test('answers show, failures do not; what has not changed is not told again', async (t) => {
  const { connect, connection, sinks, clock, facts, last, topics, states } = await setUp(t);
  await connect();
  const before = topics().length;
  await sinks[0]?.put(answerOf('cat'));
  await sinks[0]?.put(failureOf());
  await clock.advance(10_000);
  assert.equal(topics().length, before + 1);
  const { label, score, agreement } = last(`${ROOT}/pipeline/vision/state`) as Record<string, unknown>;
  assert.deepEqual([label, score, agreement], ['cat', 90, 97]);
  facts.online = false;
  facts.outbox = 4;
  await clock.advance(2_000);
  assert.deepEqual(
    connection.published.slice(before + 1).map(({ text: told }) => told),
    ['offline', '4'],
  );
  assert.equal(states.of('vision')[0]?.delivered, 1);
});

test('one picture a second at most, and one that the broker does not take keeps nothing else back', async (t) => {
  const { connect, connection, sinks, pictures, clock } = await setUp(t);
  await connect();
  const picture = `${ROOT}/pipeline/vision/picture`;
  pictures.push(Uint8Array.of(1), Uint8Array.of(2), undefined);
  await sinks[0]?.put(answerOf('cat'));
  await sinks[0]?.put(answerOf('dog'));
  await clock.advance(1_000);
  await sinks[0]?.put(answerOf('cow'));
  await clock.advance(1_000);
  await sinks[0]?.put(answerOf('cow'));
  await clock.advance(0);
  const sent = connection.published.filter(({ topic }) => topic === picture);
  assert.deepEqual(
    sent.map(({ payload }) => [...payload]),
    [[1], [2]],
  );
});

test('while the broker is away only the newest is kept, and it is told as refusing', async (t) => {
  const { connect, connection, sinks, states, clock } = await setUp(t);
  for (const label of ['cat', 'dog', 'cow']) await sinks[0]?.put(answerOf(label));
  await clock.advance(5_000);
  assert.equal(states.of('vision')[0]?.state, 'refusing');
  await connect();
  const told = connection
    .on(`${ROOT}/pipeline/vision/state`)
    .map((one) => (JSON.parse(one) as { label: string }).label);
  assert.deepEqual(told, ['cow']);
  assert.equal(states.of('vision')[0]?.state, 'ready');
});

test('when Home Assistant starts, it is told all of it again', async (t) => {
  const { connect, connection, settle, topics } = await setUp(t);
  await connect();
  const first = topics();
  connection.receive('homeassistant/status', 'offline');
  connection.receive('homeassistant/status', 'online');
  await settle();
  assert.deepEqual(topics(), [...first, ...first]);
});

test('an install asks for the update of that model, and nothing else does', async (t) => {
  const { connect, connection, installs } = await setUp(t);
  await connect();
  connection.receive(`${ROOT}/model/cifar10-cnn/install`, 'whatever');
  connection.receive(`${ROOT}/model/other/install`, 'install');
  assert.deepEqual(installs, []);
  connection.receive(`${ROOT}/model/cifar10-cnn/install`, 'install');
  assert.deepEqual(installs, ['cifar10-cnn']);
});

test('entities of a pipeline that is gone are taken away, with what was retained of it', async (t) => {
  const first = await setUp(t, { device: { ...DEVICE, pipelines: [vision, text] } });
  await first.connect();
  await first.home.stop();
  assert.equal(first.connection.on(`${ROOT}/availability`).at(-1), 'offline');
  const second = await setUp(t, { memoryPath: first.memoryPath });
  await second.connect();
  const [gone, now] = second.connection
    .on(CONFIG)
    .map((one) => (JSON.parse(one) as { cmps: Record<string, object> }).cmps);
  assert.deepEqual(gone?.text_label, { p: 'sensor' });
  assert.equal(now?.text_label, undefined);
  assert.equal(second.last(`${ROOT}/pipeline/text/state`), '');
  // Known no more: a third start says it once.
  const third = await setUp(t, { memoryPath: first.memoryPath });
  await third.connect();
  assert.equal(third.connection.on(CONFIG).length, 1);
  assert.deepEqual(third.connection.on(`${ROOT}/pipeline/text/state`), []);
});

test('a device without such pipelines, and one of another name, are taken away as a whole', async (t) => {
  const first = await setUp(t);
  await first.connect();
  const renamed = await setUp(t, { memoryPath: first.memoryPath, device: { ...DEVICE, id: 'gate-02' } });
  await renamed.connect();
  assert.equal(renamed.last(CONFIG), '');
  assert.equal(renamed.last(`${ROOT}/pipeline/vision/feed`), '');
  const none = await setUp(t, {
    memoryPath: first.memoryPath,
    device: { ...DEVICE, id: 'gate-02', pipelines: [], models: [] },
  });
  await none.connect();
  assert.deepEqual(new Set(none.connection.published.map(({ text: told }) => told)), new Set(['']));
  assert.ok(none.topics().includes('homeassistant/device/outrider_gate-02/config'));
  assert.deepEqual((JSON.parse(await readFile(first.memoryPath, 'utf8')) as { devices: object }).devices, {});
});

test('a memory that cannot be read costs no entity', async (t) => {
  const { memoryPath } = await setUp(t);
  await writeFile(memoryPath, 'not json');
  const { connect, logger, topics } = await setUp(t, { memoryPath });
  await connect();
  assert.ok(topics().includes(CONFIG));
  assert.match(logger.failures().join(), /home_assistant\.memory_lost DATA_CORRUPT/);
});
