import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { HubClient } from '../../../cli/hub-client.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';

const anything = z.unknown();
const withCode =
  (code: ErrorCode, message = /./) =>
  (error: unknown): boolean =>
    isAppError(error, code) && message.test(error.message);

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

async function startHub(t: TestContext, answer: Answer): Promise<string> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const answering =
  (status: number, body: string, contentType = 'application/json'): Answer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': contentType }).end(body);
  };

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

test('asks with its key, and reads the answer through a schema', async (t) => {
  const seen: string[] = [];
  const url = await startHub(t, async (request, response) => {
    const body = (await bodyOf(request)).toString();
    seen.push(`${request.method} ${request.url} ${request.headers.authorization} ${body}`);
    response.end(JSON.stringify({ n: 1, more: 2 }));
  });
  const schema = z.object({ n: z.number() });
  const hub = new HubClient(`${url}/`, 'key');
  assert.deepEqual(await hub.get('/a', schema), { n: 1 });
  assert.deepEqual(await hub.post('/b', { x: 1 }, schema), { n: 1 });
  await hub.delete('/c');
  await new HubClient(url, undefined).get('/d', schema);
  assert.deepEqual(seen, [
    'GET /a Bearer key ',
    'POST /b Bearer key {"x":1}',
    'DELETE /c Bearer key ',
    'GET /d undefined ',
  ]);
});

test('sends bytes as they are, to a model whose name may have a slash', async (t) => {
  const seen: unknown[] = [];
  const url = await startHub(t, async (request, response) => {
    seen.push([request.url, request.headers['content-type'], [...(await bodyOf(request))]]);
    response.end('[]');
  });
  const bytes = new Uint8Array([9, 0, 255, 9]).subarray(1, 3);
  await new HubClient(url, undefined).infer('org/vit', bytes, 'application/octet-stream', anything);
  assert.deepEqual(seen, [['/hf/models/org/vit', 'application/octet-stream', [0, 255]]]);
});

test('errors of every face come back with the hub’s own code and sentence', async (t) => {
  for (const [status, body, code, message] of [
    [403, { code: 'FORBIDDEN', detail: 'this key may not' }, 'FORBIDDEN', /^this key may not$/],
    [404, { error: 'no model x', code: 'MODEL_UNKNOWN' }, 'MODEL_UNKNOWN', /^no model x$/],
    [418, { code: 'CODE_OF_A_NEWER_HUB', detail: 'teapot' }, 'HUB_FAILED', /^teapot$/],
    [400, { error: 'something', code: 'NEW' }, 'HUB_FAILED', /^something$/],
    [500, { what: 1 }, 'HUB_FAILED', /answered 500/],
  ] as const) {
    const url = await startHub(t, answering(status, JSON.stringify(body)));
    await assert.rejects(new HubClient(url, 'k').get('/', anything), withCode(code, message), String(status));
  }
});

test('what is no answer of a hub is said to be none', async (t) => {
  const html = await startHub(t, answering(502, '<html>Bad gateway</html>', 'text/html'));
  await assert.rejects(new HubClient(html, 'k').get('/', anything), withCode('HUB_FAILED', /answered 502/));
  const other = await startHub(t, answering(200, '<html>hello</html>', 'text/html'));
  const schema = z.object({ models: z.array(z.string()) });
  await assert.rejects(new HubClient(other, 'k').get('/', schema), withCode('HUB_FAILED', /unexpected/));
  const shape = await startHub(t, answering(200, '{"models": 1}'));
  await assert.rejects(new HubClient(shape, 'k').get('/', schema), withCode('HUB_FAILED', /unexpected/));
});

test('what is published may take longer than an answer', async (t) => {
  const url = await startHub(t, (_request, response) => void setTimeout(() => response.end('{}'), 400));
  const hub = new HubClient(url, 'k', {}, { answerMs: 100, publishMs: 60_000 });
  await assert.rejects(
    hub.post('/', {}, anything),
    withCode('HUB_UNREACHABLE', /^the hub at http:.* does not answer within 0\.1 s$/),
  );
  assert.deepEqual(await hub.publish('/', {}, anything), {});
});

test('where nobody answers it says where it asked, and what to do', async (t) => {
  const url = `http://127.0.0.1:${await freePort()}`;
  await assert.rejects(
    new HubClient(url, 'k').get('/', anything),
    (error) =>
      withCode('HUB_UNREACHABLE', /npm start.*--hub/)(error) && (error as Error).message.includes(url),
  );
  await assert.rejects(
    new HubClient('http://hub.invalid:8080', 'k').get('/', anything),
    withCode('NAME_UNRESOLVED', /^hub\.invalid: /),
  );
  const cut = await startHub(t, (_request, response) => void response.destroy());
  await assert.rejects(
    new HubClient(cut, 'k').get('/', anything),
    withCode('HUB_UNREACHABLE', /^the hub at .* does not answer$/),
  );
});

/** A variable of the environment, for one test. */
function setEnv(t: TestContext, name: string, value: string): void {
  const before = process.env[name];
  process.env[name] = value;
  t.after(() => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  });
}

test('finds hub and key: flag before environment before what a hub left in the data folder', async (t) => {
  const data = await temporaryFolder(t);
  const seen: (string | undefined)[] = [];
  const url = await startHub(t, (request, response) => {
    seen.push(request.headers.authorization);
    response.end('{}');
  });
  await mkdir(join(data, 'hub'));
  await writeFile(join(data, 'hub', 'address.json'), JSON.stringify({ url }));
  await writeFile(join(data, 'hub', 'admin.key'), 'left\n');
  const left = await HubClient.find({ data });
  assert.equal(left.url, url);
  await left.get('/', anything);
  setEnv(t, 'OUTRIDER_KEY', 'from-env');
  setEnv(t, 'OUTRIDER_HUB', 'http://from-env:1');
  assert.equal((await HubClient.find({ data })).url, 'http://from-env:1');
  await (await HubClient.find({ data, hub: url })).get('/', anything);
  await (await HubClient.find({ data, hub: url, key: 'flag' })).get('/', anything);
  assert.deepEqual(seen, ['Bearer left', 'Bearer from-env', 'Bearer flag']);
});

test('without a hub’s traces, or with torn ones, it asks where a hub usually is', async (t) => {
  const data = await temporaryFolder(t);
  assert.equal((await HubClient.find({ data })).url, 'http://127.0.0.1:8080');
  await mkdir(join(data, 'hub'));
  for (const torn of ['', '{"url": "http', '{"port": 1}']) {
    await writeFile(join(data, 'hub', 'address.json'), torn);
    assert.equal((await HubClient.find({ data })).url, 'http://127.0.0.1:8080');
  }
});

test('what is no address is a mistake of whoever gave it', async () => {
  await assert.rejects(new HubClient('hub.lan', 'k').get('/', anything), withCode('USAGE', /hub\.lan/));
});
