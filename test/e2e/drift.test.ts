import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { HubClient } from '../../cli/hub-client.ts';
import { deviceList } from '../../shared/contract/admin.ts';
import { agreementOf, startDriftingDevice } from '../support/drifting.ts';
import { eventually, outrider } from '../support/programs.ts';

const PROMISED = 0.95;
const SHARP = 900;
const MOST_BLURRED = 1_500;

test('the promise holds on a stream whose pictures blur from the middle on: an alarm is raised, told, and everything asked again', async (t) => {
  const device = await startDriftingDevice(
    t,
    `{ agreement: ${PROMISED}, start: learn, deadline: 10s, captures: {} }`,
  );
  const { stream, evidence } = device;
  await stream.ask('sharp', SHARP);
  const learned = await evidence();
  assert.deepEqual([learned.basis, learned.alarms], ['evidence', 0]);
  const reasons = new Set(stream.answers.map(({ reason }) => reason));
  for (const reason of ['learning', 'confident', 'uncertain']) assert.ok(reasons.has(reason), reason);
  const before = agreementOf(stream.answers);

  await stream.ask('blurred', MOST_BLURRED, async () => (await evidence()).alarms > 0);
  const { alarms, lastAlarm, basis } = await evidence();
  const after = stream.answers.length - SHARP;
  t.diagnostic(
    `agreement ${before.toFixed(3)} before, ${agreementOf(stream.answers).toFixed(3)} in all; ${lastAlarm?.kind} after ${after} blurred pictures`,
  );
  assert.deepEqual([alarms, basis], [1, 'drift'], `no alarm after ${after} blurred pictures`);
  await stream.ask('blurred', 100);
  assert.ok(before >= PROMISED, `before the drift: ${before}`);
  assert.ok(stream.answers.slice(-100).every(({ reason }) => reason === 'drift'));
  assert.ok(agreementOf(stream.answers) >= PROMISED, `in all: ${agreementOf(stream.answers)}`);

  const client = await HubClient.find({ hub: device.hub, data: device.data });
  await eventually(async () => {
    const { devices } = await client.get('/api/v1/devices', deviceList);
    const told = devices[0]?.reported?.pipelines[0]?.route?.lastAlarm;
    return told !== undefined && told?.atMs === lastAlarm?.atMs;
  }, 'the hub was not told of the alarm');

  const captures = join(device.data, 'agent', 'captures', 'vision.ndjson');
  const simulated = outrider(t, ['route', 'simulate', captures, '--in-order', '--agreement', '0.95']);
  assert.equal((await simulated.exited).code, 0, simulated.output());
  assert.match(simulated.output(), /oracle threshold/);
  const listed = outrider(t, ['route', 'ls', '--hub', device.hub, '--data', device.data]);
  assert.equal((await listed.exited).code, 0, listed.output());
  assert.match(listed.output(), /drift: asks about all again/);
});
