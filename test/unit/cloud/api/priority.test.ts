/** How urgent a request is, and how its model is served, as they come over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asker, startHubApi } from '../../../support/hub-api.ts';

const BACKGROUND = { 'outrider-priority': 'background' };

test('every face takes the priority of a request by one header, and refuses what is none', async (t) => {
  const hub = await startHubApi();
  t.after(() => hub.stop());
  const ask = asker(hub);
  const elements = { name: 'text', datatype: 'BYTES', shape: [1], data: ['a fine film'] };
  const faces = [
    ['/hf/models/texts', { inputs: 'a fine film' }],
    ['/v2/models/texts/infer', { inputs: [elements] }],
  ] as const;
  for (const [path, json] of faces) {
    const headers = { 'content-type': 'application/json' };
    assert.equal((await ask('POST', path, { json, headers })).status, 200);
    assert.equal(hub.asked.at(-1)?.priority, 'interactive');
    assert.equal((await ask('POST', path, { json, headers: { ...headers, ...BACKGROUND } })).status, 200);
    assert.equal(hub.asked.at(-1)?.priority, 'background');
    const refused = await ask('POST', path, { json, headers: { ...headers, 'outrider-priority': 'device' } });
    assert.equal(refused.status, 400);
    assert.match(await refused.text(), /Outrider-Priority: interactive or background/);
  }
});

test('how a model is served is changed as the rest of it, and shown with what it takes', async (t) => {
  const hub = await startHubApi();
  t.after(() => hub.stop());
  const ask = asker(hub);
  const before = await ask('GET', '/api/v1/models/texts');
  const shown = (await before.json()) as Record<string, unknown>;
  assert.deepEqual(
    [shown.keepLoaded, shown.maxQueue, shown.loaded, shown.memoryBytes],
    [false, null, true, 100e6],
  );
  const headers = { 'if-match': before.headers.get('etag') ?? '' };
  for (const json of [{ maxQueue: 0 }, { maxQueue: 1.5 }, { maxQueue: 1e6 }, { keepLoaded: 'yes' }]) {
    const refused = await ask('PATCH', '/api/v1/models/texts', { json, headers });
    assert.equal(refused.status, 400, JSON.stringify(json));
  }
  const json = { keepLoaded: true, maxQueue: 7 };
  const after = await ask('PATCH', '/api/v1/models/texts', { json, headers });
  const now = (await after.json()) as Record<string, unknown>;
  assert.deepEqual([after.status, now.keepLoaded, now.maxQueue], [200, true, 7]);
  const stale = await ask('PATCH', '/api/v1/models/texts', { json: { maxQueue: null }, headers });
  assert.equal(stale.status, 412);
});
