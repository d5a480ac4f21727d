import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configFile } from '../../../agent/config/config-file.ts';
import { connectionsOf } from '../../../agent/wiring/connections.ts';
import { hostOf } from '../../../shared/runtime/host-of.ts';

test('every connection that a configuration makes is told, and nothing secret of it', () => {
  const { pipelines } = configFile.parse({
    pipelines: [
      {
        ...{ name: 'gate', task: 'image-classification', edge: 'a', cloud: 'b' },
        feed: {
          type: 'camera',
          url: 'rtsp://me:SECRET@10.0.0.7/main?SECRET',
          sub: 'rtsps://me:SECRET@10.0.0.7/sub',
        },
        sinks: [
          {
            type: 'mqtt',
            url: 'mqtt://me:SECRET@10.0.0.2',
            topic: 'home/gate',
            password: 'SECRET',
            discovery: 'homeassistant',
          },
          { type: 'webhook', url: 'https://hooks.example.com/SECRET?SECRET', picture: true },
          { type: 'snapshots', path: 'shots' },
          { type: 'file', path: 'a.ndjson' },
        ],
      },
      { name: 'door', task: 'image-classification', edge: 'a', feed: { type: 'camera', url: '/dev/video0' } },
      {
        ...{ name: 'notes', task: 'text-classification', edge: 'c' },
        feed: {
          type: 'mqtt',
          url: 'mqtts://broker.example.com',
          password: 'SECRET',
          channels: [{ topic: 'notes' }],
        },
      },
    ],
  });
  const told = connectionsOf(
    { hubUrl: 'https://hub.example.com:8443', mqttUrl: undefined, pipelines },
    'mqtts://hub.example.com',
  );
  assert.deepEqual(
    told.map(({ purpose, to, isEncrypted, pipeline }) => [purpose, to, isEncrypted, pipeline]),
    [
      ['hub', 'hub.example.com:8443', true, null],
      ['broker', 'hub.example.com:8883', true, null],
      ['camera', '10.0.0.7:322', true, 'gate'],
      ['mqtt', '10.0.0.2:1883', false, 'gate'],
      ['home-assistant', '10.0.0.2:1883', false, 'gate'],
      ['webhook', 'hooks.example.com:443', true, 'gate'],
      ['sensors', 'broker.example.com:8883', true, 'notes'],
    ],
  );
  assert.doesNotMatch(JSON.stringify(told), /SECRET|me:/);
  assert.deepEqual(connectionsOf({ hubUrl: undefined, mqttUrl: undefined, pipelines: [] }, undefined), []);
  const [, unknown] = connectionsOf(
    { hubUrl: 'http://127.0.0.1:8080', mqttUrl: undefined, pipelines: [] },
    undefined,
  );
  assert.deepEqual([unknown?.purpose, unknown?.to], ['broker', null]);
});

test('of an address host and port are shown', () => {
  assert.equal(hostOf('srt://10.0.0.1:9000?passphrase=SECRET'), '10.0.0.1:9000');
  assert.equal(hostOf('mqtt://[::1]'), '[::1]:1883');
  assert.equal(hostOf('srt://10.0.0.1'), '10.0.0.1');
  assert.equal(hostOf('SECRET'), '?');
});
