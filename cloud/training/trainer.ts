/**
 * The operator's program that trains: a child at the lowest priority, without our secrets, ended when it takes too long, when nobody wants it
 * any more, and with this process. Whatever it says is kept in short.
 */
import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { AppError } from '../../shared/runtime/errors.ts';
import { tied } from '../../shared/runtime/tied-child.ts';
import { OutputTail } from './output-tail.ts';

/** One run of the program. */
export interface TrainerRun {
  /** Words of the command; no shell reads them. */
  readonly command: readonly string[];
  /** Where it runs. */
  readonly folder: string;
  /** Folder of the version to begin from. */
  readonly base: string;
  /** Folder of the captures, as `outrider captures export` writes it. */
  readonly captures: string;
  /** Where it puts the new model folder. */
  readonly out: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly onOutput: (tail: string) => void;
}

/** Between the wish that it ends and its end. */
const GRACE_MS = 5_000;

/** @throws TRAINING_FAILED, saying how it ended; EXPIRED by the signal */
export function runTrainer(run: TrainerRun): Promise<void> {
  const { base, captures, out, timeoutMs, signal } = run;
  const [name = '', ...words] = run.command;
  const [program, args] = tied(name, [...words, '--base', base, '--captures', captures, '--out', out]);
  return new Promise((resolve, reject) => {
    const tail = new OutputTail();
    const child = spawn(program, args, {
      ...{ cwd: run.folder, env: withoutOurs(process.env), detached: true },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let why: string | undefined;
    const fail = (what: string, cause?: unknown): void =>
      reject(new AppError('TRAINING_FAILED', `the program ${what}`, { cause }));
    // Its children, too.
    const kill = (how: 'SIGTERM' | 'SIGKILL'): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, how);
      } catch {
        // It has ended by itself.
      }
    };
    let killing: NodeJS.Timeout | undefined;
    const end = (reason: string): void => {
      why ??= reason;
      kill('SIGTERM');
      killing ??= setTimeout(() => kill('SIGKILL'), GRACE_MS);
    };
    const timer = setTimeout(() => end(`took over ${timeoutMs / 1_000} s and was ended`), timeoutMs);
    const onAbort = (): void => end('was ended');
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        tail.add(chunk);
        run.onOutput(tail.text);
      });
    child.on('spawn', () => {
      try {
        setPriority(child.pid ?? 0, constants.priority.PRIORITY_LOW);
      } catch {
        // Ended already.
      }
    });
    child.on('error', (error) => fail('could not be started', error));
    child.on('close', (code, killed) => {
      clearTimeout(timer);
      clearTimeout(killing);
      signal.removeEventListener('abort', onAbort);
      // What it has left in its group goes with it.
      kill('SIGKILL');
      if (signal.aborted) return reject(new AppError('EXPIRED', 'the training was ended'));
      if (why !== undefined) return fail(why);
      if (code === 0) return resolve();
      const said = tail.lastLine === '' ? '' : `: ${tail.lastLine}`;
      fail(`has ended with ${killed ?? `exit code ${code}`}${said}`);
    });
  });
}

/** What our own programs are told in their environment is nobody else's. */
const withoutOurs = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('OUTRIDER_')));
