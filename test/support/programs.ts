/** Starts our programs as a user does, and sees what they leave behind. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from './ports.ts';

/** What users start. */
export const BIN = fileURLToPath(new URL('../../bin/outrider.mjs', import.meta.url));

export interface Program {
  readonly process: ChildProcess;
  /** Everything printed so far, both streams. */
  output(): string;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Waits until the output holds the text. */
  says(text: string | RegExp, timeoutMs?: number): Promise<void>;
}

/** Runs `outrider …` in a working directory that is not the checkout. */
export function outrider(
  t: TestContext,
  args: readonly string[],
  options: {
    readonly cwd?: string;
    readonly env?: NodeJS.ProcessEnv;
    /** On its standard input; nothing when left out. */
    readonly input?: string | Uint8Array;
    /** The installation; this checkout when left out. */
    readonly root?: string;
  } = {},
): Program {
  const child = spawn(
    process.execPath,
    [options.root === undefined ? BIN : join(options.root, 'bin', 'outrider.mjs'), ...args],
    {
      cwd: options.cwd ?? '/tmp',
      // What `up` remembers for commands is one user's: tests are many.
      env: { ...process.env, XDG_STATE_HOME: '/dev/null', ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  // It may have ended before it has read all.
  child.stdin.on('error', () => undefined).end(options.input);
  let text = '';
  const listeners = new Set<() => void>();
  const onData = (chunk: Buffer): void => {
    text += chunk.toString();
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', onData);
  child.stderr.on('data', onData);
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal })),
  );
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await exited;
    clearTimeout(timer);
  });
  return {
    process: child,
    output: () => text,
    exited,
    says: (wanted, timeoutMs = 120_000) =>
      new Promise((resolve, reject) => {
        const has = (): boolean => (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text));
        const end = (): void => {
          clearTimeout(timer);
          listeners.delete(check);
        };
        const check = (): void => {
          if (!has()) return;
          end();
          resolve();
        };
        const timer = setTimeout(() => {
          end();
          reject(new Error(`it never said ${wanted}; it said: ${text.slice(-2_000)}`));
        }, timeoutMs);
        listeners.add(check);
        void exited.then(() => {
          if (has()) return;
          end();
          reject(new Error(`it ended without saying ${wanted}; it said: ${text.slice(-2_000)}`));
        });
        check();
      }),
  };
}

/** Process ids of everything that a process has started, and they in turn. */
export function descendants(pid: number): number[] {
  const table = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number));
  const below = (parent: number): number[] =>
    table.filter(([, ppid]) => ppid === parent).flatMap(([child = 0]) => [child, ...below(child)]);
  return below(pid);
}

/** The process that has started this one. */
export function parentOf(pid: number): number {
  return Number(execFileSync('ps', ['-o', 'ppid=', '-p', String(pid)], { encoding: 'utf8' }));
}

/** With which a process was started; empty when it has ended. Linux. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** How often another process, or a socket, is looked at. */
const LOOK_EVERY_MS = 10;

/**
 * Waits until something is true, with the clock on the wall: for what another process does, and only where it tells nothing that one
 * could wait for. The limit is there to fail at all, on the busiest machine too; how long something may take, it does not say.
 * What has been said or seen until the end goes into a function: a text is made when the waiting begins.
 */
export async function eventually(
  what: () => boolean | Promise<boolean>,
  why: string | (() => string),
  timeoutMs = 60_000,
): Promise<void> {
  const untilMonoMs = performance.now() + timeoutMs;
  while (!(await what())) {
    if (performance.now() > untilMonoMs) assert.fail(typeof why === 'string' ? why : why());
    await delay(LOOK_EVERY_MS);
  }
}

/** Free ports for `outrider up`, as flags. */
export async function upFlags(
  data: string,
): Promise<{ readonly flags: string[]; readonly hub: string; readonly agent: string }> {
  const [hub, mqtt, agent] = [await freePort(), await freePort(), await freePort()];
  return {
    flags: [
      '--data',
      data,
      '--hub-port',
      String(hub),
      '--mqtt-port',
      String(mqtt),
      '--agent-port',
      String(agent),
    ],
    hub: `http://127.0.0.1:${hub}`,
    agent: `http://127.0.0.1:${agent}`,
  };
}
