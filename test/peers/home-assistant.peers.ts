/** The agent as a user starts it, Mosquitto, and the real Home Assistant, read back by its own REST API. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { type Entity, startHomeAssistant } from '../support/home-assistant.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider } from '../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../models', import.meta.url));
const PATIENCE_MS = 120_000;

/** Mosquitto that takes anybody on loopback. @returns its port */
async function homeBroker(t: TestContext): Promise<number> {
  const port = await freePort();
  const conf = join(await temporaryFolder(t), 'mosquitto.conf');
  await writeFile(conf, `listener ${port} 127.0.0.1\nallow_anonymous true\n`);
  const child = spawn('mosquitto', ['-c', conf], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
    stdio: 'ignore',
  });
  t.after(() => child.kill('SIGTERM'));
  return port;
}

test('entities appear by themselves, follow the device, and go with the pipeline', {
  timeout: 1_800_000,
}, async (t) => {
  const broker = await homeBroker(t);
  const home = await startHomeAssistant(t, broker);
  const folder = await temporaryFolder(t);
  const port = await freePort();
  const mqtt = `type: mqtt, url: "mqtt://127.0.0.1:${broker}"`;
  const startAgent = async (...pipelines: readonly string[]) => {
    await writeFile(
      join(folder, 'outrider.yaml'),
      `pipelines:\n${pipelines.map((one) => `  - ${one}\n`).join('')}`,
    );
    const agent = outrider(t, [
      ...['agent', '--config', join(folder, 'outrider.yaml'), '--data', join(folder, 'data')],
      ...['--models', MODELS, '--device', 'gate-01', '--agent-port', String(port)],
    ]);
    await agent.says('agent gate-01:');
    return agent;
  };
  const ours = async (): Promise<Map<string, Entity>> =>
    new Map(
      (await home.entities())
        .filter(({ entity_id }) => entity_id.includes('gate_01'))
        .map((entity) => [entity.entity_id, entity]),
    );
  const stateOf = async (id: string): Promise<string | undefined> => (await ours()).get(id)?.state;
  const until = (what: () => Promise<boolean>, why: string) =>
    eventually(what, () => `${why}: ${home.log().slice(-2_000)}`, PATIENCE_MS);

  const vision = `{ name: vision, task: image-classification, edge: cifar10-cnn, feed: { type: folder, path: ${join(MODELS, 'demo', 'pictures')}, repeat: { pace: 1s } }, sinks: [{ ${mqtt}, topic: home/vision, discovery: homeassistant }] }`;
  const words = `{ name: words, task: text-classification, edge: sst2-lstm, feed: { type: text-lines, path: ${join(MODELS, 'demo', 'sentences.txt')}, repeat: { pace: 1s } }, sinks: [{ ${mqtt}, topic: home/words, discovery: homeassistant }] }`;
  const first = await startAgent(vision, words);
  const expected = [
    ...['binary_sensor.gate_01_hub_link', 'image.gate_01_vision_picture', 'sensor.gate_01_outbox'],
    ...['sensor.gate_01_vision_feed', 'sensor.gate_01_vision_label', 'sensor.gate_01_vision_score'],
    ...['sensor.gate_01_vision_source', 'sensor.gate_01_words_feed', 'sensor.gate_01_words_label'],
    ...['sensor.gate_01_words_score', 'sensor.gate_01_words_source'],
    ...['update.gate_01_model_cifar10_cnn', 'update.gate_01_model_sst2_lstm'],
  ];
  await until(async () => (await ours()).size >= expected.length, 'not all entities appeared');
  assert.deepEqual([...(await ours()).keys()].sort(), expected);
  await until(
    async () => /^[a-z]+$/.test((await stateOf('sensor.gate_01_vision_label')) ?? ''),
    'no label was shown',
  );
  await until(
    async () =>
      !['unknown', 'unavailable'].includes((await stateOf('image.gate_01_vision_picture')) ?? 'unknown'),
    'no picture was shown',
  );
  const shown = await ours();
  const score = Number(shown.get('sensor.gate_01_vision_score')?.state);
  assert.ok(score > 0 && score <= 100, String(score));
  assert.equal(shown.get('sensor.gate_01_vision_source')?.state, 'edge');
  assert.equal(shown.get('binary_sensor.gate_01_hub_link')?.state, 'off');
  assert.equal(shown.get('update.gate_01_model_cifar10_cnn')?.state, 'off');
  assert.equal(shown.get('update.gate_01_model_cifar10_cnn')?.attributes.installed_version, '0');
  const picture = await home.get(
    String(shown.get('image.gate_01_vision_picture')?.attributes.entity_picture),
  );
  assert.equal(picture.headers.get('content-type'), 'image/jpeg');
  assert.equal(Buffer.from(await picture.arrayBuffer()).readUInt16BE(0), 0xffd8);

  // Its last will, and its birth.
  first.process.kill('SIGKILL');
  await until(
    async () => (await stateOf('sensor.gate_01_vision_label')) === 'unavailable',
    'a crash was not seen',
  );
  const second = await startAgent(vision);
  await until(
    async () => (await stateOf('sensor.gate_01_vision_label')) !== 'unavailable',
    'it did not come back',
  );
  await until(
    async () => ![...(await ours()).keys()].some((id) => id.includes('words') || id.includes('sst2')),
    'entities of a pipeline that is gone are still there',
  );

  // A restart there: it is told again, and knows the states at once.
  await home.stop();
  await home.start();
  await until(
    async () => /^[a-z]+$/.test((await stateOf('sensor.gate_01_vision_label')) ?? ''),
    'a restart has lost the entities',
  );

  // What the tests of CI hold ours against.
  const golden = JSON.parse(await readFile('test/fixtures/home-assistant/messages.json', 'utf8')) as {
    discovery: object;
    states: Record<string, object>;
  };
  const connection = await connectMqtt({
    ...{
      url: `mqtt://127.0.0.1:${broker}`,
      clientId: 'golden',
      username: '',
      password: '',
      logger: silentLogger,
    },
  });
  t.after(() => connection.end());
  await new Promise<void>((resolve) => connection.onConnect(resolve));
  second.process.kill('SIGTERM');
  assert.equal((await second.exited).code, 0);
  const say = (topic: string, value: object | string) =>
    connection.publish(topic, typeof value === 'string' ? value : JSON.stringify(value), {
      qos: 1,
      retain: true,
    });
  await say('homeassistant/device/outrider_gate-01/config', golden.discovery);
  await say('outrider/ha/gate-01/availability', 'online');
  const label = (): Promise<string | undefined> => stateOf('sensor.gate_01_vision_label');
  for (const [name, wanted] of [
    ['classification', 'cat'],
    ['detection', 'person'],
  ] as const) {
    await say('outrider/ha/gate-01/pipeline/vision/state', golden.states[name] ?? {});
    await until(async () => (await label()) === wanted, `the state ${name} was not taken`);
  }
  await say('outrider/ha/gate-01/pipeline/text/state', golden.states.text ?? {});
  await until(async () => (await stateOf('sensor.gate_01_text_answer')) === 'hello', 'a text was not taken');
  await say('outrider/ha/gate-01/model/cifar10-cnn', golden.states.model ?? {});
  await until(
    async () => (await stateOf('update.gate_01_model_cifar10_cnn')) === 'on',
    'an update was not offered',
  );
  const asked = new Promise<string>((resolve) =>
    connection.onMessage(
      (topic, payload) => topic.endsWith('/install') && resolve(Buffer.from(payload).toString()),
    ),
  );
  await connection.subscribe(['outrider/ha/gate-01/model/cifar10-cnn/install']);
  assert.equal(await home.call('update/install', { entity_id: 'update.gate_01_model_cifar10_cnn' }), 200);
  assert.equal(await asked, 'install');
  assert.doesNotMatch(home.log(), /mqtt.*(Schema violation|Error|invalid)/i);
  await say('homeassistant/device/outrider_gate-01/config', '');
  await until(async () => (await ours()).size === 0, 'the device is still there');
});
