/** A runner for one piece of work on this machine: started for it, stopped after it, whatever comes of it. */
import type { ModelFolder } from '../../release/folder/model-folder.ts';
import type { Runner, RunnerOptions } from './runner.ts';
import { startRunner } from './runner-process.ts';

const MAX_RSS_BYTES = 4 * 1024 ** 3;
const START_TIMEOUT_MS = 120_000;
const CALL_TIMEOUT_MS = 60_000;

/**
 * Runs work in a throw-away runner on one thread, so that scores and times are those of a device.
 *
 * @throws MODEL_INVALID, RUNNER_START_FAILED, and as `work`
 */
export async function withRunner<T>(
  { path, digest }: Pick<ModelFolder, 'path' | 'digest'>,
  work: (runner: Runner) => Promise<T>,
  { executionProvider = 'cpu', libraries = [] }: Pick<RunnerOptions, 'executionProvider' | 'libraries'> = {},
): Promise<T> {
  const runner = await startRunner({
    folder: path,
    digest,
    threads: 1,
    executionProvider,
    libraries,
    maxRssBytes: MAX_RSS_BYTES,
    startTimeoutMs: START_TIMEOUT_MS,
    callTimeoutMs: CALL_TIMEOUT_MS,
  });
  try {
    return await work(runner);
  } finally {
    await runner.stop();
  }
}
