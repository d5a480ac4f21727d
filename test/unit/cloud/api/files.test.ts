import assert from 'node:assert/strict';
import { unlink } from 'node:fs/promises';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { BLOB_PIECE_BYTES, MAX_BLOB_BYTES } from '../../../../shared/contract/limits.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import {
  asker,
  assertProblem,
  type Body,
  enrolDevice,
  startHubApi,
  type TestHubApi,
} from '../../../support/hub-api.ts';

const BODY_TIMEOUT_MS = 200;
const CONTENT = Buffer.from('0123456789');
const DIGEST = sha256Hex(CONTENT);

describe('files by digest', () => {
  let hub: TestHubApi;
  let ask: ReturnType<typeof asker>;
  let device: string;
  let clock: FakeClock;
  beforeEach(async () => {
    clock = new FakeClock();
    hub = await startHubApi({ clock, bodyTimeoutMs: BODY_TIMEOUT_MS });
    ask = asker(hub);
    device = await enrolDevice(hub, 'gate-01');
  });
  afterEach(() => hub.stop());

  const put = (piece: Body, headers: Record<string, string> = {}, digest = DIGEST) =>
    ask('PUT', `/api/v1/blobs/${digest}`, { body: piece, headers });
  const last = { 'upload-complete': '?1' };

  describe('going up', () => {
    it('go in pieces, from where they broke off', async () => {
      const path = `/api/v1/blobs/${DIGEST}`;
      const nothing = await ask('HEAD', path);
      assert.deepEqual([nothing.status, nothing.headers.get('upload-offset')], [404, '0']);
      const first = await put(CONTENT.subarray(0, 4));
      assert.deepEqual([first.status, first.headers.get('upload-offset')], [204, '4']);
      assert.equal((await ask('HEAD', path)).headers.get('upload-offset'), '4');
      const wrong = await put(CONTENT.subarray(4), { 'upload-offset': '5', ...last });
      assert.equal(wrong.headers.get('upload-offset'), '4');
      await assertProblem(wrong, 412, 'PRECONDITION_FAILED');
      assert.equal((await put(CONTENT.subarray(4), { 'upload-offset': '4', ...last })).status, 201);
      const whole = await ask('HEAD', path);
      assert.deepEqual([whole.status, whole.headers.get('content-length')], [200, '10']);
      assert.equal((await put(CONTENT, last)).status, 201, 'it is there already');
      assert.equal(await (await ask('GET', path)).text(), CONTENT.toString());
    });

    it('are held to their digest', async () => {
      await assertProblem(await put('something else', last), 422, 'MODEL_DIGEST_MISMATCH');
      assert.equal((await put(CONTENT, last)).status, 201);
      const empty = sha256Hex('');
      assert.equal((await put('', last, empty)).status, 201);
      assert.equal(await (await ask('GET', `/api/v1/blobs/${empty}`)).text(), '');
    });

    it('are refused when too large, too slow, or of the wrong form', async () => {
      await assertProblem(await put(Buffer.alloc(BLOB_PIECE_BYTES + 1)), 413, 'INPUT_TOO_LARGE');
      await assertProblem(
        await put('x', { 'upload-offset': String(MAX_BLOB_BYTES + 1) }),
        413,
        'INPUT_TOO_LARGE',
      );
      for (const headers of [
        { 'upload-offset': '-1' },
        { 'upload-offset': 'x' },
        { 'upload-complete': 'yes' },
      ])
        await assertProblem(await put('x', headers), 400, 'BAD_REQUEST');
      const slow = put(endless('half'), last);
      await clock.advance(BODY_TIMEOUT_MS);
      await assertProblem(await slow, 408, 'BODY_TIMEOUT');
      for (const digest of ['..', DIGEST.toUpperCase(), 'x', `${DIGEST}0`, '%00'])
        assert.equal((await put('x', {}, digest)).status, 404, digest);
      await assertProblem(await ask('GET', `/api/v1/blobs/${DIGEST.slice(1)}`), 404, 'NOT_FOUND');
    });

    it('go one at a time for each, and eight together', async () => {
      const open = Array.from({ length: 8 }, (_, i) => put(endless('x'), {}, sha256Hex(`${i}`)));
      await settle();
      await assertProblem(await put('x', {}, sha256Hex('0')), 409, 'CONFLICT');
      await assertProblem(await put('x'), 429, 'QUEUE_FULL');
      await clock.advance(BODY_TIMEOUT_MS);
      for (const response of await Promise.all(open)) await assertProblem(response, 408, 'BODY_TIMEOUT');
      assert.equal((await put(CONTENT, last)).status, 201);
    });
  });

  describe('for devices', () => {
    const read = (headers: Record<string, string> = {}, key = device) =>
      ask('GET', '/tuf/targets/models/a/file.onnx', { headers, key });
    beforeEach(async () => {
      await hub.blobs.put(CONTENT);
      hub.updates.listed.set('models/a/file.onnx', { sha256: DIGEST, bytes: CONTENT.length });
      hub.updates.files.set('timestamp.json', Buffer.from('{"signed":{}}'));
    });

    it('come whole, with an ETag, only to devices', async () => {
      const whole = await read();
      assert.equal(whole.status, 200);
      assert.deepEqual(
        ['etag', 'accept-ranges', 'content-length'].map((name) => whole.headers.get(name)),
        [`"${DIGEST}"`, 'bytes', '10'],
      );
      assert.equal(await whole.text(), CONTENT.toString());
      assert.equal((await read({ 'if-none-match': `"${DIGEST}"` })).status, 304);
      for (const key of [hub.adminKey, hub.inferKey, 'guessed'])
        await assertProblem(await read({}, key), 401, 'UNAUTHORIZED');
    });

    for (const [range, status, content, contentRange] of [
      ['bytes=0-3', 206, '0123', 'bytes 0-3/10'],
      ['bytes=4-', 206, '456789', 'bytes 4-9/10'],
      ['bytes=8-99', 206, '89', 'bytes 8-9/10'],
      ['bytes=-3', 206, '789', 'bytes 7-9/10'],
      ['bytes=-99', 206, '0123456789', 'bytes 0-9/10'],
      ['bytes=9-9', 206, '9', 'bytes 9-9/10'],
      ['bytes=0-1,3-4', 200, '0123456789', null],
      ['bytes=5-2', 200, '0123456789', null],
      ['bytes=', 200, '0123456789', null],
      ['bytes=-', 200, '0123456789', null],
      ['lines=0-1', 200, '0123456789', null],
      ['bytes=a-b', 200, '0123456789', null],
    ] as const)
      it(`answer ${range} with ${status}`, async () => {
        const response = await read({ range });
        assert.deepEqual(
          [response.status, await response.text(), response.headers.get('content-range')],
          [status, content, contentRange],
        );
        assert.equal(response.headers.get('content-length'), String(content.length));
      });

    it('refuse a range that lies outside', async () => {
      for (const range of ['bytes=10-', 'bytes=99-100', 'bytes=-0']) {
        const response = await read({ range });
        assert.equal(response.headers.get('content-range'), 'bytes */10');
        await assertProblem(response, 416, 'RANGE_INVALID');
      }
    });

    it('come whole when they are not what has come before', async () => {
      const range = 'bytes=4-';
      assert.equal((await read({ range, 'if-range': `"${DIGEST}"` })).status, 206);
      assert.equal((await read({ range, 'if-range': '"other"' })).status, 200);
      assert.equal((await read({ range, 'if-range': `W/"${DIGEST}"` })).status, 200);
    });

    it('are only those that are listed and there', async () => {
      for (const path of [
        'models/b',
        '..%2f..%2fetc%2fpasswd',
        '../../hub.json',
        '%00',
        DIGEST,
        'x'.repeat(2_000),
      ]) {
        const response = await ask('GET', `/tuf/targets/${path}`, { key: device });
        assert.equal(response.status, 404, path);
      }
      await unlink(hub.blobs.path(DIGEST));
      await assertProblem(await read(), 404, 'NOT_FOUND');
    });

    it('come with their signed metadata, by its name', async () => {
      const get = (name: string) => ask('GET', `/tuf/metadata/${name}`, { key: device });
      assert.equal(await (await get('timestamp.json')).text(), '{"signed":{}}');
      for (const name of ['2.root.json', '..%2ftimestamp.json', 'timestamp', '%00.json', 'a/b.json'])
        assert.equal((await get(name)).status, 404, name);
    });
  });

  it('are listed by who has a key of their own, only after what was read', async () => {
    const path = '/api/v1/tuf/targets';
    const shown = await ask('GET', path);
    const etag = shown.headers.get('etag') ?? '';
    assert.deepEqual(await shown.json(), { signed: { version: 1 } });
    const send = (body: string, headers: Record<string, string>) => ask('PUT', path, { body, headers });
    await assertProblem(await send('{"signed":{}}', {}), 428, 'PRECONDITION_REQUIRED');
    await assertProblem(await send('{"signed":{}}', { 'if-match': '"x"' }), 412, 'PRECONDITION_FAILED');
    await assertProblem(await send('{}', { 'if-match': etag }), 422, 'UPDATE_UNTRUSTED');
    const put = await send('{"signed":{"version":2}}', { 'if-match': etag });
    assert.equal(put.status, 204);
    assert.equal((await ask('GET', path)).headers.get('etag'), put.headers.get('etag'));
    await assertProblem(await send('{"signed":{}}', { 'if-match': etag }), 412, 'PRECONDITION_FAILED');
  });
});

/** A body that begins and never ends. */
function endless(begin: string): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from(begin)) });
}
