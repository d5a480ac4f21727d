/** A hub with tiny models for all that OpenAI's face asks: chats, texts, embeddings, sounds. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import { GENERATION, type GenerationHub, startModelHub } from './generation.ts';

const REFERENCE = fileURLToPath(new URL('../fixtures/reference/', import.meta.url));

/** As many models have it: roles in turn, or it refuses. */
export const CHAT_TEMPLATE = `{%- for message in messages -%}
{%- if message.role == 'assistant' and loop.first -%}{{ raise_exception('a chat begins with its user') }}{%- endif -%}
{{ '<s>' + message.role + ': ' + message.content + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'assistant:' }}{%- endif -%}`;

/** What its models do, by name; `org/chat` has a template, `gpt2` none. */
export const OPENAI_MODELS: Readonly<Record<string, TaskName>> = {
  gpt2: 'text-generation',
  'org/chat': 'text-generation',
  'embed-mean': 'feature-extraction',
  whisper: 'automatic-speech-recognition',
  wav2vec2: 'automatic-speech-recognition',
};

/** Ends with the test. */
export async function startOpenAiHub(t: TestContext): Promise<GenerationHub> {
  const hub = await openAiHub();
  t.after(() => hub.stop());
  return hub;
}

/** For several tests: ends when it is told to. */
export async function openAiHub(): Promise<GenerationHub> {
  const models = await mkdtemp(join(tmpdir(), 'outrider-test-'));
  for (const [name, from] of [
    ['gpt2', join(GENERATION, 'gpt2')],
    ['org/chat', join(GENERATION, 'gpt2')],
    ['embed-mean', join(REFERENCE, 'embed-mean')],
    ['whisper', join(GENERATION, 'whisper')],
    ['wav2vec2', join(GENERATION, 'wav2vec2')],
  ] as const) {
    await mkdir(dirname(join(models, name)), { recursive: true });
    await cp(from, join(models, name), { recursive: true });
  }
  await writeFile(join(models, 'org', 'chat', 'chat_template.jinja'), CHAT_TEMPLATE);
  const hub = await startModelHub(models, OPENAI_MODELS);
  return {
    ...hub,
    async stop() {
      await hub.stop();
      await rm(models, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
