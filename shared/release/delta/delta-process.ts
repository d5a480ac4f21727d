/** Makes deltas, and files of deltas, in a process of its own: nobody who is answered waits for it, and its memory goes with it. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { AppError } from '../../runtime/errors.ts';
import { CHILD_ENV, CHILD_FLAGS, programFile } from '../../runtime/installation.ts';
import { tied } from '../../runtime/tied-child.ts';
import type { DeltaJob, Finished } from './delta-job.ts';
import type { DeltaFile, Encoded, Wanted } from './encode.ts';

/** When a job is given up. */
export interface JobLimits {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly clock?: Clock;
}

/** Objects of a graph of 200,000 tensors have 100 MB; blocks lie outside. */
const HEAP_FLAG = '--max-old-space-size=192';
const MAX_WORDS_CHARS = 2_000;

/** Writes the delta from `base` to `result`. @throws DELTA_INVALID (it could not be made), DISK_FULL, STOPPING */
export async function makeDelta(
  files: {
    readonly base: DeltaFile;
    readonly result: DeltaFile;
    readonly out: string;
  } & Wanted,
  limits: JobLimits,
): Promise<Encoded> {
  const { encoded } = await run({ kind: 'encode', ...mutable(files) }, limits);
  if (!encoded) throw new AppError('INVARIANT_BROKEN', 'a delta was made, and nothing is said of it');
  return encoded;
}

const mutable = <T extends { readonly base: DeltaFile; readonly result: DeltaFile } & Wanted>(files: T) => ({
  ...files,
  kinds: [...files.kinds],
  base: { ...files.base, graphs: [...files.base.graphs] },
  result: { ...files.result, graphs: [...files.result.graphs] },
});

/** Writes what the delta makes of `base`; whether it is right, its digest says. @throws DELTA_INVALID, DISK_FULL, STOPPING */
export async function applyDelta(
  files: {
    readonly base: string;
    readonly delta: string;
    readonly out: string;
    readonly resultBytes: number;
  },
  limits: JobLimits,
): Promise<void> {
  await run({ kind: 'decode', ...files }, limits);
}

function run(
  job: DeltaJob,
  { signal, timeoutMs, clock = systemClock }: JobLimits,
): Promise<Extract<Finished, { ok: true }>> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new AppError('STOPPING'));
    const file = fileURLToPath(programFile('delta'));
    const [program, args] = tied(process.execPath, [...CHILD_FLAGS, HEAP_FLAG, file, JSON.stringify(job)]);
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, ...CHILD_ENV },
    });
    let [said, words] = ['', ''];
    let why: AppError | undefined;
    const end = (error: AppError): void => {
      why ??= error;
      child.kill('SIGKILL');
    };
    const stop = (): void => end(new AppError('STOPPING'));
    const cancel = clock.after(timeoutMs, () =>
      end(new AppError('DELTA_INVALID', `it took over ${Math.round(timeoutMs / 1_000)} s`)),
    );
    signal.addEventListener('abort', stop, { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-MAX_WORDS_CHARS);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString()).slice(-MAX_WORDS_CHARS);
    });
    const finish = (how: string): void => {
      cancel();
      signal.removeEventListener('abort', stop);
      const finished = parse(said);
      if (why) reject(why);
      else if (finished?.ok) resolve(finished);
      else if (finished) reject(new AppError(finished.error.code, finished.error.message));
      else reject(new AppError('DELTA_INVALID', `its program ended: ${how} ${words}`.trim()));
    };
    child.once('error', (error) => finish(error.message));
    child.once('close', (code, killedBy) => finish(killedBy ?? `exit ${code}`));
  });
}

function parse(said: string): Finished | undefined {
  try {
    // Our own program's words, of this build.
    return JSON.parse(said) as Finished;
  } catch {
    return undefined;
  }
}
