import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type EnrollOptions,
  findCredential,
  waitForCredential,
} from '../../../../agent/uplink/credential.ts';
import { type EnrollRequest, enrollRequest } from '../../../../shared/contract/messages.ts';
import { Authority } from '../../../../shared/runtime/authority.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { freePort } from '../../../support/ports.ts';
import { eventually } from '../../../support/programs.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const TOKEN = 't'.repeat(43);
const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);

type Answer = (response: ServerResponse, request: EnrollRequest) => void;

const json =
  (status: number, body: unknown): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
const accept: Answer = (response, { deviceId }) =>
  json(200, { deviceId, hubId: 'hub-1', mqttUrl: 'mqtt://127.0.0.1:1883' })(response, {} as never);

/** A hub that answers as it is told, one answer a request, and the last one for ever. */
async function startHub(t: TestContext, answers: Answer[], port = 0) {
  const asked: EnrollRequest[] = [];
  const answerNext = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    assert.equal(`${request.method} ${request.url}`, 'POST /api/v1/enroll');
    const parsed = enrollRequest.parse(JSON.parse(text));
    asked.push(parsed);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    answer?.(response, parsed);
  };
  const server = createServer((request, response) => {
    answerNext(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function setUp(t: TestContext, overrides: Partial<EnrollOptions> = {}) {
  const folder = await temporaryFolder(t);
  const clock = new FakeClock();
  const logger = recordingLogger();
  const options: EnrollOptions = {
    path: join(folder, 'credential.json'),
    deviceId: 'gate-01',
    hubUrl: undefined,
    token: TOKEN,
    clock,
    logger,
    ...overrides,
  };
  return { folder, clock, logger, options };
}

test('swaps the token for a credential that only its owner can read, once for all restarts', async (t) => {
  const hub = await startHub(t, [accept]);
  const { options, folder } = await setUp(t, { hubUrl: hub.url });
  const made = await findCredential(options);
  assert.deepEqual(made, {
    deviceId: 'gate-01',
    secret: hub.asked[0]?.secret,
    hubId: 'hub-1',
    mqttUrl: 'mqtt://127.0.0.1:1883',
    tokenSha256: sha256Hex(TOKEN),
  });
  assert.ok((made?.secret.length ?? 0) >= 43, 'a secret of 256 bits');
  assert.deepEqual(await readdir(folder), ['credential.json']);
  assert.equal((await stat(options.path)).mode & 0o777, 0o600);
  assert.ok(!(await readFile(options.path, 'utf8')).includes(TOKEN), 'the token is nobody’s business');

  assert.deepEqual(await findCredential(options), made);
  assert.deepEqual(await findCredential({ ...options, token: undefined, hubUrl: undefined }), made);
  assert.equal(hub.asked.length, 1);
});

test('a new token enrols anew, with a new secret', async (t) => {
  const hub = await startHub(t, [accept]);
  const { options } = await setUp(t, { hubUrl: hub.url });
  const first = await findCredential(options);
  const second = await findCredential({ ...options, token: 'u'.repeat(43) });
  assert.notEqual(second?.secret, first?.secret);
  assert.equal(second?.tokenSha256, sha256Hex('u'.repeat(43)));
});

test('a token that was put beside the credential is used once and removed, and one that is given comes first', async (t) => {
  const hub = await startHub(t, [accept]);
  const { options, folder } = await setUp(t, { hubUrl: hub.url, token: undefined });
  const put = join(folder, 'enroll.token');
  await writeFile(put, `${TOKEN}\n`);
  const made = await findCredential(options);
  assert.equal(made?.tokenSha256, sha256Hex(TOKEN));
  assert.deepEqual(await readdir(folder), ['credential.json']);
  assert.deepEqual(await findCredential(options), made);

  // Killed between the credential and the removal.
  await writeFile(put, TOKEN);
  assert.deepEqual(await findCredential(options), made);
  assert.deepEqual(await readdir(folder), ['credential.json']);
  assert.equal(hub.asked.length, 1);

  await writeFile(put, 'u'.repeat(43));
  assert.deepEqual(await findCredential({ ...options, token: TOKEN }), made);
  assert.equal((await findCredential(options))?.tokenSha256, sha256Hex('u'.repeat(43)));
});

test('a token that was put there stays until the hub has taken it, and an empty one is none', async (t) => {
  const hub = await startHub(t, [json(503, { code: 'STOPPING', detail: 'stopping' }), accept]);
  const { options, folder } = await setUp(t, { hubUrl: hub.url, token: undefined });
  const put = join(folder, 'enroll.token');
  await writeFile(put, '\n');
  assert.equal(await findCredential(options), undefined);
  assert.equal(hub.asked.length, 0);
  await writeFile(put, TOKEN);
  assert.equal(await findCredential(options), undefined);
  assert.ok((await readdir(folder)).includes('enroll.token'));
  assert.equal((await findCredential(options))?.hubId, 'hub-1');
});

test('without token and credential there is nobody to be', async (t) => {
  const { options } = await setUp(t, { token: undefined });
  assert.equal(await findCredential(options), undefined);
});

test('the credential of another device is not this one’s', async (t) => {
  const hub = await startHub(t, [accept]);
  const { options } = await setUp(t, { hubUrl: hub.url });
  await findCredential(options);
  assert.equal(await findCredential({ ...options, deviceId: 'gate-02', token: undefined }), undefined);
});

test('a secret never travels by plain http off loopback, and a token needs a hub', async (t) => {
  for (const hubUrl of ['http://hub.example.com', 'http://10.0.0.2:8080', 'http://127.0.0.1.example.com']) {
    const { options, folder } = await setUp(t, { hubUrl });
    await assert.rejects(findCredential(options), withCode('CONFIG_INVALID'), hubUrl);
    assert.deepEqual(await readdir(folder), []);
  }
  const { options } = await setUp(t);
  await assert.rejects(findCredential(options), withCode('CONFIG_INVALID'));
});

test('a refused token is told at once and leaves no credential', async (t) => {
  for (const code of ['ENROLLMENT_REFUSED', 'CONFLICT'] as const) {
    const hub = await startHub(t, [json(403, { code, detail: 'no' })]);
    const { options } = await setUp(t, { hubUrl: hub.url });
    await assert.rejects(findCredential(options), withCode(code));
    assert.equal(await findCredential({ ...options, token: undefined }), undefined);
  }
});

test('a hub that is down, busy, behind a broken proxy or no hub at all is asked again later', async (t) => {
  const answers: [string, Answer][] = [
    ['busy', json(429, { code: 'QUEUE_FULL', detail: 'too many attempts' })],
    ['stopping', json(503, { code: 'STOPPING', detail: 'the program is stopping' })],
    ['a proxy', (response) => response.writeHead(502).end('<html>Bad gateway</html>')],
    ['another server', (response) => response.end('hello')],
    ['cut', (response) => response.destroy()],
  ];
  for (const [name, answer] of answers) {
    const hub = await startHub(t, [answer, accept]);
    const { options, logger } = await setUp(t, { hubUrl: hub.url });
    assert.equal(await findCredential(options), undefined, name);
    assert.equal(logger.failures().length, 1, name);
    assert.equal((await findCredential(options))?.hubId, 'hub-1', name);
  }
});

test('waits for the hub, with backoff, until it is there', async (t) => {
  const port = await freePort();
  const { options, clock, logger } = await setUp(t, { hubUrl: `http://127.0.0.1:${port}` });
  const waiting = waitForCredential(options, new AbortController().signal);
  await eventually(() => logger.failures().length === 1, 'it never asked');
  assert.deepEqual(logger.failures(), ['enroll.no_hub HUB_UNREACHABLE']);
  await startHub(t, [accept], port);
  await clock.advance(1_000);
  assert.equal((await waiting).hubId, 'hub-1');
});

test('stops waiting when told to', async (t) => {
  const { options, logger } = await setUp(t, { hubUrl: `http://127.0.0.1:${await freePort()}` });
  const stopping = new AbortController();
  const waiting = waitForCredential(options, stopping.signal);
  await eventually(() => logger.failures().length === 1, 'it never asked');
  stopping.abort(new Error('stop'));
  await assert.rejects(waiting, /stop/);
});

test('when the hub’s answer is lost, the same token asks again with the same secret, also after a restart', async (t) => {
  // The hub spends the token on the first secret that it sees (cloud/registry/devices.ts).
  const spent = new Map<string, string>();
  const spend: Answer = (response, request) => {
    const secret = spent.get(request.token) ?? request.secret;
    spent.set(request.token, secret);
    if (secret === request.secret) accept(response, request);
    else json(403, { code: 'ENROLLMENT_REFUSED', detail: 'used' })(response, request);
  };
  const lose: Answer = (response, request) => {
    spent.set(request.token, request.secret);
    response.destroy();
  };
  const hub = await startHub(t, [lose, spend]);
  const { options, folder } = await setUp(t, { hubUrl: hub.url });
  assert.equal(await findCredential(options), undefined);
  for (const name of await readdir(folder))
    assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
  assert.equal((await findCredential(options))?.secret, spent.get(TOKEN));
  assert.deepEqual(await readdir(folder), ['credential.json']);
});

test('a credential file that is damaged is told, as good as none, and not overwritten', async (t) => {
  const { options } = await setUp(t, { token: undefined });
  await writeFile(options.path, '{"deviceId": "gate-01", "sec');
  const logger = recordingLogger();
  assert.equal(await findCredential({ ...options, logger }), undefined);
  assert.deepEqual(logger.failures(), ['enroll.credential_unreadable DATA_CORRUPT']);
  assert.equal(await readFile(options.path, 'utf8'), '{"deviceId": "gate-01", "sec');
});

/** A hub over https with an authority of its own; `caPem` is what it shows to who asks for it. */
async function startSecureHub(t: TestContext, caPem: (own: string) => string = (own) => own) {
  const folder = join(await temporaryFolder(t), 'tls');
  const authority = await Authority.open({ folder, names: [], clock: systemClock, logger: silentLogger });
  const asked: EnrollRequest[] = [];
  const answerNext = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.url === '/ca.pem') return void response.end(caPem(authority.pem));
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const parsed = enrollRequest.parse(JSON.parse(text));
    asked.push(parsed);
    const body = { deviceId: parsed.deviceId, hubId: 'hub-1', mqttUrl: 'mqtts://127.0.0.1:8883' };
    json(201, body)(response, parsed);
  };
  const [cert, key] = await Promise.all(
    [authority.certFile, authority.keyFile].map((path) => readFile(path, 'utf8')),
  );
  const server = createSecureServer({ cert, key }, (request, response) => {
    answerNext(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, authority, url: `https://localhost:${(server.address() as AddressInfo).port}` };
}

test('pins the authority that its token names, and tells the hub the secret part only', async (t) => {
  const hub = await startSecureHub(t);
  const { options } = await setUp(t, { hubUrl: hub.url, token: `${hub.authority.fingerprint}.${TOKEN}` });
  const made = await findCredential(options);
  assert.equal(made?.ca, hub.authority.pem);
  assert.equal(hub.asked[0]?.token, TOKEN);
  assert.deepEqual(await findCredential({ ...options, hubUrl: undefined }), made);
});

test('says nothing to a hub that is not the one of the token, and leaves no trace of it', async (t) => {
  const other = await startSecureHub(t);
  const named = `${other.authority.fingerprint}.${TOKEN}`;
  for (const [what, caPem] of [
    ['its own authority', undefined],
    ['the right one, which is public, without its key', () => other.authority.pem],
    ['the right one, and its own behind it', (own: string) => other.authority.pem + own],
    ['no certificate', () => 'hello'],
  ] as const) {
    const hub = await startSecureHub(t, caPem);
    const { options, folder } = await setUp(t, { hubUrl: hub.url, token: named });
    await assert.rejects(findCredential(options), withCode('HUB_UNTRUSTED'), what);
    assert.deepEqual(hub.asked, [], what);
    assert.ok(!(await readdir(folder)).includes('credential.json'), what);
  }
});

test('without a fingerprint the system’s authorities count, or the one given by hand', async (t) => {
  const hub = await startSecureHub(t);
  const { options } = await setUp(t, { hubUrl: hub.url });
  await assert.rejects(findCredential(options), withCode('HUB_UNTRUSTED'));
  const made = await findCredential({ ...options, ca: hub.authority.pem });
  assert.equal(made?.hubId, 'hub-1');
  assert.equal(made?.ca, undefined, 'what is given by hand stays with the configuration');
});
