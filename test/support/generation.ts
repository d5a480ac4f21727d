/** The tiny models that generate, and what Python's transformers generates with them (test/fixtures/generation/make.py). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const GENERATION = fileURLToPath(new URL('../fixtures/generation/', import.meta.url));

export type GenerationModel = 'marian' | 'bart' | 'gpt2' | 'whisper' | 'wav2vec2' | 'vit-gpt2';

export interface Reference {
  /** A text, or a file's name. */
  readonly input: string;
  readonly parameters: Record<string, unknown>;
  readonly ids: readonly number[];
  readonly text: string;
  /** Of each token, before penalties. */
  readonly logprobs?: readonly number[];
}

export async function references(): Promise<Record<GenerationModel, Reference[]>> {
  return JSON.parse(await readFile(join(GENERATION, 'expected.json'), 'utf8')) as Record<
    GenerationModel,
    Reference[]
  >;
}
