import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { EventFeed } from '../../../../cloud/events/event-feed.ts';
import { boardList, type HubEvent, hubEvent } from '../../../../shared/contract/admin.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { asker, assertProblem, signIn, startHubApi, type TestHubApi } from '../../../support/hub-api.ts';

const removed = (id: string): HubEvent => ({ type: 'device-removed', id });

describe('the feed of events', () => {
  let clock: FakeClock;
  let feed: EventFeed;
  beforeEach(() => {
    clock = new FakeClock();
    feed = new EventFeed(clock);
    feed.start();
  });
  afterEach(() => feed.stop());

  const open = (lastEventId?: string, isStillAllowed = () => true, cutOff = () => {}) =>
    feed.open({ lastEventId, isStillAllowed, cutOff }).getReader();
  type Reader = ReturnType<typeof open>;
  const next = async (reader: Reader): Promise<string> =>
    Buffer.from((await reader.read()).value ?? []).toString();
  const idOf = (frame: string): string => /^id: (.*)$/m.exec(frame)?.[1] ?? '';

  it('tells all who watch, with a type and JSON', async () => {
    const readers = [open(), open()];
    feed.publish(removed('gate-01'));
    for (const reader of readers) {
      assert.equal(await next(reader), ': still here\n\n');
      const frame = await next(reader);
      assert.match(frame, /^id: .+\nevent: device-removed\ndata: .+\n\n$/);
      const data: unknown = JSON.parse(/^data: (.*)$/m.exec(frame)?.[1] ?? '');
      assert.deepEqual(hubEvent.parse(data), removed('gate-01'));
    }
  });

  it('goes on after what was seen last, and says when that is lost', async () => {
    const reader = open();
    for (const id of ['a', 'b', 'c']) feed.publish(removed(id));
    await next(reader);
    const first = idOf(await next(reader));
    const again = open(first);
    await next(again);
    assert.match(await next(again), /"id":"b"/);
    assert.match(await next(again), /"id":"c"/);
    for (const id of ['of another start', '0']) {
      const other = open(id);
      await next(other);
      assert.match(await next(other), /^event: lost\n/);
    }
    for (let i = 0; i < 1_000; i++) feed.publish(removed(`x${i}`));
    const late = open(first);
    await next(late);
    assert.match(await next(late), /^event: lost\n/);
  });

  it('tells of the last refused versions also who comes later: no list has them', async () => {
    const refused = (model: string): HubEvent => {
      const error = { code: 'MODEL_SELF_TEST_FAILED', message: 'golden input 1' };
      return { type: 'version-refused', model, error, atMs: 1 };
    };
    for (let i = 0; i < 25; i++) feed.publish(refused(`model-${i}`));
    feed.publish(removed('gate-01'));
    const reader = open();
    await next(reader);
    for (let i = 5; i < 25; i++) assert.match(await next(reader), new RegExp(`"model-${i}"`));
    feed.publish(removed('gate-02'));
    assert.match(await next(reader), /"gate-02"/);
  });

  it('cuts off who does not read, and nobody else', async () => {
    let isCutOff = false;
    const slow = open(undefined, undefined, () => {
      isCutOff = true;
    });
    const quick = open();
    await next(quick);
    const large = removed('x'.repeat(100_000));
    for (let i = 0; i < 11; i++) {
      feed.publish(large);
      await next(quick);
    }
    assert.equal(feed.readers, 1);
    assert.ok(isCutOff, 'its connection is left open');
    await assert.rejects(
      async () => {
        for (;;) await slow.read();
      },
      (error) => isAppError(error, 'QUEUE_FULL'),
    );
    feed.publish(removed('small'));
    assert.match(await next(quick), /small/);
  });

  it('is still there every 15 seconds, and looks whether its readers may be', async () => {
    let isAllowed = true;
    const reader = open(undefined, () => isAllowed);
    await next(reader);
    await clock.advance(15_000);
    assert.equal(await next(reader), ': still here\n\n');
    isAllowed = false;
    await clock.advance(15_000);
    await assert.rejects(reader.read(), (error) => isAppError(error, 'UNAUTHORIZED'));
    assert.equal(feed.readers, 0);
  });

  it('has at most a hundred readers, and forgets those that go', async () => {
    const readers = Array.from({ length: 100 }, () => open());
    assert.throws(
      () => open(),
      (error) => isAppError(error, 'QUEUE_FULL'),
    );
    await readers[0]?.cancel();
    assert.equal(feed.readers, 99);
    open();
    feed.stop();
    assert.equal(feed.readers, 0);
  });
});

describe('the gallery', () => {
  let hub: TestHubApi;
  beforeEach(async () => {
    hub = await startHubApi();
  });
  afterEach(() => hub.stop());

  it('streams events to admins and to pages that are signed in', async () => {
    const cookie = await signIn(hub);
    for (const headers of [{ authorization: `Bearer ${hub.adminKey}` }, { cookie }]) {
      const response = await hub.app.request('/api/v1/events', { headers });
      assert.equal(response.headers.get('content-type'), 'text/event-stream');
      const reader = response.body?.getReader();
      await reader?.read();
      hub.events.publish(removed('gate-01'));
      assert.match(Buffer.from((await reader?.read())?.value ?? []).toString(), /gate-01/);
      await reader?.cancel();
    }
    const ask = asker(hub);
    await assertProblem(await ask('GET', '/api/v1/events', { key: hub.inferKey }), 403, 'FORBIDDEN');
    await assertProblem(await hub.app.request('/api/v1/events'), 401, 'UNAUTHORIZED');
  });

  it('shows the last answers and their pictures', async () => {
    const ask = asker(hub);
    const id = newId();
    hub.gallery.thumbnails.set(id, Buffer.from('RIFF'));
    hub.gallery.entries = [
      {
        deviceId: 'gate-01',
        result: { id, pipeline: 'gate', error: { code: 'EXPIRED', message: 'late' }, input: null, atMs: 1 },
        hasThumbnail: true,
        text: null,
      },
    ];
    const { results } = boardList.parse(await (await ask('GET', '/api/v1/results')).json());
    assert.equal(results[0]?.result.id, id);
    const picture = await ask('GET', `/api/v1/results/${id}/thumbnail`);
    assert.equal(picture.headers.get('content-type'), 'image/webp');
    assert.equal(await picture.text(), 'RIFF');
    for (const other of [newId(), '..', '%2e%2e', '__proto__'])
      assert.equal((await ask('GET', `/api/v1/results/${other}/thumbnail`)).status, 404);
    await assertProblem(await ask('GET', `/api/v1/results/${newId()}/thumbnail`), 404, 'RESULT_UNKNOWN');
  });
});
