import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { loadConfig } from '../../../../cloud/config.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { signIn, startHubApi, type TestHubApi } from '../../../support/hub-api.ts';

const APP = 'https://app.example.com';

async function hubFor(t: TestContext, corsOrigins?: readonly string[]): Promise<TestHubApi> {
  const hub = await startHubApi(corsOrigins ? { corsOrigins } : {});
  t.after(() => hub.stop());
  return hub;
}

const preflight = (hub: TestHubApi, path: string, origin: string): Promise<Response> =>
  Promise.resolve(
    hub.app.request(path, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    }),
  );

test('without --cors no page of another origin is let in', async (t) => {
  const hub = await hubFor(t);
  const asked = await preflight(hub, '/hf/models/texts', APP);
  assert.equal(asked.status, 405);
  const headers = { origin: APP, authorization: `Bearer ${hub.inferKey}` };
  const answer = await hub.app.request('/hf/models/texts', { method: 'POST', body: 'a', headers });
  for (const response of [asked, answer])
    assert.ok(![...response.headers.keys()].some((name) => name.startsWith('access-control')));
});

test('a named origin passes the preflight on every face, without a key, and reads answers and failures', async (t) => {
  const hub = await hubFor(t, [APP, 'http://localhost:5173']);
  for (const path of [
    '/hf/models/texts',
    '/hf/models/org/pictures',
    '/v2/models/texts/infer',
    '/api/v1/keys',
  ]) {
    const { status, headers } = await preflight(hub, path, APP);
    assert.deepEqual([status, headers.get('access-control-allow-origin')], [204, APP], path);
    assert.match(headers.get('access-control-allow-headers') ?? '', /Authorization, Content-Type/);
    assert.match(headers.get('access-control-allow-methods') ?? '', /POST.*PATCH/);
    assert.match(headers.get('vary') ?? '', /Origin/);
    assert.equal(headers.get('access-control-allow-credentials'), null);
  }
  const ask = (key: string, origin: string, path = '/hf/models/texts') =>
    hub.app.request(path, {
      method: 'POST',
      body: 'a',
      headers: { origin, authorization: `Bearer ${key}` },
    });
  for (const [response, status] of [
    [await ask(hub.inferKey, APP), 200],
    [await ask(hub.inferKey, 'http://localhost:5173'), 200],
    [await ask('wrong', APP), 401],
    [await ask(hub.inferKey, APP, '/nothing/here'), 404],
  ] as const) {
    assert.equal(response.status, status);
    assert.ok(response.headers.get('access-control-allow-origin'));
    assert.match(response.headers.get('access-control-expose-headers') ?? '', /ETag.*X-Request-Id/);
  }
});

test('another origin is told nothing, and a wildcard is never joined by credentials', async (t) => {
  const hub = await hubFor(t, [APP]);
  for (const origin of [
    'https://evil.example',
    `${APP}.evil.example`,
    'null',
    `${APP}:8443`,
    'http://app.example.com',
  ]) {
    const { status, headers } = await preflight(hub, '/hf/models/texts', origin);
    assert.deepEqual([status, headers.get('access-control-allow-origin')], [405, null], origin);
    assert.match(headers.get('vary') ?? '', /Origin/, 'a cache keeps them apart');
  }
  const open = await hubFor(t, ['*']);
  const { headers } = await preflight(open, '/hf/models/texts', 'https://any.example');
  assert.equal(headers.get('access-control-allow-origin'), '*');
  assert.equal(headers.get('access-control-allow-credentials'), null);
  const cookie = await signIn(open);
  const read = await open.app.request('/api/v1/models', {
    headers: { cookie, origin: 'https://any.example' },
  });
  assert.equal(read.status, 403, 'a sign-in is for the hub’s own pages');
});

test('--cors takes origins as browsers write them', () => {
  const origins = (...argv: string[]) => {
    const config = loadConfig(argv, {});
    return config === 'help' ? [] : config.corsOrigins;
  };
  assert.deepEqual(origins(), []);
  assert.deepEqual(origins('--cors', APP, '--cors', 'http://localhost:5173'), [APP, 'http://localhost:5173']);
  assert.deepEqual(origins('--cors', '*'), ['*']);
  for (const wrong of [
    'app.example.com',
    `${APP}/`,
    `${APP}/page`,
    'https://APP.example.com',
    'null',
    'ftp://a',
    '',
  ]) {
    assert.throws(
      () => origins('--cors', wrong),
      (error) => isAppError(error, 'USAGE') && /--cors.*origin/.test(error.message),
      wrong,
    );
  }
});
