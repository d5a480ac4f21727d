import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { z } from 'zod';
import {
  captureDetail,
  captureList,
  captureSummary,
  erasedCaptures,
  foundCaptures,
} from '../../../../shared/contract/captures.ts';
import { trainingList } from '../../../../shared/contract/trainings.ts';
import { sharedText } from '../../../support/captures.ts';
import { asker, assertProblem, enrolDevice, startHubApi, type TestHubApi } from '../../../support/hub-api.ts';

describe('captures over HTTP', () => {
  let hub: TestHubApi;
  let ask: ReturnType<typeof asker>;
  beforeEach(async () => {
    hub = await startHubApi();
    ask = asker(hub);
    for (const id of ['gate-01', 'gate-02']) await enrolDevice(hub, id);
    hub.captures.take(sharedText('<script>alert(1)</script> of the first', { edge: 'BAD' }));
    hub.captures.take(sharedText('something else that the second has seen', { device: 'gate-02' }));
    await hub.captures.settled();
  });
  afterEach(() => hub.stop());
  const read = async <T>(schema: z.ZodType<T>, path: string, method = 'GET'): Promise<T> => {
    const response = await ask(method, `/api/v1${path}`);
    assert.equal(response.status, 200, path);
    return schema.parse(await response.json());
  };

  it('are listed by filters and in pages, and shown with both answers', async () => {
    assert.equal((await read(captureList, '/captures')).captures.length, 2);
    const first = await read(captureList, '/captures?limit=1');
    const second = await read(captureList, `/captures?limit=1&after=${first.next}`);
    assert.deepEqual([second.captures[0]?.deviceId, second.next], ['gate-01', null]);
    const { captures } = await read(captureList, '/captures?device=gate-01&disagree=true&since=2026-01-31');
    const detail = await read(captureDetail, `/captures/${captures[0]?.id}`);
    assert.deepEqual([detail.loss, detail.answers.edge], [1, [{ label: 'BAD', score: 0.9 }]]);
    const { kept, disagreeing } = await read(captureSummary, '/capture-summary?device=gate-01');
    assert.deepEqual([kept, disagreeing], [1, 1]);
  });

  it('give their inputs as bytes that no browser shows', async () => {
    const { captures } = await read(captureList, '/captures?device=gate-01');
    const response = await ask('GET', `/api/v1/captures/${captures[0]?.id}/input`);
    assert.equal(await response.text(), '<script>alert(1)</script> of the first');
    assert.deepEqual(
      ['content-type', 'content-disposition', 'x-content-type-options'].map((name) =>
        response.headers.get(name),
      ),
      ['application/octet-stream', 'attachment', 'nosniff'],
    );
  });

  it('are for who administers alone, and nothing is guessed from a wrong question', async () => {
    for (const path of ['/captures', '/capture-summary', '/captures/x', '/captures/x/input', '/trainings'])
      await assertProblem(await ask('GET', `/api/v1${path}`, { key: hub.inferKey }), 403, 'FORBIDDEN');
    await assertProblem(await ask('GET', '/api/v1/captures/x'), 404, 'NOT_FOUND');
    for (const query of ['devise=gate-01', 'device=a/b', 'since=yesterday', 'disagree=maybe'])
      await assertProblem(await ask('GET', `/api/v1/captures?${query}`), 400, 'BAD_REQUEST');
    for (const query of ['', '?', '?devise=gate-01', '?device=gate-01&befor=1', '?why=audit'])
      await assertProblem(await ask('DELETE', `/api/v1/captures${query}`), 400, 'BAD_REQUEST');
    assert.equal((await read(captureList, '/captures')).captures.length, 2);
  });

  it('are found by an input that somebody shows, and erased one by one or by what they are of', async () => {
    await assertProblem(await ask('POST', '/api/v1/capture-searches', { body: '' }), 400, 'INPUT_EMPTY');
    const shown = await ask('POST', '/api/v1/capture-searches', {
      body: 'Something else, that the second has seen!',
    });
    const found = foundCaptures.parse(await shown.json());
    assert.deepEqual([found.by, found.captures.map(({ deviceId }) => deviceId)], ['text', ['gate-02']]);
    assert.equal((await ask('DELETE', `/api/v1/captures/${found.captures[0]?.id}`)).status, 204);
    const done = await read(erasedCaptures, '/captures?device=gate-01&before=2100-01-01', 'DELETE');
    assert.equal(done.erased, 1);
    assert.equal((await read(captureSummary, '/capture-summary')).kept, 0);
  });

  it('are trained on where the hub has a program for it, and refused where it has none', async () => {
    const json = { model: 'texts', minCaptures: 1 };
    await assertProblem(await ask('POST', '/api/v1/trainings', { json }), 409, 'TRAINER_MISSING');
    await assertProblem(await ask('POST', '/api/v1/trainings/x/cancel'), 404, 'NOT_FOUND');
    assert.deepEqual((await read(trainingList, '/trainings')).trainings, []);
  });
});
