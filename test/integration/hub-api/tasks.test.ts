/**
 * Every task by Hugging Face's own client, over a real socket. The tasks of devices answer from a list of answers of their form, which
 * is what this is about; those that generate run for real, and say what Python says.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { InferenceClient } from '@huggingface/inference';
import { HubServer } from '../../../cloud/api/frame/server.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { TaskName } from '../../../shared/tasks/tasks.ts';
import {
  BOX,
  CANNED_ANSWERS,
  COSINES,
  ENTITY,
  FILLED,
  RANKED,
  RERANKED,
  SPAN,
} from '../../support/canned-answers.ts';
import { GENERATION, type GenerationHub, references, startGenerationHub } from '../../support/generation.ts';
import { startHubApi, type TestHubApi } from '../../support/hub-api.ts';
import { eventually } from '../../support/programs.ts';

const PICTURE = new Blob([new Uint8Array(await readFile(join(GENERATION, 'picture.png')))]);
describe('the tasks of devices, asked by @huggingface/inference', () => {
  let hub: TestHubApi;
  let server: HubServer;
  let client: InferenceClient;
  const at = (task: TaskName) => ({ endpointUrl: `http://127.0.0.1:${server.port}/hf/models/${task}` });
  before(async () => {
    const models = Object.fromEntries(Object.keys(CANNED_ANSWERS).map((task) => [task, task as TaskName]));
    hub = await startHubApi({ models });
    hub.answer = ({ model }) => CANNED_ANSWERS[model as TaskName];
    server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
    await server.start();
    client = new InferenceClient(hub.inferKey);
  });
  after(async () => {
    await server.stop();
    await hub.stop();
  });
  const lastInput = () => hub.asked.at(-1)?.input;

  it('image classification and object detection', async () => {
    assert.deepEqual(
      await client.imageClassification({ ...at('image-classification'), data: PICTURE }),
      RANKED,
    );
    assert.deepEqual(await client.objectDetection({ ...at('object-detection'), data: PICTURE }), [BOX]);
    assert.equal(lastInput()?.body.length, PICTURE.size, 'as it was sent');
  });

  it('zero-shot image classification, whose picture comes within an object', async () => {
    const ranked = await client.zeroShotImageClassification({
      ...at('zero-shot-image-classification'),
      inputs: { image: PICTURE },
      parameters: { candidate_labels: ['cat', 'dog'] },
    });
    assert.deepEqual(ranked, RANKED);
    assert.equal(lastInput()?.body.length, PICTURE.size);
    assert.deepEqual(lastInput()?.parameters, { candidate_labels: ['cat', 'dog'] });
  });

  it('text and token classification', async () => {
    assert.deepEqual(await client.textClassification({ ...at('text-classification'), inputs: 'a' }), RANKED);
    const read = await client.tokenClassification({
      ...at('token-classification'),
      inputs: 'Ada',
      parameters: { aggregation_strategy: 'simple' },
    });
    assert.deepEqual(read, [ENTITY]);
    assert.deepEqual(lastInput()?.parameters, { aggregation_strategy: 'simple' });
  });

  it('question answering', async () => {
    const inputs = { question: 'Who?', context: 'Ada' };
    assert.deepEqual(await client.questionAnswering({ ...at('question-answering'), inputs }), SPAN);
    assert.deepEqual(JSON.parse(Buffer.from(lastInput()?.body ?? []).toString()), inputs);
  });

  it('zero-shot classification', async () => {
    const read = await client.zeroShotClassification({
      ...at('zero-shot-classification'),
      inputs: 'a film',
      parameters: { candidate_labels: ['good', 'bad'] },
    });
    assert.deepEqual(read, RANKED);
  });

  it('feature extraction, at both addresses, of one text and of several', async () => {
    const task = 'feature-extraction';
    assert.deepEqual(await client.featureExtraction({ ...at(task), inputs: 'a' }), [[1, 2, 3]]);
    const endpointUrl = `${at(task).endpointUrl}/pipeline/feature-extraction`;
    const rows = await client.featureExtraction({ endpointUrl, inputs: ['a', 'b'], normalize: true });
    assert.deepEqual(rows, [
      [1, 2, 3],
      [1, 2, 3],
    ]);
    assert.deepEqual(lastInput()?.parameters, { normalize: true });
    await assert.rejects(
      client.featureExtraction({
        endpointUrl: `${at('fill-mask').endpointUrl}/pipeline/feature-extraction`,
        inputs: 'a',
      }),
      /does fill-mask/,
    );
  });

  it('sentence similarity, at both addresses: the cosine to each sentence', async () => {
    const rows: Record<string, number[]> = { here: [1, 0], there: [3, 4], away: [-2, 0], nowhere: [0, 0] };
    hub.answer = ({ input }) => [rows[Buffer.from(input.body).toString()]];
    const { endpointUrl } = at('feature-extraction');
    for (const path of ['', '/pipeline/sentence-similarity'])
      assert.deepEqual(
        await client.sentenceSimilarity({
          endpointUrl: `${endpointUrl}${path}`,
          inputs: { source_sentence: 'here', sentences: ['here', 'there', 'away', 'nowhere'] },
        }),
        [1, 0.6, -1, 0],
      );
    hub.answer = ({ model }) => CANNED_ANSWERS[model as TaskName];
    const ask = (inputs: unknown, path = '/pipeline/sentence-similarity') =>
      fetch(`${endpointUrl}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${hub.inferKey}` },
        body: JSON.stringify({ inputs }),
      });
    const two = { source_sentence: 'a', sentences: ['b'] };
    assert.equal((await ask(two)).status, 200);
    for (const wrong of ['a', ['a'], { source_sentence: 'a' }, { ...two, sentences: [] }])
      assert.equal((await ask(wrong)).status, 422, JSON.stringify(wrong));
    assert.equal((await ask({ ...two, sentences: new Array(65).fill('b') })).status, 422);
    assert.equal((await ask({ ...two, sentences: [''] })).status, 400);
  });

  it('sentence similarity, of a model that compares by itself', async () => {
    const { endpointUrl } = at('sentence-similarity');
    const inputs = { source_sentence: 'here', sentences: ['here', 'there', 'away'] };
    for (const path of ['', '/pipeline/sentence-similarity']) {
      const read = await client.sentenceSimilarity({ endpointUrl: `${endpointUrl}${path}`, inputs });
      assert.deepEqual(read, COSINES);
      assert.deepEqual(JSON.parse(Buffer.from(lastInput()?.body ?? []).toString()), inputs, 'in one request');
    }
    await assert.rejects(
      client.sentenceSimilarity({
        endpointUrl: `${at('fill-mask').endpointUrl}/pipeline/sentence-similarity`,
        inputs,
      }),
      /does fill-mask, not sentence-similarity or feature-extraction/,
    );
  });

  it('text ranking, and the rerank of Text Embeddings Inference', async () => {
    const { endpointUrl } = at('text-ranking');
    const ask = async (path: string, body: unknown): Promise<[number, unknown]> => {
      const answer = await fetch(`${endpointUrl}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${hub.inferKey}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return [answer.status, await answer.json()];
    };
    const inputs = { query: 'Where?', texts: ['a', 'b', 'here'] };
    assert.deepEqual(await ask('', { inputs, parameters: { top_n: 2 } }), [200, RERANKED]);
    assert.deepEqual(lastInput()?.parameters, { top_n: 2 });
    const all = { raw_scores: true, return_text: true, truncate: true, truncation_direction: 'Left' };
    assert.deepEqual(await ask('/rerank', { ...inputs, ...all, model: 'any' }), [200, RERANKED]);
    assert.deepEqual(lastInput()?.parameters, { ...all, truncation_direction: 'left' });
    assert.deepEqual(JSON.parse(Buffer.from(lastInput()?.body ?? []).toString()), inputs);
    for (const [wrong, status, type] of [
      [{ query: 'a' }, 422, 'Validation'],
      [{ query: 'a', texts: [] }, 422, 'Validation'],
      [{ query: 'a', texts: new Array(257).fill('b') }, 422, 'Validation'],
      [{ ...inputs, made_up: 1 }, 400, 'Validation'],
      [{ ...inputs, raw_scores: 'yes' }, 400, 'Validation'],
      [[inputs], 400, 'Validation'],
    ] as const) {
      const [code, body] = await ask('/rerank', wrong);
      assert.deepEqual(
        [code, (body as { error_type: string }).error_type],
        [status, type],
        JSON.stringify(wrong),
      );
    }
    const other = await fetch(`${at('fill-mask').endpointUrl}/rerank`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.inferKey}` },
      body: JSON.stringify(inputs),
    });
    assert.equal(other.status, 400);
  });

  it('fill mask', async () => {
    assert.deepEqual(await client.fillMask({ ...at('fill-mask'), inputs: 'a [MASK]' }), [FILLED]);
  });

  it('a list of texts: an answer and a line of the ledger for each, up to 64', async () => {
    const ask = (task: TaskName, inputs: unknown, more = {}) =>
      fetch(at(task).endpointUrl, {
        method: 'POST',
        headers: { authorization: `Bearer ${hub.inferKey}` },
        body: JSON.stringify({ inputs, ...more }),
      });
    const lines = hub.usage.length;
    assert.deepEqual(await (await ask('text-classification', ['a', 'b', 'c'])).json(), [
      RANKED,
      RANKED,
      RANKED,
    ]);
    assert.deepEqual(await (await ask('fill-mask', ['a', 'b'])).json(), [[FILLED], [FILLED]]);
    assert.equal(hub.usage.length, lines + 5);
    assert.equal(new Set(hub.usage.map(({ requestId }) => requestId)).size, hub.usage.length);
    for (const wrong of [[], new Array(65).fill('a'), ['a', 5]])
      assert.equal((await ask('text-classification', wrong)).status, 400);
    assert.equal((await ask('text-classification', 'a', { stream: true })).status, 400);
  });
});

describe('text generation as it is asked for', () => {
  let hub: TestHubApi;
  before(async () => {
    hub = await startHubApi({ models: { gpt: 'text-generation', questions: 'question-answering' } });
    hub.answer = () => CANNED_ANSWERS['text-generation'];
  });
  after(() => hub.stop());
  const ask = async (path: string, body: unknown) => {
    const response = await hub.app.request(`/hf/models/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.inferKey}` },
      body: JSON.stringify(body),
    });
    return { response, json: (await response.json()) as Record<string, unknown> };
  };

  it('takes OpenAI’s words in completions, and answers in them', async () => {
    const { response, json } = await ask('gpt/v1/completions', {
      ...{ model: 'whatever', prompt: 'Once', max_tokens: 5, temperature: 0, stop: 'end', n: 1, seed: 7 },
    });
    assert.equal(response.status, 200);
    assert.deepEqual(json.choices, [{ index: 0, text: ' then', finish_reason: 'stop' }]);
    assert.deepEqual(json.usage, { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
    const { input } = hub.asked.at(-1) ?? assert.fail();
    assert.equal(Buffer.from(input.body).toString(), 'Once');
    const wanted = { max_new_tokens: 5, do_sample: false, stop: ['end'], seed: 7, details: true };
    assert.deepEqual(input.parameters, wanted);
    assert.deepEqual((await ask('gpt', { inputs: 'Once' })).json, [CANNED_ANSWERS['text-generation']]);
    // As LangChain's OpenAI sends it.
    assert.deepEqual((await ask('gpt/v1/completions', { prompt: ['Once'] })).json.usage, json.usage);
    assert.equal((await ask('gpt/v1/completions', { prompt: ['Once', 'Twice'] })).response.status, 400);
  });

  it('counts the tokens at the end of a stream where that is asked for', async () => {
    const token = { id: 1, text: ' then', logprob: -1, special: false };
    hub.answer = ({ onToken }) => {
      onToken?.(token, true);
      return CANNED_ANSWERS['text-generation'];
    };
    const linesOf = async (stream_options: object | null): Promise<string[]> => {
      const response = await hub.app.request('/hf/models/gpt/v1/completions', {
        method: 'POST',
        headers: { authorization: `Bearer ${hub.inferKey}` },
        body: JSON.stringify({ prompt: 'Once', stream: true, stream_options }),
      });
      return (await response.text()).split('\n\n').filter(Boolean);
    };
    const [, counted = '', end] = await linesOf({ include_usage: true, include_obfuscation: false });
    const chunk = JSON.parse(counted.replace('data: ', '')) as Record<string, unknown>;
    assert.deepEqual(
      [chunk.choices, chunk.usage, end],
      [[], { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }, 'data: [DONE]'],
    );
    assert.equal((await linesOf(null)).length, 2);
    hub.answer = () => CANNED_ANSWERS['text-generation'];
  });

  it('refuses what it does not heed, in Hugging Face’s shape', async () => {
    for (const [path, body, code] of [
      ['gpt/v1/completions', { prompt: 'a', n: 2 }, 'PARAMETERS_INVALID'],
      ['gpt/v1/completions', { prompt: 'a', best_of: 2 }, 'PARAMETERS_INVALID'],
      ['gpt/v1/completions', { prompt: '' }, 'INPUT_EMPTY'],
      ['gpt/v1/completions', { inputs: 'a' }, 'BAD_REQUEST'],
      ['questions/v1/completions', { prompt: 'a' }, 'BAD_REQUEST'],
      ['gpt', { inputs: ['a', 'b'], stream: true }, 'BAD_REQUEST'],
      ['questions', { inputs: { question: 'Who?' } }, 'INPUT_INVALID'],
    ] as const) {
      const { response, json } = await ask(path, body);
      assert.ok(response.status >= 400 && response.status < 500);
      assert.equal(json.code, code, JSON.stringify(body));
    }
  });

  it('a stream that cannot begin is a status, one that breaks is an event', async () => {
    const token = { id: 1, text: 'a', logprob: -1, special: false };
    hub.answer = () => {
      throw new AppError('QUEUE_FULL');
    };
    assert.equal((await ask('gpt', { inputs: 'a', stream: true })).response.status, 429);
    hub.answer = ({ onToken }) => {
      onToken?.(token, false);
      throw new AppError('RUNNER_CRASHED');
    };
    const broken = await hub.app.request('/hf/models/gpt', {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.inferKey}` },
      body: JSON.stringify({ inputs: 'a', stream: true }),
    });
    assert.equal(broken.status, 200);
    assert.match(await broken.text(), /^data: .*"text":"a".*\n\ndata: .*"error_type":"RUNNER_CRASHED"/);
  });
});

describe('the tasks that generate, asked by @huggingface/inference', () => {
  let hub: GenerationHub;
  let client: InferenceClient;
  const at = (name: string) => ({ endpointUrl: `${hub.url}/hf/models/${name}` });
  before(async () => {
    hub = await startGenerationHub();
    client = new InferenceClient(hub.key);
  });
  after(() => hub.stop());
  const first = async (name: keyof Awaited<ReturnType<typeof references>>) => {
    const [one] = (await references())[name];
    assert.ok(one);
    return one;
  };

  it('translation and summarization', async () => {
    const { input, text } = await first('marian');
    assert.deepEqual(await client.translation({ ...at('marian'), inputs: input }), {
      translation_text: text,
    });
    const both = await client.translation({ ...at('marian'), inputs: [input, input] as unknown as string });
    assert.deepEqual(both, [{ translation_text: text }, { translation_text: text }]);
    const longer = await first('bart');
    const summary = await client.summarization({ ...at('bart'), inputs: longer.input });
    assert.deepEqual(summary, { summary_text: longer.text });
  });

  it('speech recognition and captions', async () => {
    const heard = await first('whisper');
    const data = new Blob([new Uint8Array(await readFile(join(GENERATION, 'sounds', heard.input)))]);
    assert.deepEqual(await client.automaticSpeechRecognition({ ...at('whisper'), data }), {
      text: heard.text,
    });
    const { text } = await first('vit-gpt2');
    const caption = { generated_text: text.trim() };
    assert.deepEqual(await client.imageToText({ ...at('vit-gpt2'), data: PICTURE }), caption);
    // Python's client reads a list only; test/e2e/clients.full.test.ts asks with itself.
    const userAgent = 'unknown/None; hf_hub/2.4.0; python/3.11.7';
    const headers = { authorization: `Bearer ${hub.key}`, 'user-agent': userAgent };
    const asPython = { method: 'POST', headers, body: PICTURE };
    assert.deepEqual(await (await fetch(at('vit-gpt2').endpointUrl, asPython)).json(), [caption]);
  });

  it('text generation, whole and token by token', async () => {
    const { input, text, ids, parameters } = await first('gpt2');
    const asked = { ...at('gpt2'), inputs: input, parameters };
    assert.deepEqual(await client.textGeneration(asked), { generated_text: text });
    const tokens = [];
    let last: Awaited<ReturnType<ReturnType<typeof client.textGenerationStream>['next']>>['value'];
    for await (last of client.textGenerationStream(asked)) tokens.push(last.token.id);
    assert.deepEqual(tokens, ids);
    assert.equal(last.generated_text, text);
    assert.deepEqual(last.details, {
      finish_reason: 'length',
      generated_tokens: ids.length,
      input_length: last.details.input_length,
    });
    await assert.rejects(client.textGeneration({ ...asked, parameters: { best_of: 3 } }), /best_of/);
  });

  it('streams in the form of Text Generation Inference at the task’s own address', async () => {
    const { input, ids, logprobs } = await first('gpt2');
    const response = await fetch(at('gpt2').endpointUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}` },
      body: JSON.stringify({ inputs: input, parameters: { max_new_tokens: ids.length }, stream: true }),
    });
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    const events = (await response.text())
      .split('\n\n')
      .filter(Boolean)
      .map(
        (event) => JSON.parse(event.replace(/^data: /, '')) as { index: number; token: { logprob: number } },
      );
    assert.deepEqual(
      events.map(({ index }) => index),
      [...ids.keys()],
    );
    for (const [index, { token }] of events.entries())
      assert.ok(Math.abs(token.logprob - (logprobs?.[index] ?? 0)) < 1e-3);
  });

  it('stops generating when the reader goes', async () => {
    const leaving = new AbortController();
    const response = await fetch(at('gpt2').endpointUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}` },
      signal: leaving.signal,
      body: JSON.stringify({
        inputs: 'a',
        parameters: { max_new_tokens: 90, do_sample: true, temperature: 50, seed: 1 },
        stream: true,
      }),
    });
    const reader = response.body?.getReader();
    await reader?.read();
    leaving.abort();
    await eventually(() => hub.ended.length > 0, 'it goes on');
    const [end] = hub.ended.splice(0);
    assert.ok(end && end.tokens < 90, `it went on for ${end?.tokens} tokens`);
    assert.equal(end.code, 'EXPIRED');
  });
});
