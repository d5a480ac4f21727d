/** The command line signs for a version, over HTTP, with a repository that checks for real. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { listVersion } from '../../../cli/commands/list-version.ts';
import { HubClient } from '../../../cli/hub-client.ts';
import type { PublishedVersion } from '../../../shared/contract/admin.ts';
import { type ErrorCode, isAppError, toAppError } from '../../../shared/runtime/errors.ts';
import { releaseOf, SignedHub } from '../../support/signed-hub.ts';

const withCode =
  (code: ErrorCode, message = /./) =>
  (error: unknown) =>
    isAppError(error, code) && message.test(error.message);
const TARGETS = '/api/v1/tuf/targets';
const ROOT = '/api/v1/tuf/root';
const release = releaseOf('eyes', '7');
const made: PublishedVersion = {
  ...release.ref,
  created: true,
  published: false,
  deployed: false,
  test: 'golden',
};

/** Before the first puts somebody else is quicker, so many times. */
async function setUp(t: TestContext, rivals: number) {
  const hub = await SignedHub.open();
  const state = { puts: 0, isTaken: true };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { repository } = hub;
    if (request.url === ROOT) {
      const { etag, body } = repository.root();
      response.writeHead(200, { etag }).end(body);
      return;
    }
    if (request.url !== TARGETS) {
      const published = state.isTaken && repository.release('eyes', '7') !== undefined;
      const version = { version: '7', digest: made.digest, bytes: 1, createdAtMs: 1, published };
      const { name, digest } = release.ref;
      const model = {
        ...{ name, digest, task: release.task, version: '7' },
        bytes: 1,
        loaded: false,
        provider: null,
      };
      response.end(JSON.stringify({ ...model, policy: 'auto', deployed: '7', versions: [version] }));
      return;
    }
    if (request.method === 'GET') {
      const { etag, body } = repository.targets();
      response.writeHead(200, { etag }).end(body);
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (++state.puts <= rivals) await repository.add([releaseOf('ears', String(state.puts))]);
    try {
      await repository.putTargets(Buffer.concat(chunks), request.headers['if-match'] ?? '');
      response.writeHead(204).end();
    } catch (error) {
      const { code, message } = toAppError(error);
      response.writeHead(code === 'PRECONDITION_FAILED' ? 412 : 422);
      response.end(JSON.stringify({ code, detail: message }));
    }
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await hub.close();
  });
  const client = new HubClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'key');
  return { hub, state, client, key: await hub.key('targets') };
}

test('signs again when somebody else was quicker, and loses nothing of theirs', async (t) => {
  const { hub, state, client, key } = await setUp(t, 4);
  assert.deepEqual(await listVersion(client, made, { release, signers: [key] }), {
    ...made,
    published: true,
    deployed: true,
  });
  assert.equal(state.puts, 5);
  assert.deepEqual(hub.repository.release('eyes', '7'), release);
  assert.equal(hub.repository.releases().length, 5);
  await listVersion(client, made, { release, signers: [key] });
  assert.equal(state.puts, 5, 'what is listed is not signed again');
});

test('gives up when somebody else is quicker each time', async (t) => {
  const { hub, state, client, key } = await setUp(t, 5);
  await assert.rejects(
    listVersion(client, made, { release, signers: [key] }),
    withCode('PRECONDITION_FAILED'),
  );
  assert.equal(state.puts, 5);
  assert.equal(hub.repository.release('eyes', '7'), undefined);
});

test('does not sign with another key, nor for another version than was pushed', async (t) => {
  const { hub, state, client, key } = await setUp(t, 0);
  const before = hub.repository.targets();
  const other = await hub.key('root');
  await assert.rejects(
    listVersion(client, made, { release, signers: [other] }),
    withCode('UPDATE_UNTRUSTED', /not signed with this key/),
  );
  const swapped = { ...made, digest: 'f'.repeat(64) };
  await assert.rejects(
    listVersion(client, swapped, { release, signers: [key] }),
    withCode('UPDATE_UNTRUSTED', /not what was pushed/),
  );
  assert.deepEqual([hub.repository.targets(), state.puts], [before, 0]);
});

test('says so when the hub has taken the signature and not published the version', async (t) => {
  const { state, client, key } = await setUp(t, 0);
  state.isTaken = false;
  await assert.rejects(
    listVersion(client, made, { release, signers: [key] }),
    withCode('UPDATE_NOT_LISTED', /push it again/),
  );
});
