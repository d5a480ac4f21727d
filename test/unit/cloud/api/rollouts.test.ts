import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { deviceLabelsBody, deviceRecord } from '../../../../shared/contract/admin.ts';
import {
  type RolloutRecord,
  rolloutDeviceList,
  rolloutList,
  rolloutRecord,
} from '../../../../shared/contract/rollouts.ts';
import { modelSpec } from '../../../../shared/release/folder/model-spec.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { asker, assertProblem, enrolDevice, startHubApi, type TestHubApi } from '../../../support/hub-api.ts';

const PATH = '/api/v1/rollouts';

describe('the API of rollouts', () => {
  let hub: TestHubApi;
  let ask: ReturnType<typeof asker>;
  beforeEach(async () => {
    hub = await startHubApi();
    ask = asker(hub);
    for (const number of [1, 2, 3]) await publish(number);
    for (const id of ['gate-1', 'gate-2', 'gate-3']) await reported(id, 1);
  });
  afterEach(() => hub.stop());

  const digestOf = (number: number): string => sha256Hex(`words ${number}`);

  async function publish(number: number): Promise<void> {
    const spec = modelSpec.parse({
      ...{ schema: 1, name: 'words', task: 'text-classification', model: 'onnx/model.onnx' },
      ...{ precision: 'float32', files: { 'onnx/model.onnx': digestOf(number) } },
    });
    const ref = await hub.registry.models.takeIn({
      ...{ path: '/models/words', spec, digest: digestOf(number), bytes: 10 },
    });
    await hub.registry.models.published(ref);
  }

  /** Enrols it, unless it is there, and has it say that it runs a version. */
  async function reported(id: string, number: number, phase?: 'trial' | 'rolled-back'): Promise<void> {
    if (!hub.registry.devices.get(id)) await enrolDevice(hub, id);
    const model = { name: 'words', version: String(number), digest: digestOf(number) };
    hub.registry.devices.seen(id, { online: true, sinceAtMs: 1 });
    hub.registry.devices.reported(id, {
      agentVersion: '0.1.0',
      pipelines: [
        { name: 'texts', task: 'text-classification', edge: model, edgeModel: 'words', cloud: null },
      ],
      labels: { site: id === 'gate-3' ? 'south' : 'north' },
      updates: phase && [
        {
          ...{ model: { ...model, version: '2', digest: digestOf(2) }, phase, test: null, atMs: 1 },
          ...{ downloadedBytes: 0, totalBytes: 0, answers: 0 },
          error: phase === 'rolled-back' ? { code: 'MODEL_TOO_SLOW', message: 'twice as long' } : null,
        },
      ],
    });
  }

  const plan = (change: object = {}): object => ({
    ...{ model: 'words', version: '2', stages: [{ devices: 1, minMinutes: 0, minAnswers: 0 }] },
    ...change,
  });

  async function begin(change: object = {}): Promise<RolloutRecord> {
    const made = await ask('POST', PATH, { json: plan(change) });
    const text = await made.text();
    assert.equal(made.status, 201, text);
    return rolloutRecord.parse(JSON.parse(text));
  }

  const wantedOf = (id: string): string | undefined =>
    hub.registry.desired.of(id)?.models.find(({ name }) => name === 'words')?.version;

  async function order(id: string, action: string, etag?: string): Promise<Response> {
    const found = etag ?? (await ask('GET', `${PATH}/${id}`)).headers.get('etag') ?? '';
    return ask('POST', `${PATH}/${id}/${action}`, { headers: { 'if-match': found } });
  }

  const stateOf = async (id: string): Promise<RolloutRecord> =>
    rolloutRecord.parse(await (await ask('GET', `${PATH}/${id}`)).json());

  /** As the conductor does every few seconds. */
  const look = (): Promise<void> => hub.look();

  it('begins one, tells its first device and nobody else, and shows it', async () => {
    const made = await begin({ note: 'first try' });
    assert.deepEqual([made.state, made.from, made.version, made.matched], ['running', '1', '2', 3]);
    assert.equal(made.note, 'first try');
    assert.match(made.history[0]?.by ?? '', /\w/);
    const { devices } = rolloutDeviceList.parse(
      await (await ask('GET', `${PATH}/${made.id}/devices`)).json(),
    );
    assert.equal(devices.length, 1);
    const told = ['gate-1', 'gate-2', 'gate-3'].filter((id) => wantedOf(id) === '2');
    assert.deepEqual(told, [devices[0]?.id]);
    const { rollouts } = rolloutList.parse(await (await ask('GET', PATH)).json());
    assert.deepEqual(
      rollouts.map(({ id }) => id),
      [made.id],
    );
  });

  it('deploys the version when its last stage has passed, and rolls it back all the same', async () => {
    const made = await begin({ stages: [{ share: 1, minMinutes: 0, minAnswers: 0 }] });
    for (const id of ['gate-1', 'gate-2', 'gate-3']) await reported(id, 2);
    await look();
    assert.equal((await stateOf(made.id)).state, 'done');
    assert.equal(hub.registry.models.list().find(({ name }) => name === 'words')?.deployed, '2');
    assert.equal(wantedOf('gate-1'), '2');
    const back = await order(made.id, 'roll-back');
    assert.equal(rolloutRecord.parse(await back.json()).state, 'rolled-back');
    assert.equal(wantedOf('gate-1'), '1');
    await assertProblem(await order(made.id, 'roll-back'), 409, 'CONFLICT');
  });

  it('pauses, resumes, aborts and rolls back, each of the state that was read', async () => {
    const { id } = await begin();
    const etag = (await ask('GET', `${PATH}/${id}`)).headers.get('etag') ?? '';
    await assertProblem(await ask('POST', `${PATH}/${id}/pause`), 428, 'PRECONDITION_REQUIRED');
    assert.equal(rolloutRecord.parse(await (await order(id, 'pause', etag)).json()).state, 'paused');
    await assertProblem(await order(id, 'resume', etag), 412, 'PRECONDITION_FAILED');
    await assertProblem(await order(id, 'pause'), 409, 'CONFLICT');
    assert.equal(rolloutRecord.parse(await (await order(id, 'resume')).json()).state, 'running');
    assert.equal(rolloutRecord.parse(await (await order(id, 'abort')).json()).state, 'aborted');
    const told = ['gate-1', 'gate-2', 'gate-3'].filter((one) => wantedOf(one) === '2');
    assert.equal(told.length, 1, 'who has it keeps it');
    await assertProblem(await order(id, 'resume'), 409, 'CONFLICT');
    assert.equal(rolloutRecord.parse(await (await order(id, 'roll-back')).json()).state, 'rolled-back');
    assert.ok(['gate-1', 'gate-2', 'gate-3'].every((one) => wantedOf(one) === '1'));
    await assertProblem(await order(id, 'explode'), 404, 'NOT_FOUND');
    await assertProblem(await order('nothing', 'pause', '*'), 404, 'NOT_FOUND');
    const { history } = await stateOf(id);
    assert.deepEqual(
      history.map(({ event }) => event),
      ['started', 'paused', 'resumed', 'aborted', 'rolled-back'],
    );
  });

  it('refuses a second one of the same model, has it wait, or take the place', async () => {
    const first = await begin();
    await assertProblem(await ask('POST', PATH, { json: plan({ version: '3' }) }), 409, 'CONFLICT');
    const second = await begin({ version: '3', ifBusy: 'wait' });
    assert.equal(second.state, 'waiting');
    await order(first.id, 'abort');
    assert.equal((await stateOf(second.id)).state, 'running');
    const third = await begin({ version: '2', ifBusy: 'replace' });
    assert.equal(third.state, 'running');
    assert.equal((await stateOf(second.id)).state, 'aborted');
    assert.deepEqual(
      ['gate-1', 'gate-2', 'gate-3'].filter((one) => wantedOf(one) === '3'),
      [],
      'nobody is held by the one that was replaced',
    );
  });

  it('ends where somebody deploys a version by hand', async () => {
    const { id } = await begin();
    await hub.registry.models.change('words', { deployed: '3' }, () => true, 'admin');
    const ended = await stateOf(id);
    assert.deepEqual([ended.state, ended.history.at(-1)?.by], ['aborted', 'admin']);
    assert.ok(['gate-1', 'gate-2', 'gate-3'].every((one) => wantedOf(one) === '3'));
  });

  it('chooses by labels of the device and of the operator, and leaves out who is pinned', async () => {
    const labels = await ask('GET', '/api/v1/devices/gate-1/labels');
    const etag = labels.headers.get('etag') ?? '';
    assert.deepEqual(deviceLabelsBody.parse(await labels.json()), { labels: {} });
    const json = { labels: { ring: 'beta' } };
    const put = await ask('PUT', '/api/v1/devices/gate-1/labels', { json, headers: { 'if-match': etag } });
    assert.deepEqual(await put.json(), json);
    await assertProblem(
      await ask('PUT', '/api/v1/devices/gate-1/labels', { json, headers: { 'if-match': etag } }),
      412,
      'PRECONDITION_FAILED',
    );
    for (const wrong of [{ 'ring ': 'x' }, { ring: '' }, { device: 'x' }, { in: 'x' }, { ring: 3 }])
      await assertProblem(
        await ask('PUT', '/api/v1/devices/gate-1/labels', {
          ...{ json: { labels: wrong }, headers: { 'if-match': '*' } },
        }),
        400,
        'BAD_REQUEST',
      );
    const shown = deviceRecord.parse(await (await ask('GET', '/api/v1/devices/gate-1')).json());
    assert.deepEqual(shown.labels, { site: 'north', ring: 'beta' });
    const { id, matched } = await begin({ selector: 'ring=beta,site=north' });
    assert.equal(matched, 1);
    assert.equal(wantedOf('gate-1'), '2');
    await order(id, 'roll-back');
    await hub.registry.pins.pin('gate-2', { words: '3' }, () => true);
    const other = await begin({ selector: 'site=north', stages: [{ share: 1 }] });
    assert.equal(other.matched, 1);
    assert.equal(wantedOf('gate-2'), '3');
  });

  it('keeps what a device says of its failure', async () => {
    const { id } = await begin({ selector: 'device=gate-1' });
    await reported('gate-1', 1, 'rolled-back');
    await look();
    const { devices } = rolloutDeviceList.parse(await (await ask('GET', `${PATH}/${id}/devices`)).json());
    assert.deepEqual([devices[0]?.state, devices[0]?.error?.code], ['rolled-back', 'MODEL_TOO_SLOW']);
    assert.match((await stateOf(id)).history.at(-1)?.detail ?? '', /gate-1: MODEL_TOO_SLOW/);
  });

  it('tells devices when they may try it', async () => {
    await begin({ selector: 'device=gate-1', window: '* 1-4 * * *' });
    const models = hub.registry.desired.of('gate-1')?.models ?? [];
    assert.equal(models.find(({ name }) => name === 'words')?.window, '* 1-4 * * *');
    assert.equal(hub.registry.desired.of('gate-2')?.models[0]?.window, undefined);
  });

  it('changes gates and window of one that is under way, of the state that was read', async () => {
    const { id } = await begin();
    const etag = (await ask('GET', `${PATH}/${id}`)).headers.get('etag') ?? '';
    const json = { gates: { memory: null, confidence: 0.9 }, onFailure: 'hold' };
    const changed = await ask('PATCH', `${PATH}/${id}`, { json, headers: { 'if-match': etag } });
    const now = rolloutRecord.parse(await changed.json());
    assert.deepEqual([now.gates.memory, now.gates.confidence, now.onFailure], [null, 0.9, 'hold']);
    await assertProblem(
      await ask('PATCH', `${PATH}/${id}`, { json, headers: { 'if-match': etag } }),
      412,
      'PRECONDITION_FAILED',
    );
    for (const wrong of [{ gates: { agreement: 0.1 } }, { stages: [] }, { window: 3 }])
      await assertProblem(
        await ask('PATCH', `${PATH}/${id}`, { json: wrong, headers: { 'if-match': '*' } }),
        400,
        'BAD_REQUEST',
      );
    await assertProblem(
      await ask('PATCH', `${PATH}/${id}`, { json: { window: 'nightly' }, headers: { 'if-match': '*' } }),
      400,
      'PARAMETERS_INVALID',
    );
  });

  for (const [what, change, status, code] of [
    ['a version that there is not', { version: '9' }, 404, 'UPDATE_NOT_LISTED'],
    ['the version that is deployed', { version: '1' }, 409, 'CONFLICT'],
    ['a model that there is not', { model: 'nobody' }, 404, 'MODEL_UNKNOWN'],
    ['a selector that cannot be read', { selector: 'site in north' }, 400, 'PARAMETERS_INVALID'],
    ['a window that is none', { window: 'at night' }, 400, 'PARAMETERS_INVALID'],
    ['no stages', { stages: [] }, 400, 'BAD_REQUEST'],
    ['a stage of nobody', { stages: [{ devices: 0 }] }, 400, 'BAD_REQUEST'],
    ['a stage of too many', { stages: [{ share: 1.5 }] }, 400, 'BAD_REQUEST'],
    ['a stage with two sizes', { stages: [{ devices: 1, share: 0.5 }] }, 400, 'BAD_REQUEST'],
    ['an unknown gate', { gates: { vibes: {} } }, 400, 'BAD_REQUEST'],
    ['a gate that allows nothing', { gates: { agreement: { maxDrop: 0 } } }, 400, 'BAD_REQUEST'],
    ['a version that is no number', { version: 'two' }, 400, 'BAD_REQUEST'],
  ] as const)
    it(`refuses ${what}`, async () => {
      await assertProblem(await ask('POST', PATH, { json: plan(change) }), status, code);
      assert.deepEqual(rolloutList.parse(await (await ask('GET', PATH)).json()).rollouts, []);
    });

  for (const path of ['/api/v1/models/words', '/api/v1/agent-releases'])
    it(`keeps no plan at ${path} by which nothing could begin`, async () => {
      for (const [wrong, part] of [
        [{ selector: 'site in north' }, /site in north/],
        [{ window: 'at night' }, /at night/],
      ] as const) {
        const json = { policy: 'staged', plan: wrong };
        const refused = await ask('PATCH', path, { json, headers: { 'if-match': '*' } });
        assert.match(await refused.clone().text(), part);
        await assertProblem(refused, 400, 'PARAMETERS_INVALID');
      }
      const kept = await (await ask('GET', path)).json();
      assert.equal((kept as { plan: unknown }).plan, null);
    });

  it('is for admins', async () => {
    for (const key of [hub.inferKey, hub.metricsKey]) {
      await assertProblem(await ask('GET', PATH, { key }), 403, 'FORBIDDEN');
      await assertProblem(await ask('POST', PATH, { key, json: plan() }), 403, 'FORBIDDEN');
    }
  });

  it('makes one of two requests with the same key', async () => {
    const headers = { 'idempotency-key': 'once' };
    const one = rolloutRecord.parse(await (await ask('POST', PATH, { json: plan(), headers })).json());
    const again = rolloutRecord.parse(await (await ask('POST', PATH, { json: plan(), headers })).json());
    assert.equal(again.id, one.id);
  });
});
