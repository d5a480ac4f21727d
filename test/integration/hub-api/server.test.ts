/** The hub's API behind a real socket: what a request object in memory cannot show. */
import assert from 'node:assert/strict';
import * as diagnostics from 'node:diagnostics_channel';
import { cp } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { HubServer } from '../../../cloud/api/frame/server.ts';
import { Authority } from '../../../shared/runtime/authority.ts';
import { CertificateFiles } from '../../../shared/runtime/certificate-files.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { httpsFetch } from '../../../shared/runtime/https-fetch.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { LABELS, startHubApi, type TestHubApi } from '../../support/hub-api.ts';
import { freePort } from '../../support/ports.ts';
import { eventually } from '../../support/programs.ts';

const BODY_TIMEOUT_MS = 300;

describe('the hub’s HTTP server', () => {
  const clock = new FakeClock();
  let hub: TestHubApi;
  let server: HubServer;
  /** Timers of parts that look at something from time to time. */
  let waitingAtRest = 0;
  before(async () => {
    hub = await startHubApi({ clock, bodyTimeoutMs: BODY_TIMEOUT_MS });
    server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
    await server.start();
    waitingAtRest = clock.waiting;
  });
  after(async () => {
    await server.stop();
    await hub.stop();
  });

  const head = (path: string, length: number) =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${hub.inferKey}\r\nContent-Length: ${length}\r\n\r\n`;

  /** Sends bytes, and keeps what comes back. */
  function talk(t: { after(run: () => void): void }, bytes: string) {
    let heard = '';
    const socket = createConnection(server.port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      heard += chunk.toString();
    });
    socket.on('error', () => undefined);
    t.after(() => void socket.destroy());
    return {
      hears: (wanted: RegExp) =>
        eventually(
          () => wanted.test(heard),
          () => `it never heard ${wanted}, but: ${heard}`,
        ),
      hangUp: () => socket.destroy(),
    };
  }
  const waitsForBody = () => eventually(() => clock.waiting > waitingAtRest, 'no body was waited for');
  const waitsForNone = () => eventually(() => clock.waiting === waitingAtRest, 'a body is waited for still');

  it('answers over a socket', async () => {
    const response = await fetch(`http://127.0.0.1:${server.port}/hf/models/org/pictures`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.inferKey}` },
      body: new Uint8Array([1, 2, 3]),
    });
    assert.deepEqual(await response.json(), LABELS);
  });

  it('refuses a body that announces too much without waiting for it', async (t) => {
    const { hears } = talk(t, head('/hf/models/org/pictures', 2 ** 31));
    await hears(/^HTTP\/1\.1 413 [\s\S]*INPUT_TOO_LARGE/);
  });

  it('gives a body up that does not come', async (t) => {
    const { hears } = talk(t, `${head('/hf/models/texts', 100)}half`);
    await waitsForBody();
    await clock.advance(BODY_TIMEOUT_MS);
    await hears(/^HTTP\/1\.1 408 [\s\S]*did not arrive.*BODY_TIMEOUT/);
  });

  it('survives a caller who hangs up in the middle', async (t) => {
    const { hangUp } = talk(t, `${head('/hf/models/texts', 100)}half`);
    await waitsForBody();
    hangUp();
    await waitsForNone();
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status, 200);
  });

  it('says a file’s length without sending it, sends ranges, and streams events', async () => {
    const sha256 = await hub.blobs.put(Buffer.from('0123456789'));
    const headers = { authorization: `Bearer ${hub.adminKey}` };
    const url = `http://127.0.0.1:${server.port}/api/v1`;
    const head = await fetch(`${url}/blobs/${sha256}`, { method: 'HEAD', headers });
    assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '10', '']);
    const range = await fetch(`${url}/blobs/${sha256}`, { headers: { ...headers, range: 'bytes=2-4' } });
    assert.deepEqual(
      [range.status, range.headers.get('content-length'), await range.text()],
      [206, '3', '234'],
    );
    const leaving = new AbortController();
    const events = await fetch(`${url}/events`, { headers, signal: leaving.signal });
    const reader = events.body?.getReader();
    await reader?.read();
    hub.events.publish({ type: 'device-removed', id: 'gate-01' });
    assert.match(Buffer.from((await reader?.read())?.value ?? []).toString(), /gate-01/);
    leaving.abort();
    await eventually(() => hub.events.readers === 0, 'who hangs up is not forgotten');
  });

  it('ends the connection of who does not read its answer, and of nobody who waits for one', async (t) => {
    const strict = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 }, 200);
    await strict.start();
    t.after(() => strict.stop());
    // More than the kernel takes for a reader that does not read.
    const sha256 = await hub.blobs.put(Buffer.alloc(64 * 1024 * 1024));
    // Who reads nothing does not hear of it: seen from the server's side.
    const isEnded = new Promise<void>((resolve) => {
      const onSocket = (message: unknown) => {
        diagnostics.unsubscribe('net.server.socket', onSocket);
        (message as { socket: Socket }).socket.once('close', () => resolve());
      };
      diagnostics.subscribe('net.server.socket', onSocket);
    });
    const stalled = createConnection(strict.port, '127.0.0.1');
    t.after(() => void stalled.destroy());
    stalled.on('error', () => undefined).pause();
    stalled.write(
      `GET /api/v1/blobs/${sha256} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${hub.adminKey}\r\n\r\n`,
    );
    let answer = (): void => undefined;
    hub.answer = () => new Promise((answered) => (answer = () => answered(LABELS)));
    const waiting = fetch(`http://127.0.0.1:${strict.port}/hf/models/texts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.inferKey}` },
      body: 'a text',
    });
    await isEnded;
    answer();
    assert.equal((await waiting).status, 200);
  });

  it('lets answers out when it stops', async () => {
    const other = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
    await other.start();
    let answer = (): void => undefined;
    const isAsked = new Promise<void>((resolve) => {
      hub.answer = () => {
        resolve();
        return new Promise((answered) => {
          answer = () => answered(LABELS);
        });
      };
    });
    const asked = fetch(`http://127.0.0.1:${other.port}/hf/models/texts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.inferKey}` },
      body: 'good',
    });
    await isAsked;
    const stopped = other.stop();
    answer();
    await stopped;
    assert.equal((await asked).status, 200);
    await assert.rejects(fetch(`http://127.0.0.1:${other.port}/healthz`));
  });

  it('names the flag when its port is taken', async () => {
    const port = await freePort();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
    await assert.rejects(
      async () => new HubServer({ app: hub.app, host: '127.0.0.1', port }).start(),
      (error) => isAppError(error, 'PORT_TAKEN') && error.message.includes('--hub-port'),
    );
    taken.close();
  });
});

it('over TLS it shows a new certificate as soon as the files have one, without a restart', async (t) => {
  const parts = { clock: systemClock, logger: silentLogger };
  const folder = await temporaryFolder(t);
  const open = (name: string) => Authority.open({ folder: join(folder, name), names: [], ...parts });
  const [first, second] = [await open('first'), await open('second')];
  const certificate = await CertificateFiles.open(first, parts);
  certificate.start();
  const hub = await startHubApi();
  const server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0, certificate });
  await server.start();
  t.after(async () => {
    certificate.stop();
    await server.stop();
    await hub.stop();
  });
  const ask = (ca: string) =>
    httpsFetch(new URL(`https://localhost:${server.port}/healthz`), {
      trust: { ca },
      timeoutMs: 10_000,
      maxBytes: 1_000,
    });
  assert.equal((await ask(first.pem)).status, 200);
  const taken = new Promise((resolve) => certificate.onChange(resolve));
  await cp(second.keyFile, first.keyFile);
  await cp(second.certFile, first.certFile);
  await taken;
  assert.equal((await ask(second.pem)).status, 200);
  await assert.rejects(ask(first.pem), (error) => isAppError(error, 'HUB_UNTRUSTED'));
});
