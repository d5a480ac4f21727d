/** OpenAI's official clients, of Python and of JavaScript, against the hub: unmodified, by base URL and key. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { GENERATION, references } from '../support/generation.ts';
import { startOpenAiHub } from '../support/openai-hub.ts';

const python = join(resolve(process.env.OUTRIDER_CLIENTS_VENV ?? '.venv'), 'bin', 'python');
const SCRIPT = fileURLToPath(new URL('../support/clients/openai_client.py', import.meta.url));
const TIMEOUT_MS = 200_000;

const sound = async (): Promise<string> =>
  join(GENERATION, 'sounds', (await references()).whisper[0]?.input ?? '');

test('Python’s client asks for everything, and raises its own errors', {
  skip:
    spawnSync(python, ['-c', 'import openai']).status !== 0 &&
    `${python} lacks openai of test/support/clients.txt`,
}, async (t) => {
  const hub = await startOpenAiHub(t);
  const { stdout } = await promisify(execFile)(python, [SCRIPT, hub.url, hub.key, await sound()], {
    timeout: TIMEOUT_MS,
  });
  assert.match(stdout, /^all well$/m);
});

test('JavaScript’s client asks for everything, and throws its own errors', async (t) => {
  const hub = await startOpenAiHub(t);
  const client = new OpenAI({ baseURL: `${hub.url}/v1`, apiKey: hub.key, maxRetries: 0 });
  const names: string[] = [];
  for await (const { id } of client.models.list()) names.push(id);
  assert.ok(names.includes('org/chat'));
  assert.equal((await client.models.retrieve('org/chat')).owned_by, 'org');

  const asked = {
    ...{ model: 'org/chat', temperature: 0, max_tokens: 12 },
    messages: [{ role: 'user' as const, content: 'Once upon a time' }],
  };
  const whole = await client.chat.completions.create(asked);
  let said = '';
  for await (const { choices } of await client.chat.completions.create({ ...asked, stream: true }))
    said += choices[0]?.delta.content ?? '';
  assert.equal(said, whole.choices[0]?.message.content);
  assert.equal(whole.usage?.completion_tokens, 12);

  const text = { model: 'gpt2', prompt: 'Once upon a time', temperature: 0, max_tokens: 12 };
  const { choices } = await client.completions.create(text);
  let told = '';
  for await (const part of await client.completions.create({ ...text, stream: true }))
    told += part.choices[0]?.text ?? '';
  assert.equal(told, choices[0]?.text);

  const { data } = await client.embeddings.create({ model: 'embed-mean', input: ['a', 'b'] });
  assert.equal(typeof data[1]?.embedding[0], 'number', 'the client asks for base64, and reads it');
  const file = createReadStream(await sound());
  const heard = await client.audio.transcriptions.create({ model: 'whisper', file });
  assert.ok(heard.text.length > 0);

  const tools = [{ type: 'function' as const, function: { name: 'f' } }];
  await assert.rejects(client.chat.completions.create({ ...asked, tools }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual([error.param, error.code], ['tools', 'unsupported_parameter']);
    return true;
  });
  await assert.rejects(client.chat.completions.create({ ...asked, model: 'nobody' }), OpenAI.NotFoundError);

  const leaving = await client.completions.create({ ...text, max_tokens: 80, stream: true });
  for await (const _part of leaving) break;
});
