/** What is asked: the demo's pictures and sentences, and prompts for a tiny generator. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inTree } from '../harness.ts';

export type Kind = 'pictures' | 'sentences' | 'tokens';

/** Questions for one model. */
export interface Question {
  readonly kind: Kind;
  readonly model: string;
  readonly folder: string;
  readonly contentType: string;
  readonly bodies: readonly Uint8Array[];
  /** What one answer is worth, as the load generator reads it; null: one. */
  readonly worth: string | null;
}

/** Tokens of one generation. */
const NEW_TOKENS = 32;

export async function pictures(): Promise<Question> {
  const folder = inTree('models/demo/pictures');
  const names = (await readdir(folder)).sort();
  const bodies = await Promise.all(names.map((name) => readFile(join(folder, name))));
  return {
    ...{ kind: 'pictures', model: 'cifar10-vit', folder: inTree('models/cifar10-vit') },
    ...{ contentType: 'image/jpeg', bodies, worth: null },
  };
}

export async function sentences(): Promise<Question> {
  const text = await readFile(inTree('models/demo/sentences.txt'), 'utf8');
  const bodies = text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => Buffer.from(line));
  return {
    ...{ kind: 'sentences', model: 'sst2-minilm', folder: inTree('models/sst2-minilm') },
    ...{ contentType: 'text/plain; charset=utf-8', bodies, worth: null },
  };
}

export function prompts(): Question {
  const parameters = { max_new_tokens: NEW_TOKENS, details: true };
  const bodies = ['the cat', 'a dog is', 'one two three'].map((inputs) =>
    Buffer.from(JSON.stringify({ inputs, parameters })),
  );
  return {
    ...{ kind: 'tokens', model: 'gpt2', folder: inTree('test/fixtures/generation/gpt2') },
    ...{ contentType: 'application/json', bodies, worth: '"generated_tokens":(\\d+)' },
  };
}
