/**
 * A program that the chaos run kills and starts again: in a process group of its own, which is ended as one, by its id.
 * Ours get an IPC channel, so that they end with the run, whatever becomes of it.
 *
 * state    | event             -> state
 * down     | start()           -> starting -> up
 * up       | kill()            -> down (counted as a kill)
 * any      | its own exit      -> down (counted as unexpected, with its last words)
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { AppError } from '../../shared/runtime/errors.ts';
import { childMessage, STOP_MESSAGE } from '../../shared/runtime/program.ts';
import { commandOf, descendants } from '../support/programs.ts';

export interface KeptProgramOptions {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly env?: NodeJS.ProcessEnv;
  /** For a program that is not ours, and says nothing: resolves when it is up. */
  readonly untilUp?: () => Promise<void>;
}

/** An end that nobody asked for. */
export interface Death {
  readonly program: string;
  readonly how: string;
  readonly lastWords: string;
}

const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 25_000;
const LAST_WORDS_CHARS = 1_000;
const RUNNER_FILE = 'dist/runner.js';

export class KeptProgram {
  readonly name: string;
  readonly deaths: Death[] = [];
  kills = 0;
  #isUp = false;
  readonly #options: KeptProgramOptions;
  #child: ChildProcess | undefined;
  #gone: Promise<string> = Promise.resolve('');
  #isExpected = false;

  constructor(options: KeptProgramOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Resolves when it is up, or has ended before that. @throws CHILD_FAILED after a minute and a half of neither */
  async start(): Promise<void> {
    const { command, env, untilUp, name } = this.#options;
    const [file, ...args] = command;
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', ...(untilUp ? [] : (['ipc'] as const))],
      env: { ...process.env, ...env },
    });
    this.#child = child;
    this.#isExpected = false;
    let lastWords = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = (lastWords + chunk.toString()).slice(-LAST_WORDS_CHARS);
    });
    const ready = new Promise<void>((resolve) => {
      child.on('message', (raw) => {
        const parsed = childMessage.safeParse(raw);
        if (parsed.data?.type === 'ready') resolve();
        if (parsed.data?.type === 'failed') lastWords += `${parsed.data.message} (${parsed.data.code})`;
      });
    });
    this.#gone = new Promise((resolve) => {
      const onEnd = (how: string): void => {
        this.#isUp = false;
        this.#child = undefined;
        if (!this.#isExpected) this.deaths.push({ program: name, how, lastWords: lastWords.trim() });
        resolve(how);
      };
      // `exit`, not `close`: a runner that was left behind holds the pipe a moment longer.
      child.once('exit', (code, signal) => onEnd(signal ?? `exit ${code}`));
      // The process could not be made; later ones are failed sends, which an exit follows.
      child.on('error', (error) => {
        if (child.pid === undefined) onEnd(error.message);
      });
    });
    const timeout = new AbortController();
    const outcome = await Promise.race([
      (untilUp?.() ?? ready).then(() => 'up' as const),
      this.#gone.then(() => 'gone' as const),
      sleep(START_TIMEOUT_MS, timeout.signal).then(() => 'late' as const),
    ]);
    timeout.abort();
    if (outcome === 'late')
      throw new AppError('CHILD_FAILED', `the ${name} did not come up; it said: ${lastWords}`);
    if (outcome === 'up' && this.#child === child) this.#isUp = true;
  }

  /** SIGKILL, to the program alone or with all that it has started. @returns false when there was nothing to kill */
  async kill(what: 'alone' | 'group'): Promise<boolean> {
    const pid = this.#child?.pid;
    if (pid === undefined) return false;
    this.#isExpected = true;
    this.kills++;
    send(what === 'group' ? -pid : pid, 'SIGKILL');
    await this.#gone;
    return true;
  }

  /** SIGKILL to one of its runners; not at its start, where a program ends with its first runner. @returns false when it has none now */
  killRunner(choose: (pids: readonly number[]) => number): boolean {
    const runners = this.children().filter((one) => commandOf(one).includes(RUNNER_FILE));
    return runners.length > 0 && send(choose(runners), 'SIGKILL');
  }

  /** Ids of all that it has started, and they in turn; none while it starts. */
  children(): number[] {
    const pid = this.#isUp ? this.#child?.pid : undefined;
    return pid === undefined ? [] : descendants(pid);
  }

  /** As an operator stops it. @returns how it ended */
  async stop(): Promise<string> {
    const child = this.#child;
    if (child?.pid === undefined) return 'not running';
    this.#isExpected = true;
    if (child.connected) child.send(STOP_MESSAGE, () => undefined);
    else send(child.pid, 'SIGTERM');
    const timer = setTimeout(() => this.endNow(), STOP_TIMEOUT_MS);
    const how = await this.#gone;
    clearTimeout(timer);
    return how;
  }

  /** At once and without waiting, for when the run itself ends. */
  endNow(): void {
    const pid = this.#child?.pid;
    this.#isExpected = true;
    if (pid !== undefined) send(-pid, 'SIGKILL');
  }
}

/** @returns false when there is no such process any more */
function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}

/** As an operator does it, devices first. @returns every end that was not asked for, and every stop that was not clean */
export async function stopAll({
  devices,
  hub,
  broker,
}: {
  readonly devices: readonly { readonly program: KeptProgram }[];
  readonly hub: KeptProgram;
  readonly broker: KeptProgram;
}): Promise<Death[]> {
  const programs = [...devices.map(({ program }) => program), hub, broker];
  const deaths = programs.flatMap((program) => program.deaths);
  for (const program of programs) {
    const how = await program.stop();
    if (how !== 'exit 0') deaths.push({ program: program.name, how: `stop: ${how}`, lastWords: '' });
  }
  return deaths;
}
