/** llama.cpp's server behind a hub: chats, texts, streams, embeddings; a wrong key, a hang in the middle of a stream, its end and its return. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isAppError } from '../../shared/runtime/errors.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { type HubProgram, startHubProgram } from '../support/hub-program.ts';
import { LLAMA_QUESTIONS, TOO_LONG } from '../support/llama-questions.ts';
import { HOW_TO_GET_LLAMA_SERVER, hasLlamaServer, startLlamaServer } from '../support/llama-server.ts';
import { openAiAsker } from '../support/openai-asker.ts';
import { eventually, outrider } from '../support/programs.ts';
import { compareExchanges, recordingProxy } from '../support/recorded-engine.ts';

const KEY = 'a-key-of-llama';
const skip = !hasLlamaServer() && HOW_TO_GET_LLAMA_SERVER;

interface Said {
  readonly choices: readonly {
    readonly text: string;
    readonly message: { readonly content: string };
    readonly logprobs: { readonly content: readonly { readonly top_logprobs: readonly unknown[] }[] };
    readonly finish_reason: string;
  }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
  readonly data: readonly { readonly embedding: readonly number[] }[];
  readonly error: { readonly message: string; readonly code: string };
}

async function add(
  t: TestContext,
  hub: HubProgram,
  o: { name: string; url: string; key?: string; args?: readonly string[]; task?: string },
): Promise<void> {
  const keyFile = join(await temporaryFolder(t), 'llama.key');
  await writeFile(keyFile, o.key ?? KEY);
  const added = outrider(t, [
    ...['models', 'add', o.name, '--engine', o.url, '--kind', 'openai', '--key-file', keyFile],
    ...['--task', o.task ?? 'text-generation', '--remote-name', 'tiny', ...(o.args ?? [])],
    ...['--hub', hub.url, '--key', hub.key],
  ]);
  assert.equal((await added.exited).code, 0, added.output());
}

const post = (hub: HubProgram, path: string, body: object): Promise<Response> =>
  fetch(`${hub.url}/v1/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

async function answered(hub: HubProgram, path: string, body: object): Promise<Said> {
  const response = await post(hub, path, body);
  const said = (await response.json()) as Said;
  assert.equal(response.status, 200, JSON.stringify(said));
  return said;
}

test('what it says is what is recorded: texts, chats, streams, likeliest tokens, refusals', {
  skip,
}, async (t) => {
  const llama = await startLlamaServer(t, { key: KEY });
  const { url, exchanges } = await recordingProxy(t, llama.url);
  const { ask } = openAiAsker(t, { url, key: KEY, remoteName: 'tiny' });
  for (const { name, body, parameters, isStreamed } of LLAMA_QUESTIONS) {
    const { output } = await ask(body, parameters, isStreamed && (() => undefined));
    assert.equal((output as { details: { generated_tokens: number } }).details.generated_tokens, 3, name);
  }
  await assert.rejects(ask(TOO_LONG.body, TOO_LONG.parameters), (error) =>
    isAppError(error, 'INPUT_INVALID'),
  );
  const embedding = openAiAsker(t, { url, key: KEY, remoteName: 'tiny', task: 'feature-extraction' });
  await assert.rejects(embedding.ask('ab'), (error) => isAppError(error, 'ENGINE_REFUSED'));
  await compareExchanges('llama-server', exchanges);
  const longer = { max_new_tokens: 24 };
  const unrecorded = openAiAsker(t, { url: llama.url, key: KEY, remoteName: 'tiny' });
  const [plain, varied] = [
    await unrecorded.ask('ab', longer),
    await unrecorded.ask('ab', { ...longer, repetition_penalty: 1.9 }),
  ];
  assert.notDeepEqual(varied.output, plain.output, 'a penalty of repetition is heard');
});

test('a hub in front of it answers OpenAI’s clients: n, stop, seed, log-probabilities, streams, embeddings', {
  skip,
}, async (t) => {
  const llama = await startLlamaServer(t, { key: KEY });
  const embedder = await startLlamaServer(t, { key: KEY, args: ['--embeddings', '--pooling', 'mean'] });
  const hub = await startHubProgram(t);
  await add(t, hub, { name: 'org/chat', url: llama.url });
  await add(t, hub, { name: 'org/embed', url: embedder.url, task: 'feature-extraction' });
  const short = { model: 'org/chat', max_tokens: 4, temperature: 0 };
  const messages = [{ role: 'user', content: 'ab' }];
  const chat = await answered(hub, 'chat/completions', {
    ...short,
    messages,
    logprobs: true,
    top_logprobs: 2,
  });
  assert.deepEqual([chat.usage.completion_tokens, chat.choices[0]?.finish_reason], [4, 'length']);
  const likely = chat.choices[0]?.logprobs.content ?? [];
  // It says nothing of a character whose last byte has not come.
  assert.ok(likely.length > 0 && likely.every(({ top_logprobs }) => top_logprobs.length === 2));
  const two = await answered(hub, 'completions', { ...short, prompt: 'ab', n: 2 });
  assert.equal(two.choices.length, 2);
  assert.equal(two.choices[0]?.text, two.choices[1]?.text, 'without chance it says the same');
  const [first = ''] = two.choices[0]?.text ?? '';
  const stopped = await answered(hub, 'completions', { ...short, prompt: 'ab', stop: [first] });
  assert.deepEqual([stopped.choices[0]?.text, stopped.choices[0]?.finish_reason], ['', 'stop']);
  const chance = { ...short, temperature: 1.5, seed: 11, prompt: 'ab', max_tokens: 6 };
  const [once, again] = [
    await answered(hub, 'completions', chance),
    await answered(hub, 'completions', chance),
  ];
  assert.equal(once.choices[0]?.text, again.choices[0]?.text);
  const streamed = await post(hub, 'completions', { ...short, prompt: 'ab', stream: true });
  const events = (await streamed.text()).split('\n\n').filter((one) => one.startsWith('data: {'));
  const text = events.map((one) => (JSON.parse(one.slice(6)) as Said).choices[0]?.text ?? '').join('');
  assert.equal(text, two.choices[0]?.text);
  const embedded = await answered(hub, 'embeddings', { model: 'org/embed', input: 'ab' });
  assert.equal(embedded.data[0]?.embedding.length, 64);
  const long = await post(hub, 'completions', { ...short, prompt: TOO_LONG.body });
  assert.equal(long.status, 400);
  assert.match(((await long.json()) as Said).error.message, /context size/);
});

test('a wrong key, a hang in the middle of a stream, its end and its return', { skip }, async (t) => {
  const llama = await startLlamaServer(t, { key: KEY });
  const hub = await startHubProgram(t);
  await add(t, hub, { name: 'wrong', url: llama.url, key: 'another-key' });
  await add(t, hub, { name: 'far', url: llama.url, args: ['--timeout', '3'] });
  const asked = { prompt: 'ab', temperature: 0, max_tokens: 2 };
  const wrong = await post(hub, 'completions', { ...asked, model: 'wrong' });
  const said = await wrong.text();
  assert.match(said, /refuses the key/);
  assert.ok(!said.includes('another-key'));
  await answered(hub, 'completions', { ...asked, model: 'far' });

  const stream = await post(hub, 'completions', { ...asked, model: 'far', max_tokens: 400, stream: true });
  const reader = stream.body?.getReader();
  assert.ok(reader);
  await reader.read();
  llama.process.kill('SIGSTOP');
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    rest += Buffer.from(value).toString();
  }
  assert.match(rest, /did not answer within 3 s/);
  llama.process.kill('SIGCONT');
  const isBack = async (): Promise<boolean> =>
    (await post(hub, 'completions', { ...asked, model: 'far' })).status === 200;
  await eventually(isBack, 'it is not asked again after its hang', 60_000);

  llama.process.kill('SIGKILL');
  await new Promise((resolve) => llama.process.once('exit', resolve));
  const gone = await post(hub, 'completions', { ...asked, model: 'far' });
  assert.match(await gone.text(), /does not answer/);
  await llama.restart();
  await eventually(isBack, 'it is not asked again after its return', 60_000);
});
