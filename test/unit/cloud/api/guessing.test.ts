import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asker, assertProblem, enrolDevice, startHubApi } from '../../../support/hub-api.ts';

test('wrong keys are slowed down by address, on every face; a key that is in use there goes on', async (t) => {
  const hub = await startHubApi();
  t.after(() => hub.stop());
  const ask = asker(hub);
  const secret = await enrolDevice(hub, 'gate-01');
  const from = '10.0.0.1';
  assert.equal((await ask('GET', '/api/v1/models', { from })).status, 200);
  const paths = ['/api/v1/models', '/v2', '/api/v1/devices/self', '/metrics', '/hf/models/texts'];
  for (let at = 0; at < 30; at++) {
    const { status } = await ask(at % paths.length === 4 ? 'POST' : 'GET', paths[at % paths.length] ?? '', {
      ...{ from, key: `guess-${at}` },
    });
    assert.equal(status, 401);
  }
  const refused = await ask('GET', '/api/v1/models', { from, key: 'guess' });
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  await assertProblem(refused, 429, 'RATE_LIMITED');
  assert.equal((await ask('GET', '/api/v1/devices/self', { from, key: secret })).status, 429);
  assert.equal((await ask('GET', '/api/v1/models', { from })).status, 200, 'the operator’s own goes on');
  assert.equal((await ask('GET', '/api/v1/models', { from: '10.0.0.2', key: 'guess' })).status, 401);
  assert.equal((await hub.app.request('/healthz')).status, 200);
});
