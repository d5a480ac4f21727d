/** A whole task on an OpenAI-compatible server: what it is asked, what becomes of its answers, and what it may do wrong. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { OpenAiInferencer } from '../../../../../cloud/engine/remote/openai-inferencer.ts';
import type { InferenceReply } from '../../../../../cloud/ports.ts';
import { EngineHttp } from '../../../../../shared/inference/remote/engine-http.ts';
import { systemClock as clock } from '../../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';
import type { TaskName } from '../../../../../shared/tasks/tasks.ts';
import { events, half, hang, json, startEngineServer } from '../../../../support/engine-server.ts';

async function start(t: TestContext, task: TaskName = 'text-generation') {
  const server = await startEngineServer(t);
  const timeoutMs = 300;
  const http = new EngineHttp({ url: `${server.url}/v1`, key: 'a-secret-key', ca: null, timeoutMs });
  t.after(() => http.close());
  const ref = { name: 'chat', version: '1', digest: 'f'.repeat(64) };
  const inferencer = new OpenAiInferencer({
    ...{ http, remoteName: 'org/far', timeoutMs, clock },
    catalog: { resolve: () => ({ folder: '', ref, task }) },
  });
  const heard: string[] = [];
  const ask = (body: string, parameters = {}, isStreamed = false): Promise<InferenceReply> =>
    inferencer.infer({
      ...{
        model: 'chat',
        caller: 'key a',
        input: { contentType: 'text/plain', body: Buffer.from(body), parameters },
      },
      ...{ deadlineMonoMs: clock.nowMonoMs(), expiresMonoMs: clock.nowMonoMs() + 5_000 },
      ...(isStreamed && { onToken: ({ text }, isLast) => heard.push(isLast ? `${text}.` : text) }),
    });
  const sent = (): unknown => JSON.parse(server.heard.at(-1)?.body.toString() ?? '');
  return { server, ask, sent, heard };
}

const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
const completion = (text: string, finish_reason = 'length') =>
  json({ id: 'x', object: 'text_completion', choices: [{ index: 0, text, finish_reason }], usage: USAGE });

describe('generation on an OpenAI-compatible server', () => {
  it('asks in its words, and answers in those of the task', async (t) => {
    const { server, ask, sent } = await start(t);
    server.says.set('/v1/completions', completion(' then'));
    const { output, read } = await ask('Once', {
      ...{ max_new_tokens: 4, do_sample: true, temperature: 0.5, top_p: 0.9, seed: 7, stop: ['.'] },
      ...{ details: true, return_full_text: true },
    });
    assert.deepEqual(sent(), {
      ...{
        model: 'org/far',
        prompt: 'Once',
        top_p: 0.9,
        seed: 7,
        temperature: 0.5,
        max_tokens: 4,
        stop: ['.'],
      },
    });
    assert.deepEqual(output, {
      generated_text: 'Once then',
      details: {
        ...{
          finish_reason: 'length',
          generated_tokens: 2,
          input_length: 3,
          prefill: [],
          tokens: [],
          seed: 7,
        },
      },
    });
    assert.deepEqual(read, { tokens: 3 });
    await ask('Once', {});
    assert.deepEqual(
      sent(),
      { model: 'org/far', prompt: 'Once', temperature: 0 },
      'without chance, as the task is',
    );
    assert.equal(server.heard.at(-1)?.headers.authorization, 'Bearer a-secret-key');
  });

  it('streams token by token, in chats and in completions', async (t) => {
    const { server, ask, sent, heard } = await start(t);
    const delta = (content: string) => JSON.stringify({ choices: [{ index: 0, delta: { content } }] });
    server.says.set(
      '/v1/chat/completions',
      events([
        ...[delta(''), delta('Hel'), delta('lo')],
        JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
        JSON.stringify({ choices: [], usage: USAGE }),
        '[DONE]',
      ]),
    );
    const messages = [{ role: 'user', content: 'Hi' }];
    const { output } = await ask(JSON.stringify(messages), { chat: true, details: true }, true);
    assert.deepEqual((sent() as { messages: unknown }).messages, messages);
    assert.deepEqual(heard, ['Hel', 'lo.']);
    const { generated_text, details } = output as {
      generated_text: string;
      details: { finish_reason: string };
    };
    assert.deepEqual([generated_text, details.finish_reason], ['Hello', 'eos_token']);
  });

  it('tells how likely tokens were, in whichever form the server writes it, and fails where it does not', async (t) => {
    const { server, ask, sent, heard } = await start(t);
    const beside = { id: 8, token: 'an', logprob: -2 };
    const chosen = { id: 7, token: 'a', logprob: -1, top_logprobs: [{ ...beside, id: 7, token: 'a', logprob: -1 }, beside] }; // biome-ignore format: one line
    const inChats = { choices: [{ text: 'a', finish_reason: 'length', logprobs: { content: [chosen] } }] };
    const inTexts = {
      choices: [
        {
          ...{ text: 'a', finish_reason: 'length' },
          logprobs: { tokens: ['a'], token_logprobs: [-1], top_logprobs: [{ a: -1, an: -2 }] },
        },
      ],
    };
    const told = async (top_n_tokens: number): Promise<unknown> => {
      const { output } = await ask('Once', { top_n_tokens, details: true });
      const { details } = output as { details: { tokens: unknown; top_tokens?: unknown } };
      return [details.tokens, details.top_tokens];
    };
    const token = (id: number, text: string, logprob: number) => ({ id, text, logprob, special: false });
    server.says.set('/v1/completions', json(inChats));
    assert.deepEqual(await told(0), [[token(7, 'a', -1)], undefined]);
    assert.equal((sent() as { logprobs: number }).logprobs, 1, 'of 0 llama.cpp tells nothing');
    assert.deepEqual(await told(2), [[token(7, 'a', -1)], [[token(7, 'a', -1), token(8, 'an', -2)]]]);
    server.says.set('/v1/completions', json(inTexts));
    assert.deepEqual(await told(0), [[token(0, 'a', -1)], undefined]);
    assert.deepEqual(await told(2), [[token(0, 'a', -1)], [[token(0, 'a', -1), token(0, 'an', -2)]]]);
    server.says.set('/v1/completions', completion('a'));
    await assert.rejects(told(0), { code: 'PARAMETERS_INVALID', message: /top_n_tokens/ });
    // A stream: a part of a character has no text, and its probability all the same.
    const part = (text: string, logprobs: object | null) =>
      JSON.stringify({ choices: [{ index: 0, text, logprobs }] });
    const silent = { content: [{ ...chosen, id: 9, token: '' }] };
    server.says.set(
      '/v1/completions',
      events([part('a', { content: [chosen] }), part('', silent), part('', null), '[DONE]']),
    );
    const { output } = await ask('Once', { top_n_tokens: 0, details: true }, true);
    const { details } = output as { details: { tokens: { id: number }[] } };
    assert.deepEqual(details.tokens.map(({ id }) => id), [7, 9]); // biome-ignore format: one line
    assert.deepEqual(heard, ['a', '.']);
    server.says.set('/v1/completions', events([part('a', null), '[DONE]']));
    await assert.rejects(ask('Once', { top_n_tokens: 0 }, true), { code: 'PARAMETERS_INVALID' });
    assert.deepEqual(heard, ['a', '.'], 'nothing was said before it was refused');
  });

  it('names a penalty of repetition as either kind of server does', async (t) => {
    const { server, ask, sent } = await start(t);
    server.says.set('/v1/completions', completion(' then'));
    await ask('Once', { repetition_penalty: 1.5 });
    const { repetition_penalty, repeat_penalty } = sent() as Record<string, unknown>;
    assert.deepEqual([repetition_penalty, repeat_penalty], [1.5, 1.5]);
  });

  it('refuses by name what such a server has no word for', async (t) => {
    const { ask, server } = await start(t);
    await assert.rejects(ask('Once', { truncate: 5 }), /truncate/);
    await assert.rejects(ask('Once', { typical_p: 0.5 }), /typical_p/);
    assert.equal(server.heard.length, 0);
  });

  it('does wrong in every way: one clear failure within its time', async (t) => {
    const { server, ask } = await start(t);
    const part = JSON.stringify({ choices: [{ index: 0, text: 'a' }] });
    for (const [name, say, isStreamed, code, about] of [
      ['no completion', json({ choices: [] }), false, 'ENGINE_FAILED', /no completion/],
      ['no JSON', json('then'), false, 'ENGINE_FAILED', /no completion/],
      [
        'no text',
        json({ choices: [{ text: null, message: { content: null } }] }),
        false,
        'ENGINE_FAILED',
        /no completion/,
      ],
      ['half', half, false, 'ENGINE_FAILED', /breaks off/],
      ['hangs', hang, false, 'ENGINE_TIMEOUT', /within 0.3 s/],
      ['a stream that hangs', events([part], 'hang'), true, 'ENGINE_TIMEOUT', /within 0.3 s/],
      ['a stream that ends', events([part]), true, 'ENGINE_FAILED', /in the middle/],
      ['a stream that breaks off', events([part], 'destroy'), true, 'ENGINE_UNREACHABLE', /does not answer/],
      ['a stream of something else', events(['hello']), true, 'ENGINE_FAILED', /no chunk/],
      [
        'no model',
        json({ error: { message: 'no model a-secret-key' } }, 404),
        false,
        'ENGINE_REFUSED',
        /no model …/,
      ],
      [
        'too long',
        json({ error: { message: 'context of 8 tokens' } }, 400),
        false,
        'INPUT_INVALID',
        /8 tokens/,
      ],
    ] as const) {
      server.says.set('/v1/completions', say);
      await assert.rejects(ask('Once', {}, isStreamed), (error) => {
        assert.ok(isAppError(error, code), `${name}: ${error}`);
        assert.match(error.message, about, name);
        return true;
      });
    }
  });
});

describe('embeddings on an OpenAI-compatible server', () => {
  it('come as rows, of length 1 where that is wanted, with their tokens counted', async (t) => {
    const { server, ask, sent } = await start(t, 'feature-extraction');
    server.says.set(
      '/v1/embeddings',
      json({ data: [{ index: 0, embedding: [3, 4] }], usage: { prompt_tokens: 2 } }),
    );
    const plain = await ask('a film');
    assert.deepEqual([plain.output, plain.read], [[[3, 4]], { tokens: 2 }]);
    assert.deepEqual(sent(), { model: 'org/far', input: 'a film', encoding_format: 'float' });
    assert.deepEqual((await ask('a film', { normalize: true })).output, [[0.6, 0.8]]);
    await assert.rejects(ask('a film', { prompt_name: 'query' }), /prompt_name/);
    for (const lie of [
      { data: [] },
      { data: [{ embedding: [] }] },
      { data: [{ embedding: ['a'] }] },
      { data: [{ embedding: [null] }] },
    ]) {
      server.says.set('/v1/embeddings', json(lie));
      await assert.rejects(ask('a film'), { code: 'ENGINE_FAILED' });
    }
  });
});
