import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  createdKey,
  deviceList,
  devicePins,
  deviceRecord,
  enrollmentToken,
  enrollmentTokenList,
  keyList,
  modelList,
  modelRecord,
  modelVersions,
  publishedVersion,
} from '../../../../shared/contract/admin.ts';
import { type Clock, systemClock } from '../../../../shared/runtime/clock.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import {
  asker,
  assertProblem,
  enrolDevice,
  signIn,
  startHubApi,
  type TestHubApi,
} from '../../../support/hub-api.ts';

describe('the admin API', () => {
  let hub: TestHubApi;
  let ask: ReturnType<typeof asker>;
  let nowMonoMs: number;
  const clock: Clock = { ...systemClock, nowMonoMs: () => nowMonoMs };
  beforeEach(async () => {
    nowMonoMs = 0;
    hub = await startHubApi({ clock });
    ask = asker(hub);
  });
  afterEach(() => hub.stop());

  describe('lists', () => {
    it('come in pages, each item once, whatever the limit', async () => {
      for (const id of ['b', 'a', 'c', 'B', '0']) await enrolDevice(hub, `gate-${id}`);
      for (const limit of [1, 2, 5, 1_000]) {
        const seen: string[] = [];
        let after: string | null = '';
        do {
          const query: string = after === '' ? '' : `&after=${after}`;
          const page = deviceList.parse(
            await (await ask('GET', `/api/v1/devices?limit=${limit}${query}`)).json(),
          );
          assert.ok(page.devices.length <= limit);
          seen.push(...page.devices.map(({ id }) => id));
          after = page.next;
        } while (after !== null);
        assert.deepEqual(seen, ['gate-0', 'gate-B', 'gate-a', 'gate-b', 'gate-c']);
      }
    });

    it('take a limit from 1 to 1000 and nothing else', async () => {
      for (const limit of ['0', '1001', '-1', '1.5', 'x', ''])
        await assertProblem(await ask('GET', `/api/v1/models?limit=${limit}`), 400, 'BAD_REQUEST');
      await assertProblem(await ask('GET', `/api/v1/keys?after=${'x'.repeat(201)}`), 400, 'BAD_REQUEST');
      const { models, next } = modelList.parse(await (await ask('GET', '/api/v1/models?limit=1')).json());
      assert.deepEqual([models.map(({ name }) => name), next], [['org/pictures'], 'org/pictures']);
      const { keys } = keyList.parse(await (await ask('GET', '/api/v1/keys?limit=2')).json());
      assert.equal(keys.length, 2);
    });
  });

  describe('models', () => {
    it('are shown, their slash as it is or as %2F, with their versions', async () => {
      for (const name of ['org/pictures', 'org%2Fpictures']) {
        const shown = await ask('GET', `/api/v1/models/${name}`, { key: hub.inferKey });
        assert.equal(modelRecord.parse(await shown.json()).name, 'org/pictures');
        const { versions } = modelVersions.parse(
          await (await ask('GET', `/api/v1/models/${name}/versions`)).json(),
        );
        assert.deepEqual(
          versions.map(({ version }) => version),
          ['1'],
        );
      }
    });

    it('change only as what was read', async () => {
      const path = '/api/v1/models/org/pictures';
      const etag = (await ask('GET', path)).headers.get('etag') ?? '';
      const change = (headers: Record<string, string>, json: unknown = { policy: 'auto' }) =>
        ask('PATCH', path, { json, headers });
      await assertProblem(await change({}), 428, 'PRECONDITION_REQUIRED');
      await assertProblem(await change({ 'if-match': '"other"' }), 412, 'PRECONDITION_FAILED');
      await assertProblem(await change({ 'if-match': `W/${etag}` }), 412, 'PRECONDITION_FAILED');
      await assertProblem(await change({ 'if-match': etag }, { deployed: '7' }), 404, 'UPDATE_NOT_LISTED');
      await assertProblem(await change({ 'if-match': etag }, { policy: 'never' }), 400, 'BAD_REQUEST');
      await assertProblem(await change({ 'if-match': etag }, { name: 'x' }), 400, 'BAD_REQUEST');
      const changed = await change({ 'if-match': `"one", ${etag}` });
      assert.equal(changed.status, 200);
      assert.equal(modelRecord.parse(await changed.json()).policy, 'auto');
      await assertProblem(await change({ 'if-match': etag }), 412, 'PRECONDITION_FAILED');
      assert.equal((await change({ 'if-match': changed.headers.get('etag') ?? '' })).status, 200);
      assert.equal((await change({ 'if-match': '*' })).status, 200);
      await assertProblem(
        await ask('PATCH', path, { json: {}, headers: { 'if-match': '*' }, key: hub.inferKey }),
        403,
        'FORBIDDEN',
      );
    });

    it('take versions once, and say so', async () => {
      const json = { files: [{ path: 'outrider.json', sha256: sha256Hex('x'), bytes: 1 }] };
      const first = await ask('POST', '/api/v1/models/org/new/versions', { json });
      assert.equal(first.status, 201);
      assert.deepEqual(publishedVersion.parse(await first.json()).name, 'org/new');
      const second = await ask('POST', '/api/v1/models/org%2Fnew/versions', { json });
      assert.equal(second.status, 200);
      assert.equal(publishedVersion.parse(await second.json()).created, false);
      const paths = ['../x', '/x', 'a/../x'];
      const outside = paths.map((path) => ({ files: [{ path, sha256: sha256Hex('x'), bytes: 1 }] }));
      for (const bad of [{ files: [] }, ...outside, 5])
        await assertProblem(
          await ask('POST', '/api/v1/models/new/versions', { json: bad }),
          400,
          'BAD_REQUEST',
        );
    });

    it('have names, never paths', async () => {
      for (const name of ['..', '%2e%2e', 'org%2F..', '%00', 'x'.repeat(300), 'a%2Fb%2Fc', 'nobody'])
        for (const [method, path] of [
          ['GET', ''],
          ['GET', '/versions'],
        ] as const) {
          const response = await ask(method, `/api/v1/models/${name}${path}`);
          assert.equal(response.status, 404, `${name}${path}`);
        }
      await assertProblem(await ask('GET', '/api/v1/models/%00'), 404, 'MODEL_UNKNOWN');
    });
  });

  describe('devices', () => {
    it('are shown, and told which versions to run, only as what was read', async () => {
      await enrolDevice(hub, 'gate-01');
      const path = '/api/v1/devices/gate-01';
      assert.equal(deviceRecord.parse(await (await ask('GET', path)).json()).id, 'gate-01');
      await assertProblem(await ask('GET', '/api/v1/devices/gate-02'), 404, 'DEVICE_UNKNOWN');
      await assertProblem(await ask('GET', '/api/v1/devices/gate-02/desired'), 404, 'DEVICE_UNKNOWN');
      const shown = await ask('GET', `${path}/desired`);
      const etag = shown.headers.get('etag') ?? '';
      assert.deepEqual(devicePins.parse(await shown.json()), { pins: {} });
      const json = { pins: { 'org/pictures': '1' } };
      await assertProblem(await ask('PUT', `${path}/desired`, { json }), 428, 'PRECONDITION_REQUIRED');
      const put = await ask('PUT', `${path}/desired`, { json, headers: { 'if-match': etag } });
      assert.deepEqual(await put.json(), json);
      await assertProblem(
        await ask('PUT', `${path}/desired`, { json, headers: { 'if-match': etag } }),
        412,
        'PRECONDITION_FAILED',
      );
      for (const pins of [{ '../x': '1' }, { texts: 'one' }, null])
        await assertProblem(
          await ask('PUT', `${path}/desired`, { json: { pins }, headers: { 'if-match': '*' } }),
          400,
          'BAD_REQUEST',
        );
    });

    it('enrol by tokens that are listed without their secret, and can be taken back', async () => {
      const made = await ask('POST', '/api/v1/enrollment-tokens', { json: { deviceId: 'gate-01' } });
      const { token } = enrollmentToken.parse(await made.json());
      const text = await (await ask('GET', '/api/v1/enrollment-tokens')).text();
      assert.ok(!text.includes(token));
      const [listed] = enrollmentTokenList.parse(JSON.parse(text)).tokens;
      assert.deepEqual([listed?.deviceId, listed?.usedBy], ['gate-01', null]);
      assert.equal(listed?.id, sha256Hex(token).slice(0, 16));
      assert.equal((await ask('DELETE', `/api/v1/enrollment-tokens/${listed?.id}`)).status, 204);
      await assertProblem(await ask('DELETE', `/api/v1/enrollment-tokens/${listed?.id}`), 404, 'NOT_FOUND');
      const secret = 's'.repeat(43);
      await assertProblem(
        await ask('POST', '/api/v1/enroll', { json: { token, deviceId: 'gate-01', secret } }),
        403,
        'ENROLLMENT_REFUSED',
      );
    });
  });

  describe('an Idempotency-Key', () => {
    const make = (key: string, name = 'app', who = hub.adminKey) =>
      ask('POST', '/api/v1/keys', {
        json: { name, scopes: ['infer'] },
        headers: { 'idempotency-key': key },
        key: who,
      });

    it('gets the same answer for an hour, and makes one thing', async () => {
      const before = hub.registry.keys.list().length;
      const first = createdKey.parse(await (await make('one')).json());
      const again = await make('one');
      assert.equal(again.headers.get('idempotency-replayed'), 'true');
      assert.deepEqual([again.status, await again.json()], [201, first]);
      assert.equal(hub.registry.keys.list().length, before + 1);
      nowMonoMs += 3_600_000;
      assert.notEqual(createdKey.parse(await (await make('one')).json()).id, first.id);
    });

    it('is for one request, of one holder, of the right form', async () => {
      assert.equal((await make('one')).status, 201);
      await assertProblem(await make('one', 'other'), 422, 'IDEMPOTENCY_MISMATCH');
      const token = await ask('POST', '/api/v1/enrollment-tokens', {
        json: {},
        headers: { 'idempotency-key': 'one' },
      });
      await assertProblem(token, 422, 'IDEMPOTENCY_MISMATCH');
      const { key } = await hub.registry.keys.create({ name: 'second', scopes: ['admin'] });
      assert.equal((await make('one', 'other', key)).status, 201);
      for (const bad of ['', 'x'.repeat(256), 'a b'])
        await assertProblem(await make(bad), 400, 'BAD_REQUEST');
    });

    it('keeps no failure, and waits for nobody', async () => {
      let go = (): void => undefined;
      hub.publisher.wait = new Promise((resolve) => {
        go = resolve;
      });
      const json = { files: [{ path: 'outrider.json', sha256: sha256Hex('x'), bytes: 1 }] };
      const publish = () =>
        ask('POST', '/api/v1/models/new/versions', { json, headers: { 'idempotency-key': 'two' } });
      const first = publish();
      await new Promise((resolve) => setImmediate(resolve));
      await assertProblem(await publish(), 409, 'CONFLICT');
      go();
      assert.equal((await first).status, 201);
      assert.equal((await publish()).status, 201, 'the answer of the first');
      const bad = () =>
        ask('POST', '/api/v1/enrollment-tokens', {
          json: { deviceId: 'self' },
          headers: { 'idempotency-key': 'three' },
        });
      await assertProblem(await bad(), 400, 'PARAMETERS_INVALID');
      await assertProblem(await bad(), 400, 'PARAMETERS_INVALID');
    });

    it('is kept with at most a thousand others', async () => {
      const first = createdKey.parse(await (await make('key-0')).json());
      for (let i = 1; i <= 1_000; i++)
        await ask('POST', '/api/v1/models/new/versions', {
          json: { files: [{ path: 'outrider.json', sha256: sha256Hex('x'), bytes: 1 }] },
          headers: { 'idempotency-key': `key-${i}` },
        });
      assert.notEqual(createdKey.parse(await (await make('key-0')).json()).id, first.id);
    });
  });

  describe('a page that somebody has signed in to', () => {
    it('may look, and change nothing', async () => {
      const cookie = await signIn(hub);
      await enrolDevice(hub, 'gate-01');
      for (const path of ['models', 'models/texts', 'devices', 'devices/gate-01', 'results'])
        assert.equal((await hub.app.request(`/api/v1/${path}`, { headers: { cookie } })).status, 200, path);
      for (const [method, path] of [
        ['DELETE', '/api/v1/devices/gate-01'],
        ['POST', '/api/v1/keys'],
        ['POST', '/api/v1/sign-ins'],
        ['PATCH', '/api/v1/models/texts'],
        ['GET', '/api/v1/keys'],
        ['GET', '/metrics'],
      ] as const)
        await assertProblem(
          await hub.app.request(path, { method, headers: { cookie } }),
          401,
          'UNAUTHORIZED',
        );
    });

    it('is one of this hub, not of another site', async () => {
      const cookie = await signIn(hub);
      const look = (headers: Record<string, string>) =>
        hub.app.request('/api/v1/devices', { headers: { cookie, host: 'hub.lan:8080', ...headers } });
      for (const headers of [
        { 'sec-fetch-site': 'cross-site' },
        { 'sec-fetch-site': 'same-site' },
        { origin: 'https://elsewhere.example' },
        { origin: 'null' },
      ])
        await assertProblem(await look(headers), 403, 'FORBIDDEN');
      for (const headers of [
        {},
        { 'sec-fetch-site': 'same-origin' },
        { 'sec-fetch-site': 'none' },
        { origin: 'https://hub.lan:8080' },
      ])
        assert.equal((await look(headers)).status, 200);
      await assertProblem(await look({ cookie: 'outrider=guessed' }), 401, 'UNAUTHORIZED');
    });
  });
});

describe('the document of the API', () => {
  it('is shown to every key and to pages that are signed in, and to nobody else', async (t) => {
    const hub = await startHubApi();
    t.after(() => hub.stop());
    const cookie = await signIn(hub);
    for (const path of ['/openapi.json', '/docs']) {
      for (const key of [hub.adminKey, hub.inferKey, hub.metricsKey])
        assert.equal((await asker(hub)('GET', path, { key })).status, 200);
      assert.equal((await hub.app.request(path, { headers: { cookie } })).status, 200);
      await assertProblem(await hub.app.request(path), 401, 'UNAUTHORIZED');
    }
  });

  it('has a page that runs no script, fetches nothing, and allows itself one style', async (t) => {
    const hub = await startHubApi();
    t.after(() => hub.stop());
    const response = await asker(hub)('GET', '/docs');
    const page = await response.text();
    const policy = response.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'none'; style-src 'sha256-[^']+'/);
    assert.doesNotMatch(policy, /unsafe|script-src/);
    assert.doesNotMatch(page, /<script|<link|<img|style="|\ssrc=|https?:\/\//);
    const style = /<style>(.*?)<\/style>/s.exec(page)?.[1] ?? '';
    assert.ok(policy.includes(createHash('sha256').update(style).digest('base64')));
    for (const shown of ['/api/v1/models/{model}/versions', '/v2/models/{model}/infer', 'schema-HubEvent'])
      assert.ok(page.includes(shown), shown);
  });
});
