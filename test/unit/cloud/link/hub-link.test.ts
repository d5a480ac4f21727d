import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubLink } from '../../../../cloud/link/hub-link.ts';
import { hubPresence } from '../../../../shared/contract/messages.ts';
import { deviceTopics, hubFilters, hubTopics } from '../../../../shared/contract/topics.ts';
import type { LastWill } from '../../../../shared/mqtt/session.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { MemoryMqtt } from '../../../support/memory-mqtt.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const PRESENCE = hubTopics('hub-1').presence;
const gate = deviceTopics('gate-01');

function setUp() {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const mqtt = new MemoryMqtt();
  const wills: LastWill[] = [];
  const heard: unknown[] = [];
  const requests: [string, string][] = [];
  const link = new HubLink({
    hubId: 'hub-1',
    instance: 'run-1',
    connect: async (will) => {
      wills.push(will);
      return mqtt;
    },
    devices: {
      isActive: () => true,
      seen: (id, presence) => heard.push([id, presence]),
      reported: (id, state) => heard.push([id, state]),
      counted: (id, counters) => heard.push([id, counters]),
      answered: (id, result) => heard.push([id, result]),
      inputShared: () => assert.fail('that is the intake’s'),
    },
    clock,
    logger,
  });
  link.onRequest((device, frame) => requests.push([device, Buffer.from(frame).toString()]));
  const start = async (): Promise<void> => {
    await link.start();
    mqtt.connect();
    await settle();
  };
  const said = () => mqtt.on(PRESENCE).map((text) => hubPresence.parse(JSON.parse(text)).online);
  return { clock, logger, mqtt, wills, heard, requests, link, start, said };
}

test('says at each connect that it is there, and leaves a last will that says the opposite', async () => {
  const { start, mqtt, wills, said, link } = setUp();
  await start();
  assert.deepEqual([wills[0]?.topic, wills[0]?.retain], [PRESENCE, true]);
  assert.equal(hubPresence.parse(JSON.parse(String(wills[0]?.payload))).online, false);
  assert.deepEqual(
    [...mqtt.filters].sort(),
    [
      hubFilters.infer,
      hubFilters.presence,
      hubFilters.reported,
      hubFilters.results,
      hubFilters.telemetry,
      hubTopics('hub-1').chunkFilter,
    ].sort(),
  );
  assert.equal(link.connected, true);
  mqtt.disconnect();
  assert.equal(link.connected, false);
  mqtt.connect();
  await settle();
  assert.deepEqual(said(), [true, true]);
  assert.ok(mqtt.published.every(({ qos, retain }) => qos === 1 && retain === true));
});

test('takes the device from the topic, and nothing from topics that are none of ours', async () => {
  const { start, mqtt, requests } = setUp();
  await start();
  mqtt.receive(gate.infer, 'frame');
  mqtt.receive(deviceTopics('gate+02').infer, 'frame');
  mqtt.receive('outrider/v2/devices/gate-01/infer', 'frame');
  assert.deepEqual(requests, [['gate-01', 'frame']]);
});

test('hears presence and state of devices; what is no such message is told and passed over', async () => {
  const { start, mqtt, heard, logger } = setUp();
  await start();
  const presence = { online: true, sinceAtMs: 1, agentVersion: '1.0.0' };
  const state = { agentVersion: '1.0.0', pipelines: [] };
  mqtt.receive(gate.presence, JSON.stringify({ ...presence, ofANewerAgent: 1 }));
  mqtt.receive(gate.reported, JSON.stringify(state));
  assert.deepEqual(heard, [
    ['gate-01', presence],
    ['gate-01', state],
  ]);
  mqtt.receive(gate.presence, 'no JSON');
  mqtt.receive(gate.reported, JSON.stringify({ pipelines: 1 }));
  assert.deepEqual(
    logger.lines.filter(({ event }) => event === 'link.bad_state').map(({ level }) => level),
    ['warn', 'warn'],
  );
  // Empty clears a retained message; a huge one is nobody's.
  mqtt.receive(gate.presence, '');
  mqtt.receive(gate.reported, JSON.stringify({ ...state, agentVersion: 'x'.repeat(70_000) }));
  assert.equal(heard.length, 2);
  // Of the agent after the next; one that is no list says nothing, and takes nothing else with it.
  for (const deltaKinds of [['steps', 'later'], 'steps'])
    mqtt.receive(gate.reported, JSON.stringify({ ...state, deltaKinds }));
  assert.deepEqual(heard.slice(2), [
    ['gate-01', { ...state, deltaKinds: ['steps', 'later'] }],
    ['gate-01', { ...state, deltaKinds: undefined }],
  ]);
});

test('hears what devices have answered, by their topic; what is no result, or too large, is passed over', async () => {
  const { start, mqtt, heard } = setUp();
  await start();
  const failed = {
    id: newId(),
    pipeline: 'vision',
    error: { code: 'IMAGE_CORRUPT', message: 'why' },
    input: null,
    atMs: 1,
  };
  mqtt.receive(gate.results, JSON.stringify(failed));
  mqtt.receive(gate.results, JSON.stringify({ ...failed, id: 'no id' }));
  mqtt.receive(gate.results, JSON.stringify({ ...failed, input: 'x'.repeat(64 * 1024) }));
  assert.deepEqual(heard, [['gate-01', failed]]);
});

test('replies on the device’s own topic, and says when it cannot', async () => {
  const { start, link, mqtt } = setUp();
  const unreachable = (error: unknown): boolean => isAppError(error, 'BROKER_UNREACHABLE');
  await assert.rejects(link.reply('gate-01', Buffer.from('x')), unreachable);
  await start();
  await link.reply('gate-01', Buffer.from('x'));
  const { topic, qos, retain } = mqtt.published.at(-1)!;
  assert.deepEqual([topic, qos, retain], [gate.reply, 1, undefined]);
  mqtt.disconnect();
  await assert.rejects(link.reply('gate-01', Buffer.from('x')), unreachable);
});

test('says goodbye before it goes, so that devices stop sending', async () => {
  const { start, link, mqtt, said } = setUp();
  await start();
  await link.sayGoodbye();
  assert.deepEqual(said(), [true, false]);
  assert.equal(mqtt.connected, true, 'answers still go out');
  await link.stop();
  assert.equal(mqtt.ended, true);
  assert.equal(said().at(-1), false);
});

test('goes also when the broker acknowledges nothing any more', async () => {
  const { start, link, mqtt, clock } = setUp();
  await start();
  mqtt.acknowledges = false;
  let gone = false;
  const going = link
    .sayGoodbye()
    .then(() => link.stop())
    .then(() => {
      gone = true;
    });
  await clock.advance(5_000);
  assert.ok(gone, 'it waits for a broker that is silent');
  await going;
});

test('what a device is to know is told once there is a broker, the newest only, and kept there for it', async () => {
  const { link, mqtt, start } = setUp();
  const wanted = (version: number) => ({ version, cloudModels: [], models: [] });
  link.want('gate-01', wanted(1));
  link.want('gate-01', wanted(2));
  await start();
  await settle();
  const topic = deviceTopics('gate-01').desired;
  assert.deepEqual(mqtt.on(topic), [JSON.stringify(wanted(2))]);
  assert.equal(mqtt.published.find((one) => one.topic === topic)?.retain, true);
  mqtt.disconnect();
  link.want('gate-01', wanted(3));
  mqtt.connect();
  await settle();
  assert.deepEqual(mqtt.on(topic).at(-1), JSON.stringify(wanted(3)));
});

test('takes back what the broker keeps where nothing is kept, once there is a link, and takes none of it for a request', async () => {
  const { link, mqtt, requests, heard } = setUp();
  await link.start();
  const chunk = hubTopics('hub-1').chunk('gate-01');
  const taken = () =>
    mqtt.published.filter(({ retain, payload }) => retain && payload.length === 0).map(({ topic }) => topic);
  mqtt.connect();
  mqtt.receive(gate.infer, 'old', true);
  mqtt.receive(chunk, 'old', true);
  mqtt.receive(gate.telemetry, '{}', true);
  mqtt.receive(gate.reported, 'x'.repeat(70_000), true);
  mqtt.receive(gate.presence, JSON.stringify({ online: true, sinceAtMs: 1, agentVersion: '1.0.0' }), true);
  await settle();
  assert.deepEqual(taken(), [gate.infer, chunk, gate.telemetry, gate.reported]);
  assert.deepEqual(requests, []);
  assert.equal(heard.length, 1, 'a presence is kept, and heard');
  // Its own taking back comes to the hub as well, and is nothing.
  mqtt.receive(gate.infer, '', true);
  assert.equal(taken().length, 4);
  // The next is another; one that waits for its acknowledgement is not said twice.
  mqtt.acknowledges = false;
  mqtt.receive(gate.infer, 'again', true);
  mqtt.receive(gate.infer, 'and again', true);
  assert.equal(taken().length, 5);
});

test('takes back all that is kept of a device that is gone, and tells one of its name anew', async () => {
  const { start, link, mqtt } = setUp();
  await start();
  const wanted = { version: 1, models: [] } as unknown as Parameters<HubLink['want']>[1];
  link.want('gate-01', wanted);
  link.forget('gate-01');
  link.want('gate-01', wanted);
  await settle();
  assert.deepEqual(mqtt.on(gate.desired).filter(Boolean).length, 2);
  for (const topic of [gate.desired, gate.reported, gate.presence])
    assert.ok(mqtt.on(topic).includes(''), topic);
});

test('throws away what a device sends over its bound, and says so once in a while', async () => {
  const { start, mqtt, requests, logger, clock } = setUp();
  await start();
  for (let i = 0; i < 12_000; i++) mqtt.receive(gate.infer, 'x');
  mqtt.receive(deviceTopics('gate-02').infer, 'of another');
  assert.equal(requests.length, 10_001);
  assert.equal(logger.lines.filter(({ event }) => event === 'link.flooded').length, 1);
  await clock.advance(1_000);
  mqtt.receive(gate.infer, 'x');
  assert.equal(requests.length, 10_002);
});
