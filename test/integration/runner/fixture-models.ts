/** Starts runners of the tiny models of test/fixtures/models, and knows their inputs. */
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import type { RunnerOptions } from '../../../shared/inference/runner/runner.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';

export const fixtureFolder = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/models/${name}`, import.meta.url));

export const runnerOptions = (name: string, changes: Partial<RunnerOptions> = {}): RunnerOptions => ({
  folder: fixtureFolder(name),
  digest: '0'.repeat(64),
  threads: 1,
  maxRssBytes: 1_500_000_000,
  startTimeoutMs: 30_000,
  callTimeoutMs: 10_000,
  ...changes,
});

export const textInput = (text: string | Uint8Array, parameters?: Record<string, unknown>): TaskInput => ({
  contentType: 'text/plain',
  body: typeof text === 'string' ? Buffer.from(text) : text,
  ...(parameters ? { parameters } : {}),
});

export async function pictureInput(colour: string, widthPx = 16, heightPx = 16): Promise<TaskInput> {
  const body = await sharp({ create: { width: widthPx, height: heightPx, channels: 3, background: colour } })
    .png()
    .toBuffer();
  return { contentType: 'image/png', body };
}

export const bytesInput = (body: Uint8Array): TaskInput => ({
  contentType: 'application/octet-stream',
  body,
});
