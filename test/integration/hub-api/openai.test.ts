/** OpenAI's face over real models in real runners, as a program writes to it: what is answered, and what is refused by which name. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { InferenceClient } from '@huggingface/inference';
import { GENERATION, type GenerationHub, references } from '../../support/generation.ts';
import { openAiHub } from '../../support/openai-hub.ts';

interface Choice {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly message: { readonly role: string; readonly content: string };
  readonly delta: { readonly content?: string };
  readonly logprobs: {
    readonly tokens: string[];
    readonly token_logprobs: number[];
    readonly top_logprobs: [Record<string, number>];
    readonly text_offset: number[];
    readonly content: [{ readonly logprob: number; readonly top_logprobs: [{ readonly logprob: number }] }];
  };
}
/** Whatever an address here answers: each has some of it. */
interface Json {
  readonly choices: [Choice, ...Choice[]];
  readonly usage: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly total_tokens: number;
    readonly seconds: number;
  };
  readonly data: [Item, ...Item[]];
  readonly id: string;
  readonly owned_by: string;
  readonly text: string;
  readonly task: string;
  readonly language: string;
  readonly duration: number;
  readonly segments: unknown[];
  readonly error: { readonly code: string; readonly param: string | null; readonly message: string };
}
interface Item {
  readonly id: string;
  readonly embedding: number[];
}

describe('OpenAI’s face', () => {
  let hub: GenerationHub;
  before(async () => {
    hub = await openAiHub();
  });
  after(() => hub.stop());

  const post = (path: string, body: unknown, key = hub.key): Promise<Response> =>
    fetch(`${hub.url}/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  async function ask(path: string, body: unknown): Promise<Json> {
    const response = await post(path, body);
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return JSON.parse(text) as Json;
  }
  /** @returns the chunks, after it was seen that [DONE] is the last */
  async function stream(path: string, body: object): Promise<Json[]> {
    const response = await post(path, { ...body, stream: true });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    const lines = text.trim().split('\n\n');
    assert.equal(lines.pop(), 'data: [DONE]');
    return lines.map((line) => JSON.parse(line.replace(/^data: /, '')) as Json);
  }
  /** @param param as the error must name it */
  async function refuses(
    path: string,
    body: unknown,
    [status, code, param]: readonly [number, string, string | null],
  ): Promise<string> {
    const response = await post(path, body);
    const text = await response.text();
    const { error } = JSON.parse(text) as Json;
    assert.deepEqual([response.status, error.code, error.param], [status, code, param], text);
    assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
    assert.ok(response.headers.get('x-request-id'));
    return error.message;
  }

  const CHAT = { model: 'org/chat', messages: [{ role: 'user', content: 'Once upon a time' }] };
  const TEXT = { model: 'gpt2', prompt: 'Once upon a time', temperature: 0 };

  it('answers a chat below its model’s address too, for Hugging Face’s clients, which are given that', async () => {
    const asked = {
      messages: [{ role: 'user' as const, content: 'Once upon a time' }],
      max_tokens: 8,
      temperature: 0,
    };
    const { choices } = await ask('/chat/completions', { ...asked, model: CHAT.model });
    const client = new InferenceClient(hub.key);
    const endpointUrl = `${hub.url}/hf/models/${CHAT.model}`;
    const whole = await client.chatCompletion({ ...asked, endpointUrl });
    assert.equal(whole.choices[0]?.message.content, choices[0].message.content);
    assert.equal(whole.model, CHAT.model);
    let streamed = '';
    for await (const chunk of client.chatCompletionStream({ ...asked, endpointUrl }))
      streamed += chunk.choices[0]?.delta.content ?? '';
    assert.equal(streamed, choices[0].message.content);
    // What its own client says of the model, which the address has named.
    const named = await fetch(`${endpointUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...asked, model: endpointUrl }),
    });
    assert.equal(((await named.json()) as Json).choices[0].message.content, choices[0].message.content);
    await assert.rejects(
      client.chatCompletion({ ...asked, endpointUrl: `${hub.url}/hf/models/nobody` }),
      /no model of this name/,
    );
  });

  it('lists the models that it can ask, and shows one of an organisation', async () => {
    const headers = { authorization: `Bearer ${hub.key}` };
    const get = async (path: string): Promise<{ status: number; json: Json }> => {
      const response = await fetch(`${hub.url}/v1${path}`, { headers });
      return { status: response.status, json: (await response.json()) as Json };
    };
    const { json } = await get('/models');
    assert.deepEqual(json.data.map(({ id }: Item) => id).sort(), [
      'embed-mean',
      'gpt2',
      'org/chat',
      'wav2vec2',
      'whisper',
    ]);
    for (const path of ['/models/org/chat', '/models/org%2Fchat'])
      assert.deepEqual([(await get(path)).json.id, (await get(path)).json.owned_by], ['org/chat', 'org']);
    const other = await get('/models/texts');
    assert.deepEqual([other.status, other.json.error.code], [404, 'model_not_found']);
    assert.match(other.json.error.message, /\/hf\/models\/texts/);
  });

  it('goes on with a text as Python does, and counts its tokens', async () => {
    for (const { input, parameters, text, ids } of (await references()).gpt2) {
      const { max_new_tokens, ...rest } = parameters;
      if (Object.keys(rest).length > 0) continue;
      const asked = { ...TEXT, prompt: input, max_tokens: max_new_tokens };
      const whole = await ask('/completions', asked);
      assert.equal(whole.choices[0].text, text);
      const { prompt_tokens, completion_tokens, total_tokens } = whole.usage;
      assert.equal(completion_tokens, ids.length);
      assert.equal(total_tokens, prompt_tokens + completion_tokens);
      const chunks = await stream('/completions', { ...asked, stream_options: { include_usage: true } });
      assert.equal(chunks.map(({ choices: [one] }) => one?.text ?? '').join(''), text);
      assert.deepEqual(chunks.at(-1)?.usage, whole.usage);
      assert.deepEqual(chunks.at(-1)?.choices, []);
      assert.equal(chunks.at(-2)?.choices[0].finish_reason, whole.choices[0].finish_reason);
    }
    assert.equal((await ask('/completions', TEXT)).usage.completion_tokens, 16, 'OpenAI’s own length');
  });

  it('ends before a stop word, wherever the borders of tokens are', async () => {
    const { choices } = await ask('/completions', { ...TEXT, max_tokens: 40 });
    const whole = choices[0].text;
    for (const at of [3, 7, 12])
      for (const length of [1, 2, 5]) {
        const stop = whole.slice(at, at + length);
        const expected = whole.slice(0, whole.indexOf(stop));
        const asked = { ...TEXT, max_tokens: 40, stop: ['never said', stop] };
        const cut = await ask('/completions', asked);
        assert.deepEqual([cut.choices[0].text, cut.choices[0].finish_reason], [expected, 'stop']);
        const chunks = await stream('/completions', asked);
        assert.equal(chunks.map(({ choices: [one] }) => one?.text ?? '').join(''), expected);
      }
  });

  it('repeats by seed, makes several choices, and says how likely tokens were', async () => {
    const asked = { ...TEXT, temperature: 1.5, seed: 7, n: 3, max_tokens: 12, logprobs: 2 };
    const [one, again] = [await ask('/completions', asked), await ask('/completions', asked)];
    assert.deepEqual(one.choices, again.choices);
    assert.equal(new Set(one.choices.map(({ text }) => text)).size, 3);
    assert.equal(one.usage.completion_tokens, 36);
    const { tokens, token_logprobs, top_logprobs, text_offset } = one.choices[0].logprobs;
    assert.equal(
      new Set([tokens, token_logprobs, top_logprobs, text_offset].map(({ length }) => length)).size,
      1,
    );
    assert.ok(Object.keys(top_logprobs[0]).length <= 2);
    const chunks = await stream('/completions', asked);
    for (const index of [0, 1, 2]) {
      const text = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      assert.equal(text.map((choice) => choice.text).join(''), one.choices[index]?.text);
    }
    const lists = await ask('/completions', { ...TEXT, prompt: ['Once', 'Twice'], n: 2 });
    assert.deepEqual(
      lists.choices.map(({ index }) => index),
      [0, 1, 2, 3],
    );
    assert.equal(lists.choices[0].text, lists.choices[1]?.text);
  });

  it('penalties and biases change what is said', async () => {
    const plain = await ask('/completions', { ...TEXT, max_tokens: 40, logprobs: 0 });
    const repeated = (tokens: string[]): number => tokens.length - new Set(tokens).size;
    const punished = await ask('/completions', {
      ...{ ...TEXT, max_tokens: 40, logprobs: 0 },
      ...{ frequency_penalty: 2, presence_penalty: 2 },
    });
    assert.ok(repeated(punished.choices[0].logprobs.tokens) <= repeated(plain.choices[0].logprobs.tokens));
    assert.notEqual(punished.choices[0].text, plain.choices[0].text);
    const biased = await ask('/completions', { ...TEXT, max_tokens: 5, logit_bias: { 70: 100 } });
    assert.equal(new Set(biased.choices[0].text).size, 1);
  });

  it('answers a chat by the model’s template, whole and token by token', async () => {
    const asked = { ...CHAT, temperature: 0, max_tokens: 12, logprobs: true, top_logprobs: 3 };
    const whole = await ask('/chat/completions', asked);
    const { message, logprobs, finish_reason } = whole.choices[0];
    assert.deepEqual([message.role, finish_reason], ['assistant', 'length']);
    assert.equal(logprobs.content[0].top_logprobs.length, 3);
    assert.equal(logprobs.content[0].logprob, logprobs.content[0].top_logprobs[0].logprob);
    const byHand = await ask('/completions', {
      ...{ ...TEXT, prompt: '<s>user: Once upon a time\nassistant:', max_tokens: 12 },
    });
    assert.equal(message.content, byHand.choices[0].text);
    const chunks = await stream('/chat/completions', { ...asked, stream_options: { include_usage: true } });
    assert.deepEqual(chunks[0]?.choices[0].delta, { role: 'assistant', content: '', refusal: null });
    assert.equal(chunks.map(({ choices: [one] }) => one?.delta.content ?? '').join(''), message.content);
    assert.deepEqual(chunks.at(-1)?.usage, whole.usage);
    const parts = await ask('/chat/completions', {
      ...{ ...asked, max_tokens: undefined, max_completion_tokens: 12 },
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Once upon ' },
            { type: 'text', text: 'a time' },
          ],
        },
      ],
    });
    assert.equal(parts.choices[0].message.content, message.content);
  });

  it('refuses by name what it has not, and what a model cannot do', async () => {
    for (const [name, value] of Object.entries({
      ...{ tools: [{ type: 'function', function: { name: 'f' } }], tool_choice: 'required' },
      ...{ functions: [{ name: 'f' }], response_format: { type: 'json_object' }, modalities: ['audio'] },
      ...{ audio: { voice: 'alloy' }, made_up: 1, store: true, reasoning_effort: 'high' },
    }))
      await refuses('/chat/completions', { ...CHAT, [name]: value }, [400, 'unsupported_parameter', name]);
    for (const [name, value] of Object.entries({ echo: true, suffix: 'end', best_of: 3 }))
      await refuses('/completions', { ...TEXT, [name]: value }, [400, 'unsupported_parameter', name]);
    for (const [name, value] of Object.entries({
      ...{ temperature: 3, top_p: 2, n: 0, max_tokens: 0, stop: ['a', 'b', 'c', 'd', 'e'] },
      ...{ presence_penalty: 9, stream: 'yes', logit_bias: { word: 1 } },
    })) {
      const param = name === 'logit_bias' ? 'logit_bias.word' : name;
      await refuses('/completions', { ...TEXT, [name]: value }, [400, 'PARAMETERS_INVALID', param]);
    }
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };
    await refuses('/chat/completions', { ...CHAT, messages: [{ role: 'user', content: [image] }] }, [
      ...([400, 'unsupported_parameter', 'messages[0].content[0]'] as const),
    ]);
    await refuses('/chat/completions', { ...CHAT, messages: [{ role: 'tool', content: 'x' }] }, [
      ...([400, 'unsupported_parameter', 'messages[0].role'] as const),
    ]);
    await refuses('/chat/completions', { ...CHAT, messages: [] }, [400, 'PARAMETERS_INVALID', 'messages']);
    assert.match(
      await refuses('/chat/completions', { ...CHAT, model: 'gpt2' }, [400, 'BAD_REQUEST', 'messages']),
      /no chat template/,
    );
    assert.match(
      await refuses('/chat/completions', { ...CHAT, messages: [{ role: 'assistant', content: 'x' }] }, [
        ...([400, 'INPUT_INVALID', 'messages'] as const),
      ]),
      /begins with its user/,
    );
    await refuses('/completions', { ...TEXT, prompt: [1, 2, 3] }, [400, 'unsupported_parameter', 'prompt']);
    await refuses('/completions', { ...TEXT, prompt: 'so it goes '.repeat(60) }, [
      ...([400, 'context_length_exceeded', 'prompt'] as const),
    ]);
    await refuses('/completions', { ...TEXT, model: 'nobody' }, [404, 'model_not_found', null]);
    await refuses('/completions', { ...TEXT, model: 'embed-mean' }, [400, 'PARAMETERS_INVALID', 'model']);
    await refuses('/completions', [], [400, 'BAD_REQUEST', null]);
    await refuses('/responses', {}, [404, 'NOT_FOUND', null]);
    const stranger = await post('/completions', TEXT, 'guessed');
    assert.equal(((await stranger.json()) as Json).error.code, 'invalid_api_key');
  });

  it('embeds texts as numbers and as base64, and cuts dimensions to length 1', async () => {
    const asked = { model: 'embed-mean', input: ['a fine film', 'a dull one'] };
    const { data, usage } = await ask('/embeddings', asked);
    assert.ok(usage.prompt_tokens >= 6 && usage.total_tokens === usage.prompt_tokens);
    const [{ embedding: first }] = data;
    const vectors = data.map(({ embedding }) => embedding);
    const packed = await ask('/embeddings', { ...asked, encoding_format: 'base64' });
    for (const [index, { embedding }] of packed.data.entries()) {
      const bytes = Buffer.from(String(embedding), 'base64');
      const floats = Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(at * 4));
      assert.deepEqual(floats, vectors[index]?.map(Math.fround));
    }
    const cut = await ask('/embeddings', { ...asked, input: 'a fine film', dimensions: 4 });
    const length = Math.hypot(...first.slice(0, 4));
    for (const [at, value] of cut.data[0].embedding.entries())
      assert.ok(Math.abs(value - (first[at] ?? 9) / length) < 1e-6);
    const many = await ask('/embeddings', {
      ...asked,
      input: Array.from({ length: 150 }, () => 'a fine film'),
    });
    assert.equal(many.data.length, 150);
    await refuses('/embeddings', { ...asked, dimensions: 9_999 }, [400, 'PARAMETERS_INVALID', 'dimensions']);
    await refuses('/embeddings', { ...asked, input: [[1, 2]] }, [400, 'unsupported_parameter', 'input']);
    await refuses('/embeddings', { ...asked, input: '' }, [400, 'INPUT_EMPTY', 'input']);
    await refuses('/embeddings', { ...asked, input: 'word '.repeat(90) }, [400, 'INPUT_INVALID', 'input']);
    assert.equal(
      (await ask('/embeddings', { ...asked, input: 'word '.repeat(90), truncate: true })).data.length,
      1,
    );
  });

  it('writes down a sound in every form', async () => {
    const [{ input, text } = assert.fail()] = (await references()).whisper;
    const file = await readFile(join(GENERATION, 'sounds', input));
    const send = (given: Record<string, string>, bytes: Uint8Array = file): Promise<Response> => {
      const form = new FormData();
      form.set('file', new Blob([new Uint8Array(bytes)], { type: 'audio/wav' }), 'sound.wav');
      for (const [name, value] of Object.entries({ model: 'whisper', ...given })) form.set(name, value);
      return fetch(`${hub.url}/v1/audio/transcriptions`, {
        ...{ method: 'POST', body: form, headers: { authorization: `Bearer ${hub.key}` } },
      });
    };
    const json = (await (await send({})).json()) as Json;
    assert.equal(json.text, text.trim());
    assert.ok(json.usage.seconds > 0);
    assert.equal(await (await send({ response_format: 'text' })).text(), `${text.trim()}\n`);
    const verbose = (await (await send({ response_format: 'verbose_json', language: 'en' })).json()) as Json;
    assert.deepEqual(
      [verbose.task, verbose.language, verbose.duration],
      ['transcribe', 'english', json.usage.seconds],
    );
    assert.ok(verbose.segments.length > 0);
    assert.match(
      await (await send({ response_format: 'srt' })).text(),
      /^1\n00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}\n/,
    );
    assert.match(
      await (await send({ response_format: 'vtt' })).text(),
      /^WEBVTT\n\n00:00:\d\d\.\d{3} --> 00:00:\d\d\.\d{3}\n/,
    );
    for (const [given, bytes, code, param] of [
      [{ language: 'xx' }, file, 'PARAMETERS_INVALID', null],
      [{ prompt: 'names' }, file, 'unsupported_parameter', 'prompt'],
      [{ response_format: 'yaml' }, file, 'PARAMETERS_INVALID', 'response_format'],
      [{ model: 'wav2vec2', response_format: 'srt' }, file, 'PARAMETERS_INVALID', null],
      [{}, Buffer.from('ID3 music'), 'AUDIO_INVALID', 'file'],
      [{}, Buffer.alloc(0), 'INPUT_EMPTY', 'file'],
      [{ model: 'gpt2' }, file, 'PARAMETERS_INVALID', 'model'],
    ] as const) {
      const response = await send(given, bytes);
      const { error } = (await response.json()) as Json;
      assert.deepEqual([response.status, error.code, error.param], [400, code, param], error.message);
    }
    await refuses('/audio/transcriptions', { model: 'whisper' }, [400, 'BAD_REQUEST', null]);
  });
});
