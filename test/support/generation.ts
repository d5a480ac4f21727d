/** The tiny models that generate, and what Python's transformers generates with them (test/fixtures/generation/make.py). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HubServer } from '../../cloud/api/frame/server.ts';
import { Batcher, type BatcherOptions } from '../../cloud/batcher/batcher.ts';
import { LocalRunnerPool } from '../../cloud/engine/runner-pool.ts';
import type { InferenceRequest } from '../../cloud/ports.ts';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { toAppError } from '../../shared/runtime/errors.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import { startHubApi } from './hub-api.ts';

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

const TASK_OF: Readonly<Record<GenerationModel, TaskName>> = {
  marian: 'translation',
  bart: 'summarization',
  gpt2: 'text-generation',
  whisper: 'automatic-speech-recognition',
  wav2vec2: 'automatic-speech-recognition',
  'vit-gpt2': 'image-to-text',
};

export interface GenerationHub {
  readonly url: string;
  readonly key: string;
  readonly adminKey: string;
  /** Of each request that failed: after how many tokens, and why. */
  readonly ended: { tokens: number; code: string }[];
  readonly batcher: Batcher;
  stop(): Promise<void>;
}

/** The hub's API on a socket, with these models in real runners behind the real batcher. @param models where their folders lie */
export const startGenerationHub = (models = GENERATION): Promise<GenerationHub> =>
  startModelHub(models, TASK_OF);

/** @param onFailed as the hub's own batcher tells it */
export async function startModelHub(
  models: string,
  tasks: Readonly<Record<string, TaskName>>,
  onFailed?: BatcherOptions['onFailed'],
): Promise<GenerationHub> {
  const pool = new LocalRunnerPool({
    catalog: {
      resolve(name) {
        const ref = { name, version: '1', digest: name.padEnd(64, '0') };
        return { folder: join(models, name), ref, task: tasks[name] as TaskName };
      },
    },
    startRunner,
    clock: systemClock,
    logger: silentLogger,
    maxLoaded: 6,
    runner: { threads: 1, maxRssBytes: 2e9, startTimeoutMs: 60_000, callTimeoutMs: 60_000 },
  });
  const batcher = new Batcher({ pool, clock: systemClock, ...(onFailed && { onFailed }) });
  const ended: GenerationHub['ended'] = [];
  const infer = async (request: InferenceRequest): ReturnType<Batcher['infer']> => {
    let tokens = 0;
    const { onToken } = request;
    const counting: Pick<InferenceRequest, 'onToken'> = onToken
      ? {
          onToken: (token, isLast) => {
            tokens += 1;
            onToken(token, isLast);
          },
        }
      : {};
    try {
      return await batcher.infer({ ...request, ...counting });
    } catch (error) {
      ended.push({ tokens, code: toAppError(error).code });
      throw error;
    }
  };
  const hub = await startHubApi({ models: tasks, inferencer: { infer } });
  const server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
  await server.start();
  return {
    ...{ ended, batcher, key: hub.inferKey, adminKey: hub.adminKey, url: `http://127.0.0.1:${server.port}` },
    async stop() {
      await server.stop();
      await batcher.stop();
      await pool.stop(0);
      await hub.stop();
    },
  };
}
