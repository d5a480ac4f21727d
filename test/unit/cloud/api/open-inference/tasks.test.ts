import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { readNumbers, writeNumbers } from '../../../../../cloud/api/open-inference/numbers.ts';
import { asker, startHubApi, type TestHubApi } from '../../../../support/hub-api.ts';

interface Answer {
  inputs: unknown;
  outputs: { name: string; datatype: string; shape: number[]; data?: unknown[] }[];
  error?: string;
}

describe('the Open Inference Protocol for tasks beside classification', () => {
  let hub: TestHubApi;
  let ask: ReturnType<typeof asker>;
  beforeEach(async () => {
    hub = await startHubApi({
      models: {
        questions: 'question-answering',
        zero: 'zero-shot-classification',
        boxes: 'object-detection',
        speech: 'automatic-speech-recognition',
        translator: 'translation',
        graph: 'tensor',
      },
    });
    ask = asker(hub);
  });
  afterEach(() => hub.stop());

  const meta = async (model: string): Promise<Answer> =>
    (await (await ask('GET', `/v2/models/${model}`, { key: hub.inferKey })).json()) as Answer;
  const infer = async (model: string, json: unknown): Promise<Answer> =>
    (await (await ask('POST', `/v2/models/${model}/infer`, { json, key: hub.inferKey })).json()) as Answer;
  const bytes = (name: string, ...data: unknown[]) => ({
    name,
    datatype: 'BYTES',
    shape: [data.length],
    data,
  });

  it('names the input by what it is, and the output by what it is not', async () => {
    for (const [model, name] of Object.entries({
      questions: 'json',
      zero: 'text',
      boxes: 'image',
      speech: 'audio',
      translator: 'text',
    })) {
      const { inputs, outputs } = await meta(model);
      assert.deepEqual(inputs, [{ name, datatype: 'BYTES', shape: [-1] }]);
      assert.deepEqual(outputs, [{ name: 'output', datatype: 'BYTES', shape: [-1] }]);
    }
  });

  it('answers with the task’s JSON, an element for each input', async () => {
    hub.answer = ({ input }) => ({ translation_text: Buffer.from(input.body).toString().toUpperCase() });
    const parameters = { generate_parameters: { num_beams: 2 }, timeout: 5_000_000 };
    const { outputs } = await infer('translator', { inputs: [bytes('text', 'a', 'b')], parameters });
    assert.deepEqual(outputs, [
      {
        ...{ name: 'output', datatype: 'BYTES', shape: [2] },
        data: ['{"translation_text":"A"}', '{"translation_text":"B"}'],
      },
    ]);
    assert.deepEqual(hub.asked[0]?.input.parameters, { generate_parameters: { num_beams: 2 } });
  });

  it('checks documents and parameters before anything runs', async () => {
    const question = JSON.stringify({ question: 'Who?', context: 'Ada' });
    hub.answer = () => [{ answer: 'Ada', score: 1, start: 0, end: 3 }];
    const { outputs } = await infer('questions', { inputs: [bytes('json', question)] });
    assert.match(String(outputs[0]?.data?.[0]), /Ada/);
    const asked = hub.asked.length;
    for (const [model, request, why] of [
      ['questions', { inputs: [bytes('json', '{}')] }, /not the JSON input of question-answering/],
      ['zero', { inputs: [bytes('text', 'a')] }, /candidate_labels/],
      [
        'translator',
        { inputs: [bytes('text', 'a')], parameters: { generate_parameters: { num_beams: 99 } } },
        /generate_parameters\.num_beams/,
      ],
      [
        'translator',
        { inputs: [bytes('text', 'a')], outputs: [{ name: 'output', parameters: { classification: 2 } }] },
        /classification: the answers of translation are no scores/,
      ],
      [
        'translator',
        { inputs: [bytes('text', 'a')], outputs: [{ name: 'label' }] },
        /called output, none label/,
      ],
      [
        'graph',
        { inputs: [bytes('x', 'a'), { ...bytes('y', 'a'), datatype: 'COMPLEX' }] },
        /none of the protocol/,
      ],
      ['graph', { inputs: [{ name: 'x', datatype: 'FP32', shape: [3], data: [1, 2] }] }, /says 3 elements/],
    ] as const)
      assert.match((await infer(model, request)).error ?? '', why);
    assert.equal(hub.asked.length, asked);
  });

  it('takes and gives the tensors of a graph, and says what they are', async () => {
    hub.shelf.signatures.set('graph', {
      inputs: [{ name: 'x', type: 'float32', dims: [null, 2] }],
      outputs: [{ name: 'y', type: 'int64', dims: [null] }],
    });
    const { inputs, outputs } = await meta('graph');
    assert.deepEqual(inputs, [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }]);
    assert.deepEqual(outputs, [{ name: 'y', datatype: 'INT64', shape: [-1] }]);
    const made = [{ name: 'y', datatype: 'INT64', shape: [2], data: [7, -8] }];
    hub.answer = () => made;
    const x = { name: 'x', datatype: 'FP32', shape: [1, 2], data: [[0.5, 1.5]] };
    assert.deepEqual((await infer('graph', { inputs: [x], outputs: [{ name: 'y' }] })).outputs, made);
    const { input } = hub.asked[0] ?? assert.fail();
    assert.deepEqual(JSON.parse(Buffer.from(input.body).toString()), [{ ...x, data: [0.5, 1.5] }]);
    assert.deepEqual(input.parameters, { outputs: ['y'] });
  });

  it('takes and gives them in binary', async () => {
    hub.answer = () => [{ name: 'y', datatype: 'INT64', shape: [1], data: [2 ** 40] }];
    const tail = writeNumbers([1, 2, 3], 'FP16');
    const head = Buffer.from(
      JSON.stringify({
        inputs: [
          { name: 'n', datatype: 'INT32', shape: [1], data: [4] },
          { name: 'x', datatype: 'FP16', shape: [3], parameters: { binary_data_size: tail.length } },
        ],
        parameters: { binary_data_output: true },
      }),
    );
    const response = await ask('POST', '/v2/models/graph/infer', {
      body: new Uint8Array(Buffer.concat([head, tail])),
      headers: { 'inference-header-content-length': String(head.length) },
      key: hub.inferKey,
    });
    const answer = Buffer.from(await response.arrayBuffer());
    const at = Number(response.headers.get('inference-header-content-length'));
    assert.equal(answer.readBigInt64LE(at), 2n ** 40n);
    const [, x] = JSON.parse(Buffer.from(hub.asked[0]?.input.body ?? []).toString()) as { data: number[] }[];
    assert.deepEqual(x?.data, [1, 2, 3]);
  });

  it('carries bytes that are UTF-8 as they are, and refuses others', async () => {
    hub.answer = () => [];
    const send = async (element: Uint8Array): Promise<number> => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(element.length);
      const parameters = { binary_data_size: 4 + element.length };
      const inputs = [{ name: 's', datatype: 'BYTES', shape: [1], parameters }];
      const head = Buffer.from(JSON.stringify({ inputs }));
      const { status } = await ask('POST', '/v2/models/graph/infer', {
        body: new Uint8Array(Buffer.concat([head, length, element])),
        headers: { 'inference-header-content-length': String(head.length) },
        key: hub.inferKey,
      });
      return status;
    };
    const marked = Uint8Array.of(0xef, 0xbb, 0xbf, 0x61);
    assert.equal(await send(marked), 200);
    const [{ data } = assert.fail()] = JSON.parse(Buffer.from(hub.asked[0]?.input.body ?? []).toString());
    assert.deepEqual(Buffer.from(data[0]), Buffer.from(marked));
    assert.equal(await send(Uint8Array.of(0xff, 0xfe)), 422);
    assert.equal(hub.asked.length, 1);
  });
});

describe('numbers in binary', () => {
  it('come back as they were written', () => {
    const cases = {
      INT8: fc.integer({ min: -128, max: 127 }),
      UINT16: fc.integer({ min: 0, max: 65_535 }),
      INT32: fc.integer(),
      INT64: fc.maxSafeInteger(),
      FP32: fc.float({ noNaN: true }),
      FP64: fc.double({ noNaN: true }),
    } as const;
    for (const [datatype, numbers] of Object.entries(cases))
      fc.assert(
        fc.property(fc.array(numbers), (values) => {
          const name = datatype as keyof typeof cases;
          const read = readNumbers(writeNumbers(values, name), name, values.length);
          assert.deepEqual(read, values);
        }),
      );
    assert.deepEqual(readNumbers(writeNumbers(['9007199254740993'], 'INT64'), 'INT64', 1), [
      '9007199254740993',
    ]);
    assert.equal(readNumbers(new Uint8Array(3), 'FP32', 1), undefined);
  });

  it('of half precision are all that IEEE 754 has', () => {
    for (let bits = 0; bits < 65_536; bits++) {
      const bytes = Buffer.alloc(2);
      bytes.writeUInt16LE(bits);
      const [value] = readNumbers(bytes, 'FP16', 1) ?? [];
      if (Number.isNaN(value)) continue;
      assert.equal(writeNumbers([value ?? 0], 'FP16').readUInt16LE(), bits);
    }
    const nearest = writeNumbers([65_519, 65_520, 1 + 1 / 2048, 1 + 3 / 2048, 1e-9], 'FP16');
    assert.deepEqual(readNumbers(nearest, 'FP16', 5), [65_504, Number.POSITIVE_INFINITY, 1, 1 + 1 / 512, 0]);
  });
});
