/** Every address of the document, asked in every wrong way that we know: the answer is a failure of our shape, never of our making. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { describeApi } from '../../../../cloud/api/pages/openapi.ts';
import { problem } from '../../../../shared/contract/admin.ts';
import { BLOB_PIECE_BYTES } from '../../../../shared/contract/limits.ts';
import {
  asker,
  type Body,
  enrolDevice,
  signIn,
  startHubApi,
  type TestHubApi,
} from '../../../support/hub-api.ts';

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly security: readonly Record<string, string[]>[];
  readonly statuses: readonly string[];
  readonly takesBody: boolean;
  /** How it says that its failures look. */
  readonly failure: Failure;
}

interface Failure {
  readonly contentType: string;
  /** All that a body of it has. */
  readonly fields: readonly string[];
}

interface Described {
  readonly security: Operation['security'];
  readonly responses: Readonly<Record<string, { content?: Record<string, { schema: { $ref?: string } }> }>>;
  readonly requestBody?: unknown;
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
const IDS = [
  'unknown',
  '..%2f..%2fetc%2fpasswd',
  '%2e%2e',
  '%00',
  '%',
  '%ff%fe',
  'x'.repeat(5_000),
  '__proto__',
  'constructor',
  'a%2Fb',
  'a%5C..%5Cb',
  '%F0%9F%98%80',
  'a;b?c=d',
  'a%0Ab',
  'f'.repeat(64),
  ' ',
];
const BODIES: readonly Body[] = [
  '',
  'null',
  '[]',
  '5',
  '"x"',
  '{',
  '{}',
  '{"__proto__":{"scopes":["admin"]},"constructor":1}',
  '['.repeat(20_000),
  new Uint8Array([0xff, 0xfe, 0, 1, 2]),
  '{"files":[{"path":"a/../b","sha256":"x","bytes":-1}],"pins":5,"token":null,"inputs":[1],"secret":{}}',
  'x'.repeat(70_000),
];
const HEADERS: readonly Record<string, string>[] = [
  { 'content-type': 'application/xml' },
  { 'content-type': 'multipart/form-data; boundary=x' },
  { 'content-type': 'application/json; charset=utf-16' },
  { 'if-match': '"x"' },
  { 'if-match': '*' },
  { 'if-match': ',,,' },
  { 'idempotency-key': 'x'.repeat(4_000) },
  { range: 'bytes=999999999999999-' },
  { range: 'bytes=--1' },
  { 'upload-offset': '99999999999999999999' },
  { 'upload-offset': '-0', 'upload-complete': '?1' },
  { 'inference-header-content-length': '4294967296' },
  { 'last-event-id': 'x'.repeat(4_000) },
  { origin: 'null', 'sec-fetch-site': 'cross-site' },
  { cookie: `outrider=${'x'.repeat(4_000)}` },
];
const QUERIES = [
  'limit=0',
  'limit=x',
  'limit=1e9',
  'after=%00',
  `after=${'x'.repeat(5_000)}`,
  'code=%00',
  'limit[]=1',
];

/** For who reads a failure. */
const said = ({ headers = {}, body }: { headers?: Record<string, string>; body?: Body }): string =>
  `${JSON.stringify(headers).slice(0, 100)} ${typeof body === 'string' ? body.slice(0, 50) : ''}`;

describe('every address of the hub', () => {
  let hub: TestHubApi;
  let device: string;
  let operations: readonly Operation[];
  before(async () => {
    hub = await startHubApi();
    device = await enrolDevice(hub, 'gate-01');
    const { paths, components } = describeApi(hub.app);
    const failureOf = ({ responses }: Described): Failure => {
      const [contentType = '', content] = Object.entries(responses.default?.content ?? {})[0] ?? [];
      const named = components?.schemas?.[content?.schema.$ref?.split('/').at(-1) ?? ''] as {
        properties: object;
      };
      return { contentType, fields: Object.keys(named.properties) };
    };
    operations = Object.entries(paths ?? {}).flatMap(([path, item]) =>
      Object.entries(item as Record<string, Described>).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path,
        security: operation.security,
        statuses: Object.keys(operation.responses),
        takesBody: operation.requestBody !== undefined,
        failure: failureOf(operation),
      })),
    );
    assert.ok(operations.length >= 40);
  });
  after(() => hub.stop());

  const filled = (path: string, value = 'unknown'): string => path.replaceAll(/\{\w+\}/g, value);
  /** With a name that is there, or could be. */
  const likely = (path: string): string => filled(path, path.includes('{model}') ? 'texts' : 'f'.repeat(64));
  /** One that may ask there. */
  const keyFor = ({ security }: Operation): string =>
    security.some((one) => 'device' in one) ? device : hub.adminKey;

  async function ask(
    { method }: Pick<Operation, 'method'>,
    path: string,
    options: Parameters<ReturnType<typeof asker>>[2] = {},
  ): Promise<{ response: Response; text: string }> {
    const response = await asker(hub)(method, path, options);
    if (response.headers.get('content-type') === 'text/event-stream') {
      await response.body?.cancel();
      return { response, text: '' };
    }
    return { response, text: await response.text() };
  }

  /** @param what in the words of the request, for who reads the failure */
  async function assertSound(operation: Operation, path: string, options: Parameters<typeof ask>[2] = {}) {
    const { response, text } = await ask(operation, path, { key: keyFor(operation), ...options });
    const what = `${operation.method} ${path.slice(0, 100)} ${said(options)}: ${response.status} ${text.slice(0, 300)}`;
    assert.ok(response.status < 500, what);
    if (response.status >= 400) assertFailureShape(response, operation, { text, what });
    return response;
  }

  function assertFailureShape(
    response: Response,
    { method, failure }: Operation,
    { text, what }: { text: string; what: string },
  ): void {
    assert.doesNotMatch(text, /\.ts:\d+|node_modules|at Object/, what);
    if (method === 'HEAD') return;
    const body = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual(Object.keys(body), failure.fields, what);
    assert.equal(response.headers.get('content-type'), failure.contentType, what);
    if (failure.contentType === 'application/problem+json')
      assert.equal(problem.parse(body).status, response.status, what);
  }

  it('needs what its description says: a key, its scope, a device’s credential', async () => {
    for (const [index, operation] of operations.entries()) {
      const path = filled(operation.path);
      // Each from elsewhere: many wrong keys from one address are slowed down.
      const from = `10.0.0.${index}`;
      const { response, text } = await ask(operation, path, { key: 'guessed', from });
      const what = `${operation.method} ${path}: ${response.status} ${text}`;
      if (operation.security.length === 0) {
        assert.notEqual(response.status, 403, what);
        continue;
      }
      assert.equal(response.status, 401, what);
      assert.equal(response.headers.get('www-authenticate'), 'Bearer realm="outrider"');
      assertFailureShape(response, operation, { text, what });
      const scopes = operation.security.flatMap((one) => one.key ?? []);
      const wrong = operation.security.some((one) => 'device' in one)
        ? hub.adminKey
        : scopes.includes('metrics')
          ? undefined
          : scopes.includes('infer')
            ? hub.metricsKey
            : hub.inferKey;
      if (wrong === undefined) continue;
      const refused = (await ask(operation, path, { key: wrong, from })).response.status;
      assert.equal(refused, wrong === hub.adminKey ? 401 : 403, what);
    }
  });

  it('changes nothing for a page that is signed in', async () => {
    const cookie = await signIn(hub);
    for (const operation of operations) {
      if (operation.method === 'GET' || operation.method === 'HEAD' || operation.security.length === 0)
        continue;
      const { status } = await hub.app.request(filled(operation.path), {
        method: operation.method,
        headers: { cookie },
      });
      assert.equal(status, 401, `${operation.method} ${operation.path}`);
    }
  });

  it('says which methods it takes', async () => {
    for (const path of new Set(operations.map((one) => one.path))) {
      const allowed = operations.filter((one) => one.path === path).map(({ method }) => method);
      for (const method of METHODS.filter((one) => !allowed.includes(one))) {
        const { response } = await ask({ method }, filled(path));
        // What stands below a model is also the name of a model of an organisation.
        const parent = path.replace(/\{model\}\/\w+$/, '{model}');
        if (parent !== path && operations.some((one) => one.path === parent && one.method === method))
          continue;
        assert.equal(response.status, 405, `${method} ${path}`);
        const allow = (response.headers.get('allow') ?? '').split(', ');
        for (const one of allowed) assert.ok(allow.includes(one), `${method} ${path}: ${allow.join()}`);
      }
    }
  });

  it('fails in the shape of its neighbours where there is nothing', async () => {
    for (const operation of operations) {
      const path = `${filled(operation.path)}/and/below/it/is/nothing`;
      const { status } = await assertSound({ ...operation, method: 'GET' }, path);
      assert.equal(status, 404, path);
    }
  });

  it('takes names and paths apart, however they are written', async () => {
    for (const operation of operations.filter(({ path }) => path.includes('{')))
      for (const id of IDS) {
        // What stands behind a question mark is a query: another operation is asked, which fails in its own shape.
        if (id.includes('?') && operation.path.endsWith('/rerank')) continue;
        await assertSound(operation, filled(operation.path, id), { headers: { 'if-match': '*' } });
      }
  });

  it('takes bodies of the wrong type, form and size', async () => {
    for (const operation of operations.filter((one) => one.takesBody))
      for (const body of BODIES)
        await assertSound(operation, likely(operation.path), { body, headers: { 'if-match': '*' } });
    const large = new Uint8Array(BLOB_PIECE_BYTES + 1);
    for (const operation of operations.filter((one) => one.takesBody)) {
      const response = await assertSound(operation, filled(operation.path, 'f'.repeat(64)), {
        body: large,
        headers: { 'if-match': '*' },
      });
      // An address that takes so many bytes says that they are no form.
      const isForm = operation.path === '/v1/audio/transcriptions';
      assert.ok(
        [404, 412, 413, 429, ...(isForm ? [400] : [])].includes(response.status),
        `${operation.path}: ${response.status}`,
      );
    }
  });

  it('takes odd headers and queries', async () => {
    for (const operation of operations) {
      const path = likely(operation.path);
      const body = operation.takesBody ? { body: '{}' } : {};
      for (const headers of HEADERS) await assertSound(operation, path, { headers, ...body });
      for (const query of QUERIES) await assertSound(operation, `${path}?${query}`, body);
    }
  });

  it('is in the document', () => {
    const described = new Set(operations.map(({ method, path }) => `${method} ${path}`));
    const routes = hub.app.routes
      // The page and its files are for browsers.
      .filter(
        ({ method, path }) => method !== 'ALL' && !/^\/(assets\/.*)?$/.test(path) && !path.includes(':org'),
      )
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)(?:\{\.\+\})?/g, '{$1}')}`);
    assert.deepEqual(
      [...new Set(routes)].filter((one) => !described.has(one)),
      [],
    );
  });
});
