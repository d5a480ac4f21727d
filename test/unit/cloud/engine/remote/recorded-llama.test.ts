/** What llama.cpp’s server has said (test/peers/llama.peers.ts records it): the same questions are asked today, and its answers are read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Generated } from '../../../../../shared/tasks/text-generation/schema.ts';
import { LLAMA_QUESTIONS, TOO_LONG } from '../../../../support/llama-questions.ts';
import { openAiAsker } from '../../../../support/openai-asker.ts';
import { recordedExchanges, replayedEngine } from '../../../../support/recorded-engine.ts';

test('llama.cpp’s texts, chats and streams become answers, with their tokens counted and how likely they were', async (t) => {
  const server = await replayedEngine(t, await recordedExchanges('llama-server'));
  const far = { url: server.url, key: 'a-key', remoteName: 'tiny' };
  const { ask } = openAiAsker(t, far);
  const said = new Map<string, Generated>();
  for (const { name, body, parameters, isStreamed } of LLAMA_QUESTIONS) {
    const heard: string[] = [];
    const { output, read } = await ask(body, parameters, isStreamed && ((text) => heard.push(text)));
    const generated = output as Generated;
    assert.equal(generated.details?.generated_tokens, 3, name);
    assert.equal(generated.details?.finish_reason, 'length', name);
    assert.equal(read?.tokens, 4, `${name}: the two letters, what they begin with, and the beginning`);
    if (isStreamed) assert.equal(heard.join(''), generated.generated_text, name);
    said.set(name, generated);
  }
  const of = (name: string): Generated => said.get(name) ?? assert.fail(name);
  assert.equal(of('a text, streamed').generated_text, of('a text').generated_text);
  assert.equal(of('a chat, streamed').generated_text, of('a chat').generated_text);
  const taken = of('the taken alone').details;
  assert.ok(taken?.tokens.every(({ id, logprob }) => id > 0 || logprob < 0));
  assert.equal(taken?.top_tokens, undefined, 'none beside it were asked for');
  for (const name of ['two likeliest', 'two likeliest of a chat']) {
    const { tokens = [], top_tokens = [] } = of(name).details ?? {};
    assert.ok(tokens.length > 0, name);
    assert.deepEqual(top_tokens.map(({ length }) => length), tokens.map(() => 2)); // biome-ignore format: one line
    // Without chance the likeliest is taken.
    assert.deepEqual(top_tokens.map(([first]) => first), tokens); // biome-ignore format: one line
  }
  const { tokens = [] } = of('likeliest, streamed').details ?? {};
  assert.ok(tokens.length > 0 && tokens.every(({ logprob }) => logprob < 0));
});

test('llama.cpp’s refusals are told: a text beyond its context, embeddings that it was not started for', async (t) => {
  const server = await replayedEngine(t, await recordedExchanges('llama-server'));
  const far = { url: server.url, key: 'a-key', remoteName: 'tiny' };
  await assert.rejects(openAiAsker(t, far).ask(TOO_LONG.body, TOO_LONG.parameters), {
    code: 'INPUT_INVALID',
    message: /exceeds the available context size \(512 tokens\)/,
  });
  await assert.rejects(openAiAsker(t, { ...far, task: 'feature-extraction' }).ask('ab'), {
    code: 'ENGINE_REFUSED',
    message: /Start it with `--embeddings`/,
  });
});
