/** What becomes of a secret that has been renewed or revoked: on both faces of a hub, by connections as a thief of it would make them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceTopics } from '../../shared/contract/topics.ts';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import { newSecret } from '../../shared/runtime/ids.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { startHubProgram } from '../support/hub-program.ts';
import { until } from '../support/link-contract.ts';

test('a renewed secret ends the old one, and a revocation both, at the broker and over HTTP at once', async (t) => {
  const hub = await startHubProgram(t);
  const post = (path: string, bearer: string, body?: object) =>
    fetch(`${hub.url}/api/v1/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
  const made = (await (await post('enrollment-tokens', hub.key, {})).json()) as { token: string };
  const [old, next] = [newSecret(), newSecret()];
  const enrolled = await post('enroll', '', { token: made.token, deviceId: 'gate-01', secret: old });
  const { mqttUrl } = (await enrolled.json()) as { mqttUrl: string };

  const connect = async (password: string) => {
    const account = { clientId: 'gate-01', username: 'gate-01', password };
    const link = await connectMqtt({ url: mqttUrl, ...account, logger: silentLogger, random: () => 0 });
    t.after(() => link.end());
    let isRefused = false;
    link.onRefused(() => {
      isRefused = true;
    });
    return { link, isRefused: () => isRefused };
  };
  const overHttp = async (secret: string): Promise<number> => {
    const response = await fetch(`${hub.url}/tuf/metadata/timestamp.json`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    return response.status;
  };

  const thief = await connect(old);
  await until(() => thief.link.connected);
  assert.notEqual(await overHttp(old), 401);
  assert.equal((await post('devices/self/credential', old, { secret: next })).status, 200);
  // The device shows its new one, once: that it has it is the end of the old one.
  assert.equal((await post('devices/self/credential', next, { secret: next })).status, 200);
  assert.equal(await overHttp(old), 401);
  assert.equal((await post('devices/self/credential', old, { secret: newSecret() })).status, 401);
  await until(() => !thief.link.connected && thief.isRefused());

  const device = await connect(next);
  await until(() => device.link.connected);
  await device.link.publish(deviceTopics('gate-01').telemetry, '{}', { qos: 1 });
  const revoked = await fetch(`${hub.url}/api/v1/devices/gate-01`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${hub.key}` },
  });
  assert.ok(revoked.ok);
  for (const secret of [old, next]) assert.equal(await overHttp(secret), 401);
  await until(() => !device.link.connected && device.isRefused());
});
