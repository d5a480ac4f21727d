import assert from 'node:assert/strict';
import { createServer as createPlainServer, type RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Authority } from '../../../../shared/runtime/authority.ts';
import { CertificateFiles } from '../../../../shared/runtime/certificate-files.ts';
import { type Clock, systemClock } from '../../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { httpsFetch } from '../../../../shared/runtime/https-fetch.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { freePort } from '../../../support/ports.ts';

const parts = { clock: systemClock, logger: silentLogger };
const limits = { timeoutMs: 10_000, maxBytes: 1_000 };
const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);

async function setUp(t: TestContext, listener: RequestListener, clock: Clock = systemClock) {
  const folder = join(await temporaryFolder(t), 'tls');
  const authority = await Authority.open({ folder, names: [], clock, logger: silentLogger });
  const { current } = await CertificateFiles.open(authority, parts);
  const server = createServer(current, listener);
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: new URL(`https://localhost:${port}/a?b=c`), port, trust: { ca: authority.pem }, current };
}

test('sends what it is given and brings back the answer, under an authority of our own', async (t) => {
  const seen: string[] = [];
  const { url, trust } = await setUp(t, (request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      seen.push(`${request.method} ${request.url} ${request.headers['x-a']} ${body}`);
      response.writeHead(201, { 'content-type': 'application/json' }).end('{"n":1}');
    });
  });
  const response = await httpsFetch(url, {
    method: 'POST',
    headers: { 'x-a': 'y' },
    body: 'hello',
    trust,
    ...limits,
  });
  assert.deepEqual([response.status, await response.json()], [201, { n: 1 }]);
  assert.equal(response.headers.get('content-type'), 'application/json');
  await httpsFetch(url, { method: 'DELETE', trust, ...limits });
  assert.deepEqual(seen, ['POST /a?b=c y hello', 'DELETE /a?b=c undefined ']);
});

test('believes nobody else: another authority, the system’s, another name, an end that has passed', async (t) => {
  const asked: string[] = [];
  const listen: RequestListener = (request, response) => {
    asked.push(request.url ?? '');
    response.end();
  };
  const past: Clock = { ...systemClock, nowAtMs: () => Date.now() - 500 * 86_400_000 };
  const [hub, stranger, old] = [await setUp(t, listen), await setUp(t, listen), await setUp(t, listen, past)];
  const untrusted = withCode('HUB_UNTRUSTED');
  await assert.rejects(httpsFetch(hub.url, { trust: stranger.trust, ...limits }), untrusted);
  await assert.rejects(httpsFetch(hub.url, limits), untrusted);
  const otherName = new URL(`https://127.0.0.2:${hub.port}`);
  await assert.rejects(httpsFetch(otherName, { trust: hub.trust, ...limits }), untrusted);
  await assert.rejects(httpsFetch(old.url, { trust: old.trust, ...limits }), untrusted);
  assert.deepEqual(asked, [], 'nothing was said to any of them');
  // The very certificate counts whatever its names.
  await httpsFetch(otherName, { trust: { certificate: hub.current.cert }, ...limits });
  await httpsFetch(hub.url, { trust: 'anyone', ...limits });
  assert.equal(asked.length, 2);
  // A connection that believed anyone is not used for one that must not.
  await assert.rejects(httpsFetch(hub.url, { trust: stranger.trust, ...limits }), untrusted);
});

test('an answer that is too large, cut off or never comes has its code', async (t) => {
  const { url, trust } = await setUp(t, (request, response) => {
    if (request.url === '/large') response.end(Buffer.alloc(1_001));
    else if (request.url === '/cut') {
      response.writeHead(200, { 'content-length': '100' });
      response.write('x');
      setImmediate(() => response.destroy());
    } else if (request.url !== '/never') response.end(Buffer.alloc(1_000));
  });
  const get = (path: string, timeoutMs = 10_000) =>
    httpsFetch(new URL(path, url), { trust, timeoutMs, maxBytes: 1_000 });
  assert.equal((await (await get('/fits')).arrayBuffer()).byteLength, 1_000);
  await assert.rejects(get('/large'), withCode('HUB_FAILED'));
  await assert.rejects(get('/cut'), withCode('HUB_UNREACHABLE'));
  await assert.rejects(get('/never', 100), withCode('HUB_UNREACHABLE'));
  const nobody = new URL(`https://127.0.0.1:${await freePort()}`);
  await assert.rejects(httpsFetch(nobody, { trust, ...limits }), withCode('HUB_UNREACHABLE'));
  const unknown = new URL('https://hub.invalid');
  await assert.rejects(httpsFetch(unknown, { trust, ...limits }), withCode('NAME_UNRESOLVED'));
});

test('plain http as well, and no redirect is followed', async (t) => {
  const asked: string[] = [];
  const server = createPlainServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(307, { location: '/elsewhere' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/here`);
  assert.equal((await httpsFetch(url, limits)).status, 307);
  assert.deepEqual(asked, ['/here']);
});
