/**
 * The peer of the model bench, in a process of its own: transformers.js doing the same task on the same files, as its users write it.
 * Times are taken in here, without the way to this process and back, as those of our runner are.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PretrainedConfig } from '@huggingface/transformers';
import { z } from 'zod';

process.env.ORT_DISABLE_TELEMETRY = '1';

export const toPeer = z.discriminatedUnion('type', [
  z.object({ type: z.literal('load'), folder: z.string(), task: z.string(), dtype: z.string() }),
  z.object({
    type: z.literal('ask'),
    input: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
  }),
]);
export type ToPeer = z.infer<typeof toPeer>;
export type FromPeer =
  | { readonly type: 'ready' }
  | { readonly type: 'answered'; readonly output: unknown; readonly ms: number }
  | { readonly type: 'failed'; readonly message: string };

/** It runs only architectures that it has a class for; a graph that takes and gives the same can pass for one of them. */
const STAND_INS: Readonly<Record<string, string>> = {
  'image-classification': 'vit',
  'text-classification': 'bert',
};
const KNOWN = new Set(['bert', 'distilbert', 'roberta', 'vit', 'efficientnet', 'marian']);

async function configOf(folder: string, task: string): Promise<PretrainedConfig | undefined> {
  const { PretrainedConfig } = await import('@huggingface/transformers');
  const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as { model_type?: string };
  const standIn = STAND_INS[task];
  if (standIn === undefined || KNOWN.has(json.model_type ?? '')) return undefined;
  return new PretrainedConfig({ ...json, model_type: standIn });
}

type Ask = (input: Uint8Array) => Promise<unknown>;

async function load({ folder, task, dtype }: Extract<ToPeer, { type: 'load' }>): Promise<Ask> {
  const { env, pipeline, RawImage } = await import('@huggingface/transformers');
  env.allowRemoteModels = false;
  env.localModelPath = join(folder, '..');
  env.cacheDir = null as unknown as string;
  const name = folder.slice(folder.lastIndexOf('/') + 1);
  const config = await configOf(folder, task);
  // One thread, as our runner has.
  const session_options = { intraOpNumThreads: 1, interOpNumThreads: 1 };
  const made = (await pipeline(task as 'image-classification', name, {
    dtype: dtype as 'q8',
    device: 'cpu',
    session_options,
    ...(config && { config }),
  })) as unknown as (...args: unknown[]) => Promise<unknown>;
  const text = (input: Uint8Array): string => Buffer.from(input).toString('utf8');
  switch (task) {
    case 'image-classification':
      return async (input) => made(await RawImage.fromBlob(new Blob([new Uint8Array(input)])));
    case 'question-answering':
      return (input) => {
        const { question, context } = JSON.parse(text(input)) as { question: string; context: string };
        return made(question, context);
      };
    case 'translation':
      return (input) => made(text(input), { num_beams: 1 });
    default:
      return (input) => made(text(input));
  }
}

const say = (message: FromPeer): boolean | undefined => process.send?.(message);
let ask: Ask | undefined;

process.on('message', (raw) => {
  const message = toPeer.parse(raw);
  void (async () => {
    try {
      if (message.type === 'load') {
        ask = await load(message);
        say({ type: 'ready' });
        return;
      }
      const startedMonoMs = performance.now();
      const output = await ask?.(message.input);
      say({ type: 'answered', output, ms: performance.now() - startedMonoMs });
    } catch (error) {
      say({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
    }
  })();
});
process.on('disconnect', () => process.exit(0));
