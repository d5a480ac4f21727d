/**
 * One ffmpeg: started, fed, read and ended. It ends with this process, its memory is watched, and of its words the last are kept,
 * without secrets.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { ffmpegEnv } from '../../shared/camera/ffmpeg-program.ts';
import { failureOf } from '../../shared/camera/ffmpeg-words.ts';
import { watchMemory } from '../../shared/inference/runner/runner-guard.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import { tied } from '../../shared/runtime/tied-child.ts';
import { FIRST_PIPE } from './ffmpeg-arguments.ts';
import type { FrameReader } from './frames.ts';

const LAST_WORDS_CHARS = 4_000;
/** A decoder of 4K takes about 300 MB. */
const MAX_RSS_BYTES = 1_500_000_000;
const STOP_WITHIN_MS = 2_000;

/** What is run, what goes in and what comes out. */
export interface FfmpegRun {
  readonly program: string;
  readonly args: readonly string[];
  /** Written to its standard input, which is then closed. */
  readonly script?: string | undefined;
  /** Or written to all the while. */
  readonly feed?: ((to: Writable) => void) | undefined;
  /** Readers of the pipes from `FIRST_PIPE` on. */
  readonly readers: readonly FrameReader[];
  /** The camera, for people. */
  readonly shown: string;
  readonly scrub: (words: string) => string;
  readonly clock: Clock;
}

/**
 * Runs until its stream ends or the signal aborts; the process is gone then.
 *
 * @throws what `failureOf` makes of its last words; CHILD_FAILED where it cannot be started
 */
export async function runFfmpeg(run: FfmpegRun, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const [program, args] = tied(run.program, run.args);
  const child = spawn(program, args, {
    stdio: [
      run.script === undefined && !run.feed ? 'ignore' : 'pipe',
      'ignore',
      'pipe',
      ...run.readers.map(() => 'pipe' as const),
    ],
    env: ffmpegEnv(),
  });
  let failure: AppError | undefined;
  let lastWords = '';
  const kill = (why: AppError): void => {
    failure ??= why;
    child.kill('SIGKILL');
  };
  child.stderr?.on('data', (chunk: Buffer) => {
    lastWords = (lastWords + chunk.toString()).slice(-LAST_WORDS_CHARS);
  });
  for (const [index, reader] of run.readers.entries()) {
    const pipe = child.stdio[FIRST_PIPE + index] as Readable | null | undefined;
    pipe?.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        kill(
          error instanceof RangeError
            ? new AppError('CAMERA_NO_STREAM', `the camera ${run.shown}: the decoder gave ${error.message}`)
            : toAppError(error),
        );
      }
    });
    pipe?.on('error', () => undefined);
  }
  // Who does not read to the end closes it: its own end says why.
  child.stdin?.on('error', () => undefined);
  if (run.script !== undefined) child.stdin?.end(run.script);
  else if (child.stdin) run.feed?.(child.stdin);
  const ending = new AbortController();
  if (child.pid !== undefined)
    void watchMemory(child.pid, MAX_RSS_BYTES, {
      signal: ending.signal,
      onTooMuch: (bytes) =>
        kill(
          new AppError(
            'CAMERA_CODEC',
            `the camera ${run.shown}: its decoder took ${bytes} bytes of memory, and was ended`,
          ),
        ),
    });
  const stop = (): void => endGently(child, run.clock);
  signal.addEventListener('abort', stop, { once: true });
  try {
    const code = await ended(child);
    if (signal.aborted) return;
    if (failure) throw failure;
    const words = run.scrub(lastWords);
    if (code !== 0 || words.trim() !== '') throw failureOf(run.shown, words);
  } finally {
    signal.removeEventListener('abort', stop);
    ending.abort();
  }
}

/** @returns its exit code; null: by a signal @throws CHILD_FAILED */
function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('close', (code) => resolve(code));
    child.on('error', (error) => {
      if (child.pid === undefined)
        reject(new AppError('CHILD_FAILED', `ffmpeg cannot be started: ${error.message}`, { cause: error }));
    });
  });
}

function endGently(child: ChildProcess, clock: Clock): void {
  child.kill('SIGTERM');
  const cancel = clock.after(STOP_WITHIN_MS, () => child.kill('SIGKILL'));
  child.once('close', cancel);
}
