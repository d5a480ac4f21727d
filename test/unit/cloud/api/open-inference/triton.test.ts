import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { classesOfTensor } from '../../../../../cloud/api/open-inference/classes.ts';
import { AppError, isAppError } from '../../../../../shared/runtime/errors.ts';
import { asker, startHubApi, type TestHubApi } from '../../../../support/hub-api.ts';

describe('Triton’s extensions of the Open Inference Protocol', () => {
  let hub: TestHubApi;
  let ask: ReturnType<typeof asker>;
  beforeEach(async () => {
    hub = await startHubApi({ models: { graph: 'tensor', translator: 'translation' } });
    ask = asker(hub);
  });
  afterEach(() => hub.stop());

  const get = async (path: string): Promise<Record<string, unknown>> => {
    const response = await ask('GET', `/v2${path}`, { key: hub.inferKey });
    assert.equal(response.status, 200, path);
    return (await response.json()) as Record<string, unknown>;
  };
  const text = (...data: unknown[]) => ({ name: 'text', datatype: 'BYTES', shape: [data.length], data });
  const infer = async (model: string, json: unknown) =>
    (await (await ask('POST', `/v2/models/${model}/infer`, { json, key: hub.inferKey })).json()) as {
      outputs: { name: string; datatype: string; shape: number[]; data: unknown[] }[];
      error?: string;
    };

  it('the configuration of a model, by its name, its organisation’s and its version', async () => {
    for (const path of ['texts/config', 'texts/versions/1/config'])
      assert.deepEqual(await get(`/models/${path}`), {
        ...{ name: 'texts', platform: 'onnxruntime_onnx', backend: 'onnxruntime', max_batch_size: 0 },
        version_policy: { specific: { versions: [1] } },
        input: [{ name: 'text', data_type: 'TYPE_STRING', dims: [-1] }],
        output: [
          { name: 'label', data_type: 'TYPE_STRING', dims: [-1] },
          { name: 'score', data_type: 'TYPE_FP32', dims: [-1] },
        ],
        default_model_filename: 'onnx/model.onnx',
        instance_group: [{ name: 'cpu', kind: 'KIND_CPU', count: 1 }],
        dynamic_batching: { preferred_batch_size: [8] },
        parameters: { task: { string_value: 'text-classification' } },
      });
    for (const path of ['org/pictures/config', 'org%2Fpictures/config', 'org/pictures/versions/1/config'])
      assert.equal((await get(`/models/${path}`)).name, 'org/pictures');
    hub.shelf.signatures.set('graph', {
      inputs: [{ name: 'x', type: 'float32', dims: [null, 2] }],
      outputs: [{ name: 'y', type: 'int64', dims: [null] }],
    });
    const { input, output } = await get('/models/graph/config');
    assert.deepEqual(input, [{ name: 'x', data_type: 'TYPE_FP32', dims: [-1, 2] }]);
    assert.deepEqual(output, [{ name: 'y', data_type: 'TYPE_INT64', dims: [-1] }]);
  });

  it('the statistics of a model and of all: what was answered, what failed, and where the time went', async () => {
    type Stats = {
      model_stats: { name: string; inference_count: number; inference_stats: Record<string, unknown> }[];
    };
    const before = (await get('/models/texts/stats')) as unknown as Stats;
    assert.equal(before.model_stats[0]?.inference_count, 0);
    await infer('texts', { inputs: [text('good', 'bad')] });
    hub.answer = () => {
      throw new AppError('RUNNER_CRASHED');
    };
    await infer('texts', { inputs: [text('worse')] });
    const { model_stats } = (await get('/models/texts/versions/1/stats')) as unknown as Stats;
    const [one] = model_stats as [Stats['model_stats'][number] & Record<string, unknown>];
    const { success, fail, queue, compute_input, compute_infer } = one.inference_stats as Record<
      string,
      { count: number; ns: number }
    >;
    assert.deepEqual([one.name, one.version, one.inference_count, one.execution_count], ['texts', '1', 2, 2]);
    assert.ok(Number(one.last_inference) > 1.7e12);
    assert.deepEqual([success?.count, fail?.count], [2, 1]);
    assert.deepEqual([queue?.ns, compute_input?.ns, compute_infer?.ns], [2e6, 4e6, 6e6]);
    const all = (await get('/models/stats')) as unknown as Stats;
    assert.deepEqual(
      all.model_stats.map(({ name, inference_count }) => [name, inference_count]),
      [
        ['graph', 0],
        ['org/pictures', 0],
        ['texts', 2],
        ['translator', 0],
      ],
    );
  });

  it('says what it does not offer, and looks for no model of that name', async () => {
    for (const [method, path] of [
      ['GET', '/systemsharedmemory/status'],
      ['POST', '/systemsharedmemory/region/mine/register'],
      ['POST', '/systemsharedmemory/unregister'],
      ['GET', '/cudasharedmemory/region/mine/status'],
      ['GET', '/trace/setting'],
      ['POST', '/models/texts/trace/setting'],
      ['POST', '/models/org/pictures/trace/setting'],
      ['GET', '/logging'],
      ['POST', '/logging'],
      ['POST', '/repository/models/texts/load'],
      ['POST', '/repository/models/org/pictures/unload'],
      ['POST', '/models/texts/generate'],
      ['POST', '/models/org/pictures/versions/1/generate_stream'],
    ] as const) {
      const response = await ask(method, `/v2${path}`, { key: hub.inferKey });
      const { error } = (await response.json()) as { error: string };
      assert.deepEqual([response.status, /does not offer/.test(error)], [501, true], `${path}: ${error}`);
      assert.equal(
        (await hub.app.request(`/v2${path}`, { method })).status,
        401,
        'nothing is told without a key',
      );
    }
  });

  it('answers without a key whether it lives, and nothing else', async () => {
    for (const path of ['/health/live', '/health/ready', '/health/live/'])
      assert.equal((await hub.app.request(`/v2${path}`)).status, 200, path);
    for (const path of ['', '/', '/models/texts/ready', '/models/texts/stats', '/models/texts/config'])
      assert.equal((await hub.app.request(`/v2${path}`)).status, 401, path);
  });

  it('answers classes as value, index and label, best first', async () => {
    const classes = (name: string, classification: number) => ({ name, parameters: { classification } });
    const { outputs } = await infer('texts', {
      inputs: [text('good', 'bad')],
      outputs: [classes('score', 2), { name: 'label' }],
    });
    assert.deepEqual(outputs, [
      {
        ...{ name: 'score', datatype: 'BYTES', shape: [2, 2] },
        data: ['0.900000:1:cat', '0.100000:2:dog', '0.900000:1:cat', '0.100000:2:dog'],
      },
      { name: 'label', datatype: 'BYTES', shape: [2], data: ['cat', 'cat'] },
    ]);
    assert.deepEqual(hub.asked[0]?.input.parameters, { top_k: 2 });
    const more = await infer('texts', { inputs: [text('good')], outputs: [classes('score', 9)] });
    assert.deepEqual(more.outputs[0]?.shape, [1, 2], 'of fewer labels all');
    hub.answer = () => [{ name: 'y', datatype: 'FP32', shape: [2, 3], data: [1, 3, 2, -1, -2, -3] }];
    const x = { name: 'x', datatype: 'FP32', shape: [1], data: [1] };
    const ranked = await infer('graph', { inputs: [x], outputs: [classes('y', 2)] });
    assert.deepEqual(ranked.outputs[0], {
      ...{ name: 'y', datatype: 'BYTES', shape: [2, 2] },
      data: ['3.000000:1:cat', '2.000000:2:dog', '-1.000000:0:bird', '-2.000000:1:cat'],
    });
  });

  it('ranks whole numbers, tensors of one axis and of none, and no texts', () => {
    const of = (datatype: 'INT64' | 'BYTES', shape: number[], data: number[]) =>
      classesOfTensor({ name: 'y', datatype, shape, data }, undefined, 2);
    assert.deepEqual(of('INT64', [3], [5, 9, 9]).data, ['9:1', '9:2']);
    assert.deepEqual(of('INT64', [0, 4], []), { shape: [0, 0], datatype: 'BYTES', data: [] });
    assert.deepEqual(of('INT64', [2, 1, 2], [1, 2, 4, 3]).data, ['2:1', '1:0', '4:0', '3:1']);
    assert.throws(
      () => of('BYTES', [1], [1]),
      (error) => isAppError(error, 'BAD_REQUEST'),
    );
  });

  it('takes parameters that no task knows, and checks those that one does', async () => {
    hub.answer = ({ model }) =>
      model === 'translator' ? { translation_text: 'a' } : [{ label: 'cat', score: 1 }];
    const parameters = {
      ...{ mine: 'x', priority: 3, sequence_id: 0, sequence_start: false, top_n: 4 },
      ...{ timeout: 5_000_000, binary_data_output: false },
    };
    for (const model of ['texts', 'translator']) {
      const { error } = await infer(model, { inputs: [text('a')], parameters });
      assert.equal(error, undefined);
    }
    assert.deepEqual(
      hub.asked.map(({ input }) => input.parameters),
      [{ top_k: 1 }, {}],
    );
    for (const [model, wrong, why] of [
      ['texts', { top_k: 0 }, /parameters\.top_k/],
      ['texts', { function_to_apply: 'relu' }, /parameters\.function_to_apply/],
      ['translator', { generate_parameters: { penalty_alpha: 1 } }, /generate_parameters\.penalty_alpha/],
    ] as const)
      assert.match((await infer(model, { inputs: [text('a')], parameters: wrong })).error ?? '', why);
  });

  it('says where a broken request breaks', async () => {
    for (const path of ['/v2/models/texts/infer', '/hf/models/texts', '/api/v1/keys']) {
      const response = await ask('POST', path, {
        body: '{\n  "inputs": [}',
        headers: { 'content-type': 'application/json' },
      });
      assert.equal(response.status, 400);
      assert.match(await response.text(), /line 2, column 14: a value is expected/);
    }
  });
});
