/**
 * The lines that a command writes. It runs without a shell, in a process group of its own that ends with the feed, without the agent's
 * own secrets in its environment; what it says beside goes to the log, so much a minute.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Logger } from '../../../shared/runtime/logger.ts';
import { TokenBucket } from '../../../shared/runtime/token-bucket.ts';

/** Command to run, and where. */
export interface CommandOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly folder: string;
  /** Of a line. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Of the log: twenty lines at once, one a second in the long run. */
const LOG = { perSecond: 1, burst: 20 };
const MAX_LOGGED_CHARACTERS = 300;
/** After SIGTERM. */
const KILL_AFTER_MS = 2_000;
const NEWLINE = 0x0a;

/**
 * @param onLine undefined: it was too long
 * @returns when it has ended by itself with 0, or the signal aborts
 * @throws FEED_COMMAND_FAILED
 */
export async function runCommand(
  { command, folder, maxBytes, clock, logger }: CommandOptions,
  onLine: (line: Buffer | undefined) => Promise<void> | void,
  signal: AbortSignal,
): Promise<void> {
  const [program, ...parameters] = command as [string, ...string[]];
  const child = spawn(program, parameters, {
    cwd: folder,
    env: withoutOurs(process.env),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const ended = endOf(child, program);
  const stop = (): void => void endGroup(child, clock);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    const said = logged(child.stderr, { program, clock, logger, maxBytes });
    // A pipe that breaks is the end of the command, which says more.
    await eachLine(child.stdout, maxBytes, onLine).catch(() => undefined);
    await said;
    const why = await ended;
    if (why !== undefined && !signal.aborted) throw new AppError('FEED_COMMAND_FAILED', `${program} ${why}`);
  } finally {
    signal.removeEventListener('abort', stop);
    await endGroup(child, clock);
  }
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** @returns why it failed; undefined: it has ended with 0 */
async function endOf(child: Child, program: string): Promise<string | undefined> {
  try {
    const [code, by] = (await once(child, 'close')) as [number | null, string | null];
    if (code === 0) return undefined;
    return by === null ? `has ended with ${code}` : `was ended by ${by}`;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return code === 'ENOENT' ? `cannot be started: there is no ${program}` : `cannot be started (${code})`;
  }
}

/** Ends what it has started, too. */
async function endGroup({ pid, exitCode, signalCode }: Child, clock: Clock): Promise<void> {
  if (pid === undefined) return;
  signalGroup(pid, 'SIGTERM');
  if (exitCode !== null || signalCode !== null) return;
  for (let waited = 0; waited < KILL_AFTER_MS && signalGroup(pid, 0); waited += 50) await clock.sleep(50);
  signalGroup(pid, 'SIGKILL');
}

function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

const withoutOurs = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('OUTRIDER_')));

async function eachLine(
  stream: Readable,
  maxBytes: number,
  onLine: (line: Buffer | undefined) => Promise<void> | void,
): Promise<void> {
  let pieces: Buffer[] = [];
  let held = 0;
  const line = async (end: Buffer): Promise<void> => {
    const isTooLong = held + end.length > maxBytes;
    const whole = isTooLong ? undefined : Buffer.concat([...pieces, end]);
    pieces = [];
    held = 0;
    await onLine(whole);
  };
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      await line(chunk.subarray(start, end));
      start = end + 1;
    }
    held += chunk.length - start;
    if (held <= maxBytes) pieces.push(chunk.subarray(start));
    else pieces = [];
  }
  if (held > 0) await line(Buffer.alloc(0));
}

function logged(
  stderr: Readable,
  {
    program,
    clock,
    logger,
    maxBytes,
  }: Pick<CommandOptions, 'clock' | 'logger' | 'maxBytes'> & { readonly program: string },
): Promise<void> {
  const bucket = new TokenBucket(LOG, clock.nowMonoMs());
  return eachLine(stderr, maxBytes, (line) => {
    bucket.refill(clock.nowMonoMs());
    if (bucket.level < 1) return;
    bucket.take(1);
    const said = (line?.toString('utf8') ?? '…').slice(0, MAX_LOGGED_CHARACTERS);
    logger.info('feed.command_said', { program, said });
  }).catch(() => undefined);
}
