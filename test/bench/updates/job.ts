/** Runs the program that makes and applies deltas, as hub and agent do, and looks at its time and memory. */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DeltaJob, Finished } from '../../../shared/release/delta/delta-job.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { CHILD_ENV, CHILD_FLAGS, programFile } from '../../../shared/runtime/installation.ts';

export interface Ran {
  readonly finished: Finished;
  readonly seconds: number;
  /** The most that it held; NaN where the system does not say. */
  readonly peakMb: number;
}

export async function runJob(job: DeltaJob): Promise<Ran> {
  const startedMonoMs = performance.now();
  const file = fileURLToPath(programFile('delta'));
  const child = spawn(
    process.execPath,
    [...CHILD_FLAGS, '--max-old-space-size=192', file, JSON.stringify(job)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH, ...CHILD_ENV },
    },
  );
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  let peakMb = Number.NaN;
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  while (!isOver) {
    const found = await peakOf(child.pid ?? 0);
    if (found !== undefined) peakMb = found;
    await Promise.race([ended, delay(10)]);
  }
  const finished = JSON.parse(said) as Finished;
  if (!finished.ok) throw new AppError(finished.error.code, finished.error.message);
  return { finished, seconds: (performance.now() - startedMonoMs) / 1_000, peakMb };
}

/** Linux: the most of it that was ever in memory. */
async function peakOf(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kb = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kb === undefined ? undefined : Number(kb) / 1_000;
}
