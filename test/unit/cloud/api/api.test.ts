import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  createdKey,
  deviceList,
  enrollmentToken,
  keyList,
  modelList,
  problem,
  signInLink,
} from '../../../../shared/contract/admin.ts';
import { splitEnrolToken } from '../../../../shared/contract/enrol-token.ts';
import { enrollResponse } from '../../../../shared/contract/messages.ts';
import { type Clock, systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError, type ErrorCode } from '../../../../shared/runtime/errors.ts';
import { newSecret } from '../../../../shared/runtime/ids.ts';
import { MAX_TEXT_BYTES } from '../../../../shared/tasks/limits.ts';
import { LABELS, startHubApi, type TestHubApi } from '../../../support/hub-api.ts';

describe('the hub’s HTTP API', () => {
  let hub: TestHubApi;
  let nowMonoMs: number;
  const clock: Clock = { ...systemClock, nowMonoMs: () => nowMonoMs };
  beforeEach(async () => {
    nowMonoMs = 0;
    hub = await startHubApi({ clock });
  });
  afterEach(() => hub.stop());

  /** Asks with a key (the admin's unless told) and a JSON body. */
  const ask = (method: string, path: string, body?: unknown, key = hub.adminKey) =>
    hub.app.request(path, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  async function assertProblem(response: Response, status: number, code: ErrorCode): Promise<void> {
    assert.equal(response.status, status);
    assert.equal(response.headers.get('content-type'), 'application/problem+json');
    const text = await response.text();
    const body = problem.parse(JSON.parse(text));
    assert.deepEqual([body.status, body.code], [status, code]);
    assert.equal(body.requestId, response.headers.get('x-request-id'));
    assert.doesNotMatch(text, /\.ts:\d+|node_modules/, 'no stack');
  }

  describe('the open addresses', () => {
    it('answer without a key', async () => {
      const page = await hub.app.request('/');
      assert.match(await page.text(), /Outrider hub/);
      assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/);
      assert.ok(!page.headers.get('content-security-policy')?.includes('unsafe'));
      assert.deepEqual(await (await hub.app.request('/healthz')).json(), { status: 'ok' });
      assert.equal((await hub.app.request('/readyz')).status, 200);
    });

    it('give the page to who has signed in by a one-time address, and to nobody else', async () => {
      const look = async (cookie?: string): Promise<string> =>
        (await hub.app.request('/', cookie === undefined ? {} : { headers: { cookie } })).text();
      for (const stranger of [undefined, 'outrider=made-up'])
        assert.doesNotMatch(await look(stranger), /<script|id="devices"/);
      const { path } = signInLink.parse(await (await ask('POST', '/api/v1/sign-ins')).json());
      const signedIn = await hub.app.request(path);
      assert.deepEqual([signedIn.status, signedIn.headers.get('location')], [302, '/']);
      const cookie = signedIn.headers.get('set-cookie') ?? '';
      assert.match(cookie, /^outrider=[^;]+;.*HttpOnly.*SameSite=Strict/);
      const session = cookie.split(';')[0] ?? '';
      assert.match(await look(session), /id="devices".*id="models".*id="answers"/s);
      const again = await hub.app.request(path, { headers: { accept: 'text/html' } });
      assert.equal(again.status, 401);
      assert.match(await again.text(), /This address signs nobody in/);
      await assertProblem(await hub.app.request(path), 401, 'UNAUTHORIZED');
      await assertProblem(await hub.app.request('/sign-in'), 401, 'UNAUTHORIZED');
      await assertProblem(await ask('POST', '/api/v1/sign-ins', undefined, hub.inferKey), 403, 'FORBIDDEN');

      const late = signInLink.parse(await (await ask('POST', '/api/v1/sign-ins')).json());
      nowMonoMs += 11 * 60_000;
      await assertProblem(await hub.app.request(late.path), 401, 'UNAUTHORIZED');
      assert.match(await look(session), /id="devices"/);
      nowMonoMs += 12 * 3_600_000;
      assert.doesNotMatch(await look(session), /id="devices"/, 'the session has ended');
    });

    it('give each file that the pages name, and no other of this program', async () => {
      const { path } = signInLink.parse(await (await ask('POST', '/api/v1/sign-ins')).json());
      const session = (await hub.app.request(path)).headers.get('set-cookie')?.split(';')[0] ?? '';
      const page = await (await hub.app.request('/', { headers: { cookie: session } })).text();
      assert.match(page, /data-development-keys="(true|false)"/);
      const stranger = await (await hub.app.request('/')).text();
      const named = [...`${page}${stranger}`.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(
        ([, at]) => at!,
      );
      assert.equal(new Set(named).size, 3);
      const scripts = await (await hub.app.request('/assets/cloud/dashboard/page.js')).text();
      const imported = [...scripts.matchAll(/from '..\/..\/([^']+)'/g)].map(([, at]) => `/assets/${at}`);
      for (const one of [...named, ...imported]) assert.equal((await hub.app.request(one)).status, 200, one);
      for (const one of ['/assets/cloud/main.ts', '/assets/..%2fpackage.json', '/assets/', '/assets/x.js'])
        await assertProblem(await hub.app.request(one), 404, 'NOT_FOUND');
    });

    it('say why the hub is not ready', async () => {
      hub.notReady = 'the broker is not connected';
      const response = await hub.app.request('/readyz');
      assert.equal(response.status, 503);
      assert.deepEqual(await response.json(), { status: 'not ready', reason: hub.notReady });
    });
  });

  describe('keys', () => {
    const CLOSED = [
      ['GET', '/metrics', 'metricsKey'],
      ['GET', '/api/v1/models', 'inferKey'],
      ['GET', '/api/v1/devices', undefined],
      ['DELETE', '/api/v1/devices/gate-01', undefined],
      ['POST', '/api/v1/enrollment-tokens', undefined],
      ['GET', '/api/v1/keys', undefined],
      ['POST', '/api/v1/keys', undefined],
      ['DELETE', '/api/v1/keys/admin', undefined],
    ] as const;
    for (const [method, path, allowed] of CLOSED) {
      it(`are needed, with the right scope, for ${method} ${path}`, async () => {
        await assertProblem(await hub.app.request(path, { method }), 401, 'UNAUTHORIZED');
        await assertProblem(await ask(method, path, undefined, 'wrong'), 401, 'UNAUTHORIZED');
        await assertProblem(await ask(method, path, undefined, '__proto__'), 401, 'UNAUTHORIZED');
        for (const name of ['inferKey', 'metricsKey'] as const) {
          const response = await ask(method, path, undefined, hub[name]);
          if (name === allowed) assert.equal(response.status, 200);
          else await assertProblem(response, 403, 'FORBIDDEN');
        }
      });
    }

    it('are taken from a Bearer header only', async () => {
      for (const authorization of [
        hub.adminKey,
        `Basic ${hub.adminKey}`,
        `Bearer ${hub.adminKey} x`,
        'Bearer ',
      ]) {
        const response = await hub.app.request('/api/v1/keys', { headers: { authorization } });
        await assertProblem(response, 401, 'UNAUTHORIZED');
      }
      const lower = await hub.app.request('/api/v1/keys', {
        headers: { authorization: `bearer ${hub.adminKey}` },
      });
      assert.equal(lower.status, 200);
      assert.equal(
        (await hub.app.request('/api/v1/keys')).headers.get('www-authenticate'),
        'Bearer realm="outrider"',
      );
    });

    it('are made, listed without their secret, used and revoked', async () => {
      const made = await ask('POST', '/api/v1/keys', { name: 'app', scopes: ['infer'] });
      assert.equal(made.status, 201);
      assert.equal(made.headers.get('cache-control'), 'no-store');
      const { id, key } = createdKey.parse(await made.json());
      const listed = await (await ask('GET', '/api/v1/keys')).text();
      assert.ok(keyList.parse(JSON.parse(listed)).keys.some((one) => one.id === id));
      assert.ok(!listed.includes(key));
      assert.equal((await ask('GET', '/api/v1/models', undefined, key)).status, 200);
      assert.equal((await ask('DELETE', `/api/v1/keys/${id}`)).status, 204);
      await assertProblem(await ask('GET', '/api/v1/models', undefined, key), 401, 'UNAUTHORIZED');
      await assertProblem(await ask('DELETE', `/api/v1/keys/${id}`), 404, 'NOT_FOUND');
      await assertProblem(await ask('DELETE', '/api/v1/keys/admin'), 409, 'CONFLICT');
    });

    for (const body of [
      undefined,
      null,
      [],
      'text',
      {},
      { name: 'x', scopes: [] },
      { name: 'x', scopes: ['root'] },
      { name: 5, scopes: ['infer'] },
      { name: 'x'.repeat(65), scopes: ['infer'] },
      { name: 'x', scopes: ['infer'], expiresMs: 1.5 },
      { name: 'x', scopes: ['infer'], more: 1 },
    ])
      it(`are not made of ${JSON.stringify(body)?.slice(0, 50)}`, async () => {
        await assertProblem(await ask('POST', '/api/v1/keys', body), 400, 'BAD_REQUEST');
      });
  });

  describe('devices', () => {
    const enroll = (body: unknown) =>
      hub.app.request('/api/v1/enroll', { method: 'POST', body: JSON.stringify(body) });

    it('enrol by a token, are listed, and are revoked', async () => {
      const made = await ask('POST', '/api/v1/enrollment-tokens', { deviceId: 'gate-01', expiresMs: 60_000 });
      assert.equal(made.status, 201);
      const { token } = enrollmentToken.parse(await made.json());
      const enrolled = await enroll({ token, deviceId: 'gate-01', secret: newSecret() });
      assert.equal(enrolled.status, 201);
      assert.deepEqual(enrollResponse.parse(await enrolled.json()), {
        deviceId: 'gate-01',
        hubId: hub.registry.hubId,
        mqttUrl: 'mqtt://127.0.0.1:1883',
        expiresInMs: null,
        updateRoot: hub.updates.initialRoot(),
      });
      const { devices } = deviceList.parse(await (await ask('GET', '/api/v1/devices')).json());
      assert.deepEqual(
        devices.map(({ id, online }) => ({ id, online })),
        [{ id: 'gate-01', online: false }],
      );
      assert.equal((await ask('DELETE', '/api/v1/devices/gate-01')).status, 204);
      await assertProblem(await ask('DELETE', '/api/v1/devices/gate-01'), 404, 'DEVICE_UNKNOWN');
    });

    it('do not enrol with a token that is wrong or of the wrong form', async () => {
      const secret = newSecret();
      const token = newSecret();
      await assertProblem(await enroll({ token, deviceId: 'gate-01', secret }), 403, 'ENROLLMENT_REFUSED');
      for (const body of [
        undefined,
        { token, deviceId: '../gate', secret },
        { token, deviceId: 'gate/+/#', secret },
        { token, deviceId: 'gate-01', secret: 'short' },
        { token: 5, deviceId: 'gate-01', secret },
      ])
        await assertProblem(await enroll(body), 400, 'BAD_REQUEST');
    });

    it('may not try to enrol without end', async () => {
      const body = { token: newSecret(), deviceId: 'gate-01', secret: newSecret() };
      for (let i = 0; i < 30; i++) await enroll(body);
      const response = await enroll(body);
      assert.equal(response.headers.get('retry-after'), '1');
      await assertProblem(response, 429, 'RATE_LIMITED');
      nowMonoMs += 2_000;
      await assertProblem(await enroll(body), 403, 'ENROLLMENT_REFUSED');
    });

    it('renew their credential with the old one, and ask for their account, and nobody else does', async () => {
      const { token } = await hub.registry.devices.createToken({});
      const [secret, renewed] = [newSecret(), newSecret()];
      await hub.registry.devices.enroll({ token, deviceId: 'gate-07', secret });
      const self = '/api/v1/devices/self';
      for (const path of [`${self}/credential`, `${self}/link`])
        for (const bearer of [undefined, 'guessed', hub.adminKey, '', 'x'.repeat(300)])
          await assertProblem(await ask('POST', path, { secret: renewed }, bearer), 401, 'UNAUTHORIZED');
      await assertProblem(await ask('GET', '/api/v1/devices', undefined, secret), 401, 'UNAUTHORIZED');
      for (const body of [undefined, {}, { secret: 'short' }, { secret: renewed, deviceId: 'gate-01' }])
        await assertProblem(await ask('POST', `${self}/credential`, body, secret), 400, 'BAD_REQUEST');
      const answered = await ask('POST', `${self}/credential`, { secret: renewed }, secret);
      assert.equal(answered.status, 200);
      const welcome = {
        hubId: hub.registry.hubId,
        mqttUrl: 'mqtt://127.0.0.1:1883',
        expiresInMs: null,
        updateRoot: hub.updates.initialRoot(),
      };
      assert.deepEqual(enrollResponse.parse(await answered.json()), { deviceId: 'gate-07', ...welcome });
      const linked = await ask('POST', `${self}/link`, {}, renewed);
      assert.deepEqual(enrollResponse.parse(await linked.json()), { deviceId: 'gate-07', ...welcome });
      await assertProblem(await ask('POST', `${self}/link`, {}, secret), 401, 'UNAUTHORIZED');
    });

    it('may not renew without end', async () => {
      const { token } = await hub.registry.devices.createToken({});
      const secret = newSecret();
      await hub.registry.devices.enroll({ token, deviceId: 'gate-08', secret });
      const link = () => ask('POST', '/api/v1/devices/self/link', {}, secret);
      for (let i = 0; i < 30; i++) assert.equal((await link()).status, 200);
      await assertProblem(await link(), 429, 'RATE_LIMITED');
    });

    it('take names apart from paths', async () => {
      for (const id of ['..%2f..%2fetc', '%00', '__proto__', 'a%2Fb'])
        await assertProblem(await ask('DELETE', `/api/v1/devices/${id}`), 404, 'DEVICE_UNKNOWN');
    });
  });

  it('lists the models, and whether they are loaded', async () => {
    const { models } = modelList.parse(await (await ask('GET', '/api/v1/models')).json());
    assert.deepEqual(
      models.map(({ name, version, loaded, provider }) => ({ name, version, loaded, provider })),
      [
        { name: 'org/pictures', version: '1', loaded: false, provider: null },
        { name: 'texts', version: '1', loaded: true, provider: 'cpu' },
      ],
    );
  });

  it('shows its metrics, by route and not by address', async () => {
    await ask('DELETE', '/api/v1/devices/some-device');
    const text = await (await ask('GET', '/metrics', undefined, hub.metricsKey)).text();
    assert.match(text, /outrider_http_requests_total\{route="\/api\/v1\/devices\/:id",status="404"\} 1/);
    assert.ok(!text.includes('some-device'));
  });

  it('knows no other address', async () => {
    for (const path of ['/nothing', '/api/v1/nothing', '/api/v1', '/api/v1/models/../../etc', '/%2e%2e/x'])
      await assertProblem(await ask('GET', path), 404, 'NOT_FOUND');
    const wrong = await ask('PUT', '/api/v1/keys');
    assert.equal(wrong.headers.get('allow'), 'GET, HEAD, POST');
    await assertProblem(wrong, 405, 'METHOD_NOT_ALLOWED');
    // An organisation may have a model of this name, which an address that is there does not speak of.
    const run = await ask('DELETE', '/v2/models/texts/infer');
    assert.deepEqual([run.status, run.headers.get('allow')], [405, 'POST']);
  });

  it('takes no admin request of more than 64 KiB', async () => {
    const body = { name: 'x'.repeat(70_000), scopes: ['infer'] };
    await assertProblem(await ask('POST', '/api/v1/keys', body), 413, 'INPUT_TOO_LARGE');
  });

  it('keeps the message of our own mistakes to itself', async () => {
    hub.registry.keys.list = () => {
      throw new Error('secret detail');
    };
    const response = await ask('GET', '/api/v1/keys');
    const text = await response.clone().text();
    await assertProblem(response, 500, 'INVARIANT_BROKEN');
    assert.ok(!text.includes('secret detail'));
  });

  describe('Hugging Face tasks', () => {
    const post = (
      model: string,
      body: string | Uint8Array<ArrayBuffer>,
      headers: Record<string, string> = {},
      key = hub.inferKey,
    ) =>
      hub.app.request(`/hf/models/${model}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, ...headers },
        body,
      });
    const json = { 'content-type': 'application/json' };
    async function assertError(response: Response, status: number, code: ErrorCode): Promise<void> {
      assert.equal(response.status, status);
      assert.ok(response.headers.get('content-type')?.startsWith('application/json'));
      const body = (await response.json()) as { error: unknown; code: unknown; requestId: unknown };
      assert.equal(typeof body.error, 'string');
      assert.deepEqual([body.code, body.requestId], [code, response.headers.get('x-request-id')]);
    }

    it('take raw picture bytes, for a model with an organisation in its name', async () => {
      const picture = new Uint8Array([0xff, 0xd8, 0xff, 1, 2, 3]);
      for (const name of ['org/pictures', 'org%2Fpictures']) {
        const response = await post(name, picture, { 'content-type': 'image/jpeg' });
        assert.equal(response.status, 200);
        assert.deepEqual(await response.json(), LABELS);
        assert.equal(response.headers.get('x-outrider-model'), 'org/pictures@1');
      }
      const [request] = hub.asked;
      assert.equal(request?.input.contentType, 'image/jpeg');
      assert.deepEqual(Buffer.from(request?.input.body ?? []), Buffer.from(picture));
      assert.deepEqual(
        hub.usage.map(({ who, inputBytes, inferenceMs }) => [who !== 'admin', inputBytes, inferenceMs]),
        [
          [true, 6, 3],
          [true, 6, 3],
        ],
      );
    });

    it('take pictures as base64 with parameters, plain or as a data URL', async () => {
      const bytes = Buffer.from([0xff, 0xd8, 0xff, 9]);
      for (const inputs of [bytes.toString('base64'), `data:image/jpeg;base64,${bytes.toString('base64')}`]) {
        const body = JSON.stringify({ inputs, parameters: { top_k: 1 } });
        assert.equal((await post('org/pictures', body, json)).status, 200);
        assert.deepEqual(Buffer.from(hub.asked.at(-1)?.input.body ?? []), bytes);
        assert.deepEqual(hub.asked.at(-1)?.input.parameters, { top_k: 1 });
      }
    });

    it('answer a text in the nested list that huggingface.js and huggingface_hub read', async () => {
      const response = await post('texts', JSON.stringify({ inputs: 'good', options: {} }), json);
      assert.deepEqual(await response.json(), [LABELS]);
      assert.equal(Buffer.from(hub.asked[0]?.input.body ?? []).toString(), 'good');
    });

    it('pass the caller’s time-out on as expiry', async () => {
      nowMonoMs = 1_000;
      await post('texts', JSON.stringify({ inputs: 'good' }), json);
      assert.deepEqual([hub.asked[0]?.deadlineMonoMs, hub.asked[0]?.expiresMonoMs], [3_000, 61_000]);
    });

    for (const [what, body, code, status] of [
      ['no body', '', 'INPUT_EMPTY', 400],
      ['broken JSON', '{"inputs":', 'BAD_REQUEST', 400],
      ['no inputs', '{}', 'BAD_REQUEST', 400],
      ['a number', '{"inputs": 5}', 'BAD_REQUEST', 400],
      ['an empty text', '{"inputs": ""}', 'INPUT_EMPTY', 400],
      ['an unknown parameter', '{"inputs":"x","parameters":{"temperature":1}}', 'PARAMETERS_INVALID', 400],
      ['a parameter out of range', '{"inputs":"x","parameters":{"top_k":0}}', 'PARAMETERS_INVALID', 400],
      ['parameters of the wrong type', '{"inputs":"x","parameters":5}', 'BAD_REQUEST', 400],
      ['too long a text', `{"inputs":"${'x'.repeat(MAX_TEXT_BYTES + 1)}"}`, 'INPUT_TOO_LARGE', 413],
      ['too long a body', 'x'.repeat(6 * MAX_TEXT_BYTES + 1), 'INPUT_TOO_LARGE', 413],
    ] as const)
      it(`refuse ${what}`, async () => {
        await assertError(await post('texts', body, json), status, code);
        assert.deepEqual(hub.asked, []);
      });

    it('refuse names that are no model, or paths', async () => {
      for (const name of [
        'unknown',
        '..%2f..%2fetc%2fpasswd',
        'org/..',
        '%2e%2e/pictures',
        'org/pictures/extra',
        'org//pictures',
        '%00',
        '__proto__',
        'x'.repeat(300),
      ]) {
        const response = await post(name, 'x');
        assert.equal(response.status, 404, name);
      }
      await assertError(await post('unknown', 'x'), 404, 'MODEL_UNKNOWN');
    });

    it('need a key with the scope infer', async () => {
      await assertError(await post('texts', 'x', {}, 'wrong'), 401, 'UNAUTHORIZED');
      await assertError(await post('texts', 'x', {}, hub.metricsKey), 403, 'FORBIDDEN');
      assert.equal((await post('texts', 'x', {}, hub.adminKey)).status, 200);
      await assertError(await hub.app.request('/hf/models/texts', { method: 'POST' }), 401, 'UNAUTHORIZED');
    });

    it('say 429 with a time to wait while a model is loading or busy, never 503', async () => {
      for (const code of ['MODEL_NOT_LOADED', 'QUEUE_FULL', 'RUNNER_CRASHED', 'STOPPING'] as const) {
        hub.answer = () => {
          throw new AppError(code, 'busy', { details: { retryAfterMs: 2_500 } });
        };
        const response = await post('texts', 'x');
        assert.equal(response.headers.get('retry-after'), '3');
        await assertError(response, 429, code);
      }
    });

    it('hand the input’s own error on, and meter nothing for it', async () => {
      hub.answer = () => {
        throw new AppError('IMAGE_CORRUPT');
      };
      await assertError(await post('org/pictures', 'no picture'), 422, 'IMAGE_CORRUPT');
      assert.deepEqual(hub.usage, []);
    });
  });
});

describe('a hub with an authority of its own', () => {
  const authority = { pem: 'own', fingerprint: 'ab'.repeat(32), bundle: 'own and the broker’s' };

  /** A device that reaches the hub by this name. */
  async function enrol(hub: TestHubApi, host: string | undefined) {
    const made = await hub.app.request('/api/v1/enrollment-tokens', {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.adminKey}` },
      body: '{}',
    });
    const { token } = enrollmentToken.parse(await made.json());
    const { fingerprint, secret } = splitEnrolToken(token);
    const enrolled = await hub.app.request('/api/v1/enroll', {
      method: 'POST',
      headers: host === undefined ? {} : { host },
      body: JSON.stringify({
        token: secret,
        deviceId: `gate-${Math.random()}`.replace('.', ''),
        secret: newSecret(),
      }),
    });
    return { fingerprint, ...enrollResponse.parse(await enrolled.json()) };
  }

  it('shows it to everybody, names it in its tokens, and tells a device all that it should believe', async (t) => {
    const hub = await startHubApi({ authority });
    t.after(() => hub.stop());
    const shown = await hub.app.request('/ca.pem');
    assert.deepEqual([shown.status, await shown.text()], [200, 'own']);
    const { fingerprint, ca } = await enrol(hub, undefined);
    assert.deepEqual([fingerprint, ca], [authority.fingerprint, authority.bundle]);
  });

  it('gives a device the root that vouches for updates', async (t) => {
    const hub = await startHubApi();
    t.after(() => hub.stop());
    assert.equal((await enrol(hub, undefined)).updateRoot, hub.updates.initialRoot());
  });

  it('without one there is nothing to show, and tokens are as they were', async (t) => {
    const hub = await startHubApi();
    t.after(() => hub.stop());
    assert.equal((await hub.app.request('/ca.pem')).status, 404);
    const { fingerprint, ca } = await enrol(hub, undefined);
    assert.deepEqual([fingerprint, ca], [undefined, undefined]);
  });

  it('a broker on every address is told by the name by which the device has reached the hub', async (t) => {
    const everywhere = await startHubApi({ mqttUrl: 'mqtts://0.0.0.0:8883' });
    const somewhere = await startHubApi({ mqttUrl: 'mqtts://broker.lan:8883' });
    t.after(() => Promise.all([everywhere.stop(), somewhere.stop()]));
    for (const [hub, host, wanted] of [
      [everywhere, 'hub.lan:8080', 'mqtts://hub.lan:8883'],
      [everywhere, '10.0.0.2', 'mqtts://10.0.0.2:8883'],
      [everywhere, '[fd00::2]:8080', 'mqtts://[fd00::2]:8883'],
      [everywhere, undefined, 'mqtts://0.0.0.0:8883'],
      [everywhere, 'a b', 'mqtts://0.0.0.0:8883'],
      [somewhere, 'hub.lan:8080', 'mqtts://broker.lan:8883'],
    ] as const)
      assert.equal((await enrol(hub, host)).mqttUrl, wanted, `${host}`);
  });
});
