/** Large bodies are read in a thread: what comes of them is what comes of small ones, failures included. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AGENT_READERS } from '../../../agent/api/readers.ts';
import { HUB_READERS } from '../../../cloud/api/reading/readers.ts';
import { BodyReading, type Readers } from '../../../shared/runtime/body-reading.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { programFile } from '../../../shared/runtime/installation.ts';

const PICTURE = Buffer.from('a picture').toString('base64');
const TENSORS = [{ name: 'x', datatype: 'FP32', shape: [2, 2], data: [[1, 2], [3, 4.5]] }]; // biome-ignore format: rows
const TEXT_PART = { messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }] };

/** Reader, its question, the body: as it is, or JSON of it. */
const BODIES: readonly (readonly [keyof typeof HUB_READERS, unknown, unknown])[] = [
  ['task', { task: 'image-classification' }, { inputs: PICTURE, parameters: { top_k: 2 } }],
  ['task', { task: 'image-classification' }, { inputs: 3 }],
  ['task', { task: 'text-classification' }, { inputs: ['a', 'ü', 'c'] }],
  ['task', { task: 'text-classification', contentType: 'application/json' }, '{"inputs": "a",}'],
  ['task', { task: 'text-classification' }, { inputs: 'a', parameters: { top_q: 2 } }],
  ['task', { task: 'tensor' }, { inputs: { x: [1, 2] } }],
  ['task', { task: 'text-generation' }, { inputs: 'a', stream: true }],
  ['completion', undefined, { prompt: 'a', max_tokens: 3, stop: ['b'] }],
  ['completion', undefined, { prompt: 'a', max_tokens: 'many' }],
  ['rerank', undefined, { query: 'a', texts: ['b', 'c'] }],
  ['rerank', undefined, [1]],
  ['inference', { task: 'tensor' }, { id: '7', inputs: TENSORS, parameters: { timeout: 5, more: [1] } }],
  ['inference', { task: 'tensor' }, { inputs: [{ ...TENSORS[0], shape: [5] }] }],
  [
    'inference',
    { task: 'image-classification' },
    {
      inputs: [{ name: 'image', datatype: 'BYTES', shape: [1], data: [PICTURE] }],
      outputs: [{ name: 'label', parameters: { classification: 2 } }],
    },
  ],
  ['inference', { task: 'image-classification' }, `${'['.repeat(200)}${']'.repeat(200)}`],
  ['chat', undefined, { model: 'org/chat', ...TEXT_PART, n: 2, seed: 1 }],
  ['chat', 'org/chat', { ...TEXT_PART, logprobs: true, top_logprobs: 2 }],
  ['chat', undefined, { model: 'a', messages: [{ role: 'robot', content: 'a' }] }],
  ['text', undefined, { model: 'a', prompt: ['b', 'c'], logprobs: 1 }],
  ['embedding', undefined, { model: 'a', input: ['b', 'c'], encoding_format: 'base64', dimensions: 4 }],
  ['embedding', undefined, { model: 'a', input: [[1, 2]] }],
];

type Outcome = { readonly value: unknown } | { readonly code: string; readonly message: string };

async function outcomeOf(read: () => unknown): Promise<Outcome> {
  try {
    // Bytes that have been sent are no Buffer any more.
    return { value: structuredClone(await read()) };
  } catch (error) {
    assert.ok(isAppError(error), String(error));
    assert.notEqual(error.code, 'INVARIANT_BROKEN', error.message);
    const { code, message, details } = error;
    return { code, message, ...(details && { details: { ...details } }) };
  }
}

const written = (body: unknown, spaces = 0): Buffer =>
  Buffer.from((typeof body === 'string' ? body : JSON.stringify(body)) + ' '.repeat(spaces));

test('the hub’s thread makes of every kind of body what is made without it', async () => {
  const reading = new BodyReading<Readers>({
    ...{ readers: HUB_READERS, program: () => programFile('hub-reading'), clock },
  });
  const kinds = new Set<string>();
  for (const [name, asked, body] of BODIES) {
    const small = await outcomeOf(() => reading.read(name, written(body), asked as never));
    const large = await outcomeOf(() => reading.read(name, written(body, 300_000), asked as never));
    assert.deepEqual(large, small, `${name}: ${JSON.stringify(body).slice(0, 80)}`);
    kinds.add(name);
  }
  const form = new FormData();
  form.set('model', 'a');
  form.set('file', new File([new Uint8Array(400_000).fill(5)], 'a.wav', { type: 'audio/wav' }));
  const sent = new Response(form);
  const [type, body] = [sent.headers.get('content-type') ?? '', Buffer.from(await sent.arrayBuffer())];
  const [here, there] = [
    await HUB_READERS.transcription(body, type),
    await reading.read('transcription', body, type as never),
  ];
  assert.deepEqual(there, here);
  assert.equal(here.input.body.length, 400_000);
  kinds.add('transcription');
  assert.deepEqual(kinds, new Set(Object.keys(HUB_READERS)), 'every reader is tried');
});

test('bytes come out of the thread whole: a picture in base64, and files behind a head of JSON', async () => {
  const reading = new BodyReading({
    ...{ readers: HUB_READERS, program: () => programFile('hub-reading'), clock },
  });
  const picture = Buffer.from(Array.from({ length: 600_000 }, (_, at) => at * 7));
  const { inputs } = await reading.read('task', written({ inputs: picture.toString('base64') }), {
    ...{ task: 'image-classification', contentType: 'application/json' },
  });
  assert.deepEqual(inputs.map(({ body }) => Buffer.from(body)), [picture]); // biome-ignore format: one line
  const files = [picture.subarray(0, 1_000), picture.subarray(0, 300_000)];
  const tail = Buffer.concat(
    files.flatMap((one) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(one.length);
      return [length, one];
    }),
  );
  const head = written({
    inputs: [
      {
        ...{ name: 'image', datatype: 'BYTES', shape: [2] },
        parameters: { binary_data_size: tail.length, note: 'x'.repeat(300_000) },
      },
    ],
  });
  const read = await reading.read('inference', Buffer.concat([head, tail]), {
    ...{ task: 'image-classification', headBytes: head.length },
  });
  assert.deepEqual(read.inputs.map(({ body }) => Buffer.from(body)), files); // biome-ignore format: one line
});

test('the agent’s thread makes of a body what is made without it', async () => {
  const reading = new BodyReading({
    ...{ readers: AGENT_READERS, program: () => programFile('agent-reading'), clock },
  });
  for (const body of [{ inputs: PICTURE }, { inputs: '' }, { parameters: {} }]) {
    const asked = { task: 'image-classification', contentType: 'application/json' } as const;
    const small = await outcomeOf(() => reading.read('input', written(body), asked));
    const large = await outcomeOf(() => reading.read('input', written(body, 300_000), asked));
    assert.deepEqual(large, small);
  }
});
