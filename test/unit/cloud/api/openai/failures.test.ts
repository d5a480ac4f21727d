import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../../../../shared/runtime/errors.ts';
import { asker, startHubApi } from '../../../../support/hub-api.ts';

const TEXT = { model: 'gpt2', prompt: 'a' };
const GENERATED = {
  generated_text: ' then',
  details: { finish_reason: 'length', generated_tokens: 1, input_length: 1, prefill: [], tokens: [] },
};

test('who asks too often hears it as OpenAI says it, to the millisecond', async (t) => {
  const refusal = { code: 'RATE_LIMITED', message: 'slower, please', retryAfterMs: 1_234 } as const;
  const hub = await startHubApi({
    models: { gpt2: 'text-generation' },
    admission: { refuses: async () => refusal },
  });
  t.after(() => hub.stop());
  const response = await asker(hub)('POST', '/v1/completions', { json: TEXT });
  assert.equal(response.status, 429);
  const told = [
    'retry-after',
    'retry-after-ms',
    'x-ratelimit-remaining-requests',
    'x-ratelimit-reset-requests',
  ];
  assert.deepEqual(
    told.map((name) => response.headers.get(name)),
    ['2', '1234', '0', '1234ms'],
  );
  assert.deepEqual(await response.json(), {
    error: { message: 'slower, please', type: 'rate_limit_error', param: null, code: 'rate_limit_exceeded' },
  });
});

test('a stream that fails before its first token is a status, later an event without [DONE]', async (t) => {
  const hub = await startHubApi({ models: { gpt2: 'text-generation' } });
  t.after(() => hub.stop());
  const ask = asker(hub);
  const json = { ...TEXT, stream: true };
  hub.answer = () => {
    throw new AppError('QUEUE_FULL');
  };
  const refused = await ask('POST', '/v1/completions', { json });
  assert.deepEqual([refused.status, refused.headers.get('content-type')], [429, 'application/json']);
  hub.answer = ({ onToken }) => {
    onToken?.({ id: 1, text: 'A', logprob: 0, special: false }, false);
    throw new AppError('RUNNER_CRASHED');
  };
  const broken = await ask('POST', '/v1/completions', { json });
  const events = (await broken.text()).trim().split('\n\n');
  assert.equal(events.length, 2);
  assert.equal(JSON.parse(events[1]?.replace('data: ', '') ?? '').error.code, 'RUNNER_CRASHED');
});

test('every choice and every text is a line of the ledger', async (t) => {
  const hub = await startHubApi({ models: { gpt2: 'text-generation', vectors: 'feature-extraction' } });
  t.after(() => hub.stop());
  const ask = asker(hub);
  hub.answer = ({ model }) => (model === 'gpt2' ? GENERATED : [[1, 0]]);
  const texts = Array.from({ length: 130 }, (_, at) => `text ${at}`);
  for (const [path, json, count] of [
    ['/v1/completions', { ...TEXT, n: 3 }, 3],
    ['/v1/completions', { ...TEXT, n: 3, stream: true }, 3],
    ['/v1/embeddings', { model: 'vectors', input: texts }, 130],
  ] as const) {
    hub.usage.length = 0;
    const response = await ask('POST', path, { json });
    await response.text();
    assert.equal(response.status, 200);
    const ids = hub.usage.map(({ requestId }) => requestId);
    assert.equal(new Set(ids).size, count, `${path}: ${ids}`);
    assert.ok(ids.every((id) => id.startsWith(response.headers.get('x-request-id') ?? 'none')));
  }
});
