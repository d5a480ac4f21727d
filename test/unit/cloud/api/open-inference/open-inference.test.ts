import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeBytes, encodeBytes, MAX_ELEMENTS } from '../../../../../cloud/api/open-inference/codec.ts';
import { type Clock, systemClock } from '../../../../../shared/runtime/clock.ts';
import { AppError } from '../../../../../shared/runtime/errors.ts';
import { asker, type Body, LABELS, startHubApi, type TestHubApi } from '../../../../support/hub-api.ts';

interface Tensor {
  name: string;
  datatype: string;
  shape: number[];
  data?: unknown[];
  parameters?: { binary_data_size: number };
}
interface Answer {
  id?: string;
  model_name: string;
  model_version: string;
  outputs: Tensor[];
}

describe('the Open Inference Protocol', () => {
  let hub: TestHubApi;
  let ask: ReturnType<typeof asker>;
  const clock: Clock = { ...systemClock, nowMonoMs: () => 1_000 };
  beforeEach(async () => {
    hub = await startHubApi({ clock });
    ask = asker(hub);
  });
  afterEach(() => hub.stop());

  const get = (path: string, key = hub.inferKey) => ask('GET', `/v2${path}`, { key });
  const infer = (model: string, json: unknown) =>
    ask('POST', `/v2/models/${model}/infer`, { json, key: hub.inferKey });
  const text = (...data: unknown[]) => ({ name: 'text', datatype: 'BYTES', shape: [data.length], data });
  const inputs = (): string[] => hub.asked.map(({ input }) => Buffer.from(input.body).toString());

  async function assertError(response: Response, status: number, why: RegExp): Promise<void> {
    const body = (await response.json()) as Record<string, unknown>;
    assert.equal(response.status, status, JSON.stringify(body));
    assert.equal(response.headers.get('content-type'), 'application/json');
    assert.deepEqual(Object.keys(body), ['error']);
    assert.match(String(body.error), why);
  }

  it('takes null for what a client does not say, and for no element', async () => {
    const tensor = { ...text('a film'), parameters: null };
    const nothing = { id: null, parameters: null, outputs: null };
    const response = await infer('texts', { ...nothing, inputs: [tensor] });
    assert.equal(response.status, 200, await response.clone().text());
    assert.equal('id' in ((await response.json()) as Answer), false);
    const outputs = [{ name: 'label', parameters: { classification: null, binary_data: null } }];
    const parameters = { binary_data_output: null, timeout: null };
    const named = {
      ...nothing,
      parameters,
      outputs,
      inputs: [{ ...tensor, parameters: { content_type: null } }],
    };
    assert.equal((await infer('texts', named)).status, 200);
    await assertError(await infer('texts', { inputs: [text(null)] }), 400, /text/);
    await assertError(await infer('texts', { inputs: [null] }), 400, /inputs\.0/);
  });

  it('says what the server and its models are', async () => {
    const server = (await (await get('')).json()) as { name: string; extensions: string[] };
    assert.deepEqual(
      [server.name, server.extensions],
      ['outrider', ['binary_tensor_data', 'classification', 'model_configuration', 'statistics']],
    );
    assert.deepEqual(await (await get('/')).json(), server);
    assert.deepEqual(await (await get('/health/live')).json(), { live: true });
    assert.deepEqual(await (await get('/health/ready')).json(), { ready: true });
    for (const path of [
      'org/pictures',
      'org%2Fpictures',
      'org/pictures/versions/1',
      'org%2Fpictures/versions/1',
    ]) {
      assert.deepEqual(await (await get(`/models/${path}`)).json(), {
        name: 'org/pictures',
        versions: ['1'],
        platform: 'onnx_onnxv1',
        inputs: [{ name: 'image', datatype: 'BYTES', shape: [-1] }],
        outputs: [
          { name: 'label', datatype: 'BYTES', shape: [-1] },
          { name: 'score', datatype: 'FP32', shape: [-1] },
        ],
      });
      assert.equal((await get(`/models/${path}/ready`)).status, 200);
    }
    const index = await ask('POST', '/v2/repository/index', { json: {} });
    assert.deepEqual(
      ((await index.json()) as { name: string }[]).map(({ name }) => name),
      ['org/pictures', 'texts'],
    );
    hub.notReady = 'the broker is not connected';
    assert.equal((await get('/health/ready')).status, 503);
    assert.equal((await get('/health/live')).status, 200);
  });

  it('answers each element with its best label, and runs each by itself', async () => {
    const response = await infer('texts', { id: 'mine', inputs: [text('good', 'bad')] });
    assert.deepEqual(await response.json(), {
      model_name: 'texts',
      model_version: '1',
      id: 'mine',
      outputs: [
        { name: 'label', datatype: 'BYTES', shape: [2], data: ['cat', 'cat'] },
        { name: 'score', datatype: 'FP32', shape: [2], data: [0.9, 0.9] },
      ],
    });
    assert.deepEqual(inputs(), ['good', 'bad']);
    assert.deepEqual(hub.asked[0]?.input.parameters, { top_k: 1 });
    assert.deepEqual([hub.asked[0]?.deadlineMonoMs, hub.asked[0]?.expiresMonoMs], [3_000, 61_000]);
    assert.equal(new Set(hub.usage.map(({ requestId }) => requestId)).size, 2);
  });

  it('takes nested data, other axes, other numbers of labels, and a time-out', async () => {
    const nested = { name: 'text', datatype: 'BYTES', shape: [2, 1], data: [['a'], ['b']] };
    const parameters = { top_k: 2, function_to_apply: 'softmax', timeout: 500_000 };
    const answer = (await (await infer('texts', { inputs: [nested], parameters })).json()) as Answer;
    assert.deepEqual(
      answer.outputs.map(({ shape, data }) => [shape, data]),
      [
        [
          [2, 2],
          ['cat', 'dog', 'cat', 'dog'],
        ],
        [
          [2, 2],
          [0.9, 0.1, 0.9, 0.1],
        ],
      ],
    );
    assert.deepEqual(hub.asked[0]?.input.parameters, { top_k: 2, function_to_apply: 'softmax' });
    assert.deepEqual([hub.asked[0]?.deadlineMonoMs, hub.asked[0]?.expiresMonoMs], [1_500, 1_500]);
  });

  it('takes pictures as base64', async () => {
    const picture = Buffer.from([0xff, 0xd8, 0xff, 1]);
    const image = { name: 'image', datatype: 'BYTES', shape: [1], data: [picture.toString('base64')] };
    assert.equal((await infer('org%2Fpictures', { inputs: [image] })).status, 200);
    assert.deepEqual(Buffer.from(hub.asked[0]?.input.body ?? []), picture);
  });

  describe('in binary', () => {
    const send = (head: unknown, tail: Buffer, headers: Record<string, string> = {}) => {
      const json = Buffer.from(JSON.stringify(head));
      return ask('POST', '/v2/models/texts/infer', {
        body: new Uint8Array(Buffer.concat([json, tail])),
        key: hub.inferKey,
        headers: { 'inference-header-content-length': String(json.length), ...headers },
      });
    };
    const tensor = (tail: Buffer, count: number) => ({
      ...{ name: 'text', datatype: 'BYTES', shape: [count] },
      parameters: { binary_data_size: tail.length },
    });

    it('takes tensors after the JSON and gives them back so where it is asked to', async () => {
      const tail = encodeBytes(['good', 'schön']);
      const response = await send(
        {
          inputs: [tensor(tail, 2)],
          outputs: [{ name: 'score', parameters: { binary_data: true } }, { name: 'label' }],
        },
        tail,
      );
      assert.equal(response.headers.get('content-type'), 'application/octet-stream');
      const bytes = Buffer.from(await response.arrayBuffer());
      const headBytes = Number(response.headers.get('inference-header-content-length'));
      const { outputs } = JSON.parse(bytes.subarray(0, headBytes).toString()) as Answer;
      assert.deepEqual(outputs, [
        { name: 'score', datatype: 'FP32', shape: [2], parameters: { binary_data_size: 8 } },
        { name: 'label', datatype: 'BYTES', shape: [2], data: ['cat', 'cat'] },
      ]);
      assert.ok(Math.abs(bytes.readFloatLE(headBytes + 4) - 0.9) < 1e-6);
      assert.equal(bytes.length, headBytes + 8);
      assert.deepEqual(inputs(), ['good', 'schön']);
    });

    it('gives all outputs so with one parameter, save those that say otherwise', async () => {
      const response = await infer('texts', {
        inputs: [text('good')],
        parameters: { binary_data_output: true },
        outputs: [{ name: 'label' }, { name: 'score', parameters: { binary_data: false } }],
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      const headBytes = Number(response.headers.get('inference-header-content-length'));
      const { outputs } = JSON.parse(bytes.subarray(0, headBytes).toString()) as Answer;
      assert.deepEqual(
        outputs.map(({ data }) => data),
        [undefined, [0.9]],
      );
      assert.deepEqual(decodeBytes(bytes.subarray(headBytes)).map(String), [String(Buffer.from('cat'))]);
    });

    it('refuses lengths that do not fit', async () => {
      const tail = encodeBytes(['good']);
      const input = tensor(tail, 1);
      await assertError(await send({ inputs: [input] }, tail.subarray(1)), 400, /bytes follow the JSON/);
      await assertError(await send({ inputs: [tensor(tail, 2)] }, tail), 400, /says 2 elements; there are 1/);
      const cut = Buffer.from([9, 0, 0, 0, 1]);
      await assertError(await send({ inputs: [tensor(cut, 1)] }, cut), 400, /within an element/);
      await assertError(
        await send({ inputs: [tensor(cut.subarray(3), 1)] }, cut.subarray(3)),
        400,
        /within a length/,
      );
      for (const length of ['999999', '-1', 'x', '1e3'])
        await assertError(
          await send({ inputs: [input] }, tail, { 'inference-header-content-length': length }),
          400,
          /Inference-Header-Content-Length/,
        );
    });

    it('reads back what it writes', () => {
      fc.assert(
        fc.property(fc.array(fc.string({ unit: 'grapheme' }), { maxLength: MAX_ELEMENTS }), (elements) => {
          const read = decodeBytes(encodeBytes(elements)).map((one) => Buffer.from(one).toString('utf8'));
          assert.deepEqual(read, elements);
        }),
      );
    });

    it('takes any bytes apart, or says why it cannot', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
          try {
            const elements = decodeBytes(bytes);
            assert.equal(
              elements.reduce((sum, { length }) => sum + 4 + length, 0),
              bytes.length,
            );
          } catch (error) {
            assert.ok(error instanceof AppError && error.code === 'BAD_REQUEST');
          }
        }),
      );
    });
  });

  for (const [what, json, why] of [
    ['no JSON', undefined, /the JSON is broken at line 1, column 1/],
    ['no inputs', { inputs: [] }, /inputs/],
    ['another input', { inputs: [{ ...text('x'), name: 'image' }] }, /called text/],
    ['two inputs', { inputs: [text('x'), text('y')] }, /one input/],
    ['another datatype', { inputs: [{ ...text('x'), datatype: 'FP32' }] }, /BYTES/],
    ['a shape of two axes', { inputs: [{ ...text('a', 'b'), shape: [1, 2] }] }, /\[N\] or \[N,1\]/],
    ['no element', { inputs: [text()] }, /1 to 64/],
    ['too many elements', { inputs: [text(...Array.from({ length: 65 }, () => 'x'))] }, /1 to 64/],
    ['a shape that differs', { inputs: [{ ...text('x'), shape: [2] }] }, /says 2 elements/],
    ['numbers', { inputs: [text(5)] }, /are strings/],
    ['an empty element', { inputs: [text('')] }, /no bytes/],
    ['no data', { inputs: [{ name: 'text', datatype: 'BYTES', shape: [1] }] }, /neither data/],
    ['another output', { inputs: [text('x')], outputs: [{ name: 'logits' }] }, /label and score/],
    ['a parameter out of range', { inputs: [text('x')], parameters: { top_k: 0 } }, /top_k/],
  ] as const)
    it(`refuses ${what}`, async () => {
      await assertError(await infer('texts', json), 400, why);
      assert.deepEqual(hub.asked, []);
    });

  it('knows no other model and no other version', async () => {
    await assertError(await get('/models/nobody'), 404, /no model/);
    await assertError(await get('/models/texts/versions/2'), 404, /runs version 1 of texts/);
    await assertError(await get('/models/texts/versions/2/ready'), 404, /runs version 1/);
    await assertError(await infer('texts/versions/2', {}), 404, /runs version 1/);
    // Whoever asks for these means `/v2/`, by the rules of addresses.
    for (const path of ['/models/..', '/models/%2e%2e'])
      assert.equal(((await (await get(path)).json()) as { name: string }).name, 'outrider');
    for (const path of ['/models/%00', '/models/a/b/c/d', '/nothing'])
      await assertError(await get(path), 404, /./);
    await assertError(await ask('DELETE', '/v2/models/texts'), 405, /method/);
  });

  it('needs a key with the scope infer', async () => {
    await assertError(await hub.app.request('/v2'), 401, /key/);
    await assertError(await get('', hub.metricsKey), 403, /scope infer/);
  });

  it('hands on why one of the elements failed, with the status of its code', async () => {
    hub.answer = ({ input }) => {
      if (Buffer.from(input.body).toString() === 'bad') throw new AppError('QUEUE_FULL', 'full');
      return LABELS;
    };
    const response = await infer('texts', { inputs: [text('good', 'bad')] });
    assert.equal(response.headers.get('retry-after'), '1');
    await assertError(response, 429, /full/);
    assert.equal(hub.usage.length, 1);
  });

  it('counts the other 63 when one of 64 elements fails', async () => {
    hub.answer = ({ input }) => {
      if (Buffer.from(input.body).toString() === 'bad') throw new AppError('INPUT_INVALID', 'bad');
      return LABELS;
    };
    const elements = Array.from({ length: MAX_ELEMENTS }, (_, i) => (i === 5 ? 'bad' : `good ${i}`));
    const response = await infer('texts', { inputs: [text(...elements)] });
    await assertError(response, 422, /bad/);
    const id = response.headers.get('x-request-id') ?? '';
    const counted = hub.usage.map(({ requestId }) => requestId).sort();
    const expected = elements.flatMap((one, i) => (one === 'bad' ? [] : [i === 0 ? id : `${id}.${i}`]));
    assert.deepEqual(counted, expected.sort());
  });

  it('takes no body without end', async () => {
    const body: Body = 'x'.repeat(7 * 1024 * 1024);
    await assertError(await ask('POST', '/v2/models/texts/infer', { body, key: hub.inferKey }), 413, /over/);
  });
});
