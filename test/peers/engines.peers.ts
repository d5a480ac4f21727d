/** Engines of others: the hub asks the real servers, and what they say is what is recorded for the tests that have none of them. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startHubProgram } from '../support/hub-program.ts';
import { HOW_TO_GET_LLAMA_SERVER, llamaServer, startLlamaServer } from '../support/llama-server.ts';
import { HOW_TO_GET_MLSERVER, hasMlServer, startMlServer } from '../support/mlserver.ts';
import { outrider } from '../support/programs.ts';
import { compareExchanges, recordingProxy } from '../support/recorded-engine.ts';

const MNIST = fileURLToPath(new URL('../../models/mnist-cnn', import.meta.url));

test('MLServer runs the graph of a picture model: the hub answers as it does by itself', {
  skip: !hasMlServer() && HOW_TO_GET_MLSERVER,
}, async (t) => {
  const real = await startMlServer(t, 'mnist', join(MNIST, 'onnx', 'model_quantized.onnx'));
  const { url, exchanges } = await recordingProxy(t, real);
  const hub = await startHubProgram(t, { models: [MNIST] });
  const picture = new Uint8Array(await readFile(join(MNIST, 'golden', '1.png')));
  const ask = async (): Promise<unknown> => {
    const headers = { authorization: `Bearer ${hub.key}` };
    const response = await fetch(`${hub.url}/hf/models/mnist-cnn`, {
      method: 'POST',
      headers,
      body: picture,
    });
    const answer: unknown = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const home = await ask();
  const added = outrider(t, [
    ...['models', 'add', 'mnist-cnn', '--engine', url, '--kind', 'open-inference', '--remote-name', 'mnist'],
    ...['--hub', hub.url, '--key', hub.key],
  ]);
  assert.equal((await added.exited).code, 0, added.output());
  const away = await ask();
  assert.deepEqual(rounded(away), rounded(home));
  assert.ok(exchanges.some(({ path }) => path === '/v2/models/mnist/infer'));
  await compareExchanges('mlserver', exchanges);
});

test('llama-server goes on with a text, whole and streamed, and answers a chat', {
  skip: llamaServer === undefined && HOW_TO_GET_LLAMA_SERVER,
}, async (t) => {
  const real = await startLlamaServer(t);
  const { url, exchanges } = await recordingProxy(t, real);
  const hub = await startHubProgram(t);
  const added = outrider(t, [
    ...['models', 'add', 'org/llama', '--engine', url, '--kind', 'openai', '--task', 'text-generation'],
    ...['--remote-name', 'tiny', '--hub', hub.url, '--key', hub.key],
  ]);
  assert.equal((await added.exited).code, 0, added.output());
  const post = (path: string, json: object): Promise<Response> =>
    fetch(`${hub.url}/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'org/llama', temperature: 0, max_tokens: 8, ...json }),
    });
  const whole = await post('/completions', { prompt: 'Once upon a time' });
  const { choices, usage } = (await whole.json()) as {
    choices: [{ text: string; finish_reason: string }];
    usage: { prompt_tokens: number; completion_tokens: number };
  };
  assert.equal(whole.status, 200);
  assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0 && usage.completion_tokens <= 8);
  const streamed = await (await post('/completions', { prompt: 'Once upon a time', stream: true })).text();
  const lines = streamed.trim().split('\n\n');
  assert.equal(lines.pop(), 'data: [DONE]');
  const text = lines
    .map(
      (line) =>
        (JSON.parse(line.slice('data: '.length)) as { choices: { text: string }[] }).choices[0]?.text ?? '',
    )
    .join('');
  assert.equal(text, choices[0].text);
  const chat = await post('/chat/completions', { messages: [{ role: 'user', content: 'Hello' }] });
  assert.equal(chat.status, 200, await chat.clone().text());
  await compareExchanges('llama-server', exchanges);
});

/** Machines differ in the last digits. */
const rounded = (answer: unknown): unknown =>
  (answer as ({ label: string; score: number } | { label: string; score: number }[])[])
    .flat()
    .map(({ label, score }) => [label, score.toFixed(3)]);
