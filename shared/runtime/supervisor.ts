/**
 * Starts a program of ours as a child and keeps it up.
 *
 * state    | event           -> state
 * starting | ready           -> up
 * starting | exit (first)    -> failed: start() rejects with the child's own reason
 * starting | exit (restart)  -> waiting
 * up       | exit            -> waiting (full-jitter backoff) -> starting
 * any      | stop()          -> stopping: asked, given time to drain, then killed
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { backoffDelayMs } from './backoff.ts';
import type { Clock } from './clock.ts';
import { AppError } from './errors.ts';
import { CHILD_ENV, CHILD_FLAGS } from './installation.ts';
import { tellingLine } from './last-words.ts';
import type { Part } from './lifecycle.ts';
import type { Logger } from './logger.ts';
import { type ChildMessage, childMessage, type ParentMessage, STOP_MESSAGE } from './program.ts';

/** Program to keep up, and who hears of its start and its end. */
export interface SupervisorOptions {
  readonly name: string;
  /** The child's entry file. */
  readonly entry: URL;
  /** Node's flags beside our usual ones. */
  readonly execArgv?: readonly string[];
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly logger: Logger;
  readonly clock: Clock;
  /** How long a first start may take before it counts as failed. */
  readonly startTimeoutMs?: number;
  /** How long a stop may take before the child is killed. */
  readonly graceMs?: number;
  /** What the child is told, each time that it is started, once it is known. */
  readonly facts?: Promise<Record<string, unknown>>;
  /** Each time the child has come up, with what it said of itself. */
  readonly onReady?: (facts: Record<string, unknown>) => void;
  /** The child has done all it was started for. */
  readonly onFinished?: () => void;
}

const RESTART = { firstMs: 500, maxMs: 30_000 };
/** A child that stayed up this long has earned a fresh backoff. */
const STABLE_MS = 60_000;

/** Parent of one child process: starts it, restarts it with backoff, stops it. */
export class Supervisor implements Part {
  readonly #options: SupervisorOptions;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #attempt = 0;
  #loop: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** The child's process id while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** @throws the child's own AppError, or CHILD_FAILED */
  async start(): Promise<void> {
    const first = this.#launch();
    try {
      await first.ready;
    } catch (error) {
      this.#child?.kill('SIGKILL');
      // Gone with its ports and locks, when the caller hears of it.
      await first.exited;
      throw error;
    }
    this.#loop = this.#keepUp(first.exited);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new AppError('STOPPING'));
    await stopChild(this.#child, this.#options.graceMs ?? 20_000);
    await this.#loop;
  }

  async #keepUp(firstExit: Promise<void>): Promise<void> {
    let exited = firstExit;
    const { clock, logger, name } = this.#options;
    for (;;) {
      const upSince = clock.nowMonoMs();
      await exited;
      if (this.#stopping.signal.aborted) return;
      if (clock.nowMonoMs() - upSince > STABLE_MS) this.#attempt = 0;
      const delayMs = backoffDelayMs(this.#attempt++, RESTART);
      logger.warn('supervisor.restarting', { child: name, delayMs });
      try {
        await clock.sleep(delayMs, this.#stopping.signal);
      } catch {
        return;
      }
      const next = this.#launch();
      next.ready.catch((error: unknown) => {
        logger.failure('supervisor.start_failed', error, { child: name });
        this.#child?.kill('SIGKILL');
      });
      exited = next.exited;
    }
  }

  #launch(): { ready: Promise<void>; exited: Promise<void> } {
    const {
      name,
      entry,
      execArgv = [],
      args,
      env,
      clock,
      startTimeoutMs = 60_000,
      facts,
      onReady,
      onFinished,
    } = this.#options;
    // The child's plain output is for crashes only; its log is its own file.
    const child = fork(fileURLToPath(entry), args, {
      execArgv: [...CHILD_FLAGS, ...execArgv],
      env: { ...process.env, ...CHILD_ENV, ...env },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child = child;
    // Whoever made the promise hears of its failure.
    facts?.then((known) => say(child, { type: 'facts', facts: known })).catch(() => undefined);
    let lastWords = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = (lastWords + chunk.toString()).slice(-2_000);
    });
    // A process that could not be made closes like one that has ended; without a listener it would take us down.
    child.on('error', (error) => {
      lastWords += `${error.message}\n`;
    });
    const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
    const ready = new Promise<void>((resolve, reject) => {
      const cancel = clock.after(startTimeoutMs, () =>
        reject(new AppError('CHILD_FAILED', `the ${name} did not come up within ${startTimeoutMs / 1000} s`)),
      );
      child.on('message', (raw) => {
        const parsed = childMessage.safeParse(raw);
        if (!parsed.success) return;
        const message: ChildMessage = parsed.data;
        switch (message.type) {
          case 'ready':
            cancel();
            onReady?.(message.facts);
            return resolve();
          case 'failed':
            cancel();
            return reject(new AppError(message.code, message.message));
          case 'finished':
            return onFinished?.();
        }
      });
      child.once('close', (code, signal) => {
        cancel();
        const how = `the ${name} ended (${signal ?? `exit ${code}`}) before it was up`;
        const said = tellingLine(lastWords);
        reject(new AppError('CHILD_FAILED', said === undefined ? how : `${how}: ${said}`));
      });
    });
    return { ready, exited };
  }
}

/** A child that is gone hears nothing. */
function say(child: ChildProcess, message: ParentMessage): void {
  if (child.connected) child.send(message, () => undefined);
}

/** Asks a child to stop, waits, then kills it. */
async function stopChild(child: ChildProcess | undefined, graceMs: number): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  say(child, STOP_MESSAGE);
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await gone;
  clearTimeout(timer);
}
