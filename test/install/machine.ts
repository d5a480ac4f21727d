/** A clean Debian with its own systemd, processes and network: made once by debootstrap, copied and started for each test. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { temporaryFolder } from '../support/fixed.ts';

const exec = promisify(execFile);
/** What a person has on a server: no Node, no ffmpeg. */
const PACKAGES = 'systemd,systemd-sysv,dbus,curl,ca-certificates,sudo';
const BASE = process.env.OUTRIDER_TEST_DEBIAN ?? join(tmpdir(), 'outrider-test-debian');
const START_WITHIN_MS = 120_000;
const COMMAND_WITHIN_MS = 600_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

export interface CommandEnd {
  readonly code: number;
  readonly output: string;
}

export interface Machine {
  readonly root: string;
  /** Runs a line of shell as root. */
  run(line: string): Promise<CommandEnd>;
  /** The same, and it must go well. @returns what it has printed */
  must(line: string): Promise<string>;
  /** Starts a program that goes on until the machine ends. */
  start(line: string): Promise<void>;
  /** Waits until a line of shell succeeds. */
  until(line: string, timeoutMs?: number): Promise<void>;
}

/** The clean system, from this machine's mirror of Debian (`OUTRIDER_TEST_MIRROR` for another). 90 s, once. */
async function debian(): Promise<string> {
  if (existsSync(join(BASE, 'usr/bin/sudo'))) return BASE;
  const part = `${BASE}.part`;
  await rm(part, { recursive: true, force: true });
  await mkdir(part, { recursive: true });
  const mirror = process.env.OUTRIDER_TEST_MIRROR;
  const args = ['--variant=minbase', `--include=${PACKAGES}`, 'bookworm', part, ...(mirror ? [mirror] : [])];
  await exec('debootstrap', args, { maxBuffer: MAX_OUTPUT_BYTES });
  await rename(part, BASE);
  return BASE;
}

/** Starts a copy of it, which goes with the test. */
export async function bootMachine(t: TestContext): Promise<Machine> {
  const base = await debian();
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  await exec('cp', ['-a', '--reflink=auto', base, root]);
  const log = openSync(join(folder, 'console'), 'a');
  const flags = ['--register=no', '--keep-unit', '--private-network', `--machine=${basename(folder)}`];
  const container = spawn('systemd-nspawn', [...flags, '-D', root, '--boot'], {
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const ended = new Promise<void>((resolve) => container.once('close', () => resolve()));
  const pid = await leaderOf(container.pid ?? 0);
  t.after(async () => {
    // Its first process takes all others along, and systemd-nspawn ends by itself; ended first, it would leave them behind.
    process.kill(pid, 'SIGKILL');
    await ended;
  });
  const enter = ['-t', String(pid), '-m', '-u', '-i', '-n', '-p', '-r', '-w', 'env', '-i'];
  const env = [
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOME=/root',
    'LANG=C.UTF-8',
  ];
  const run = (line: string): Promise<CommandEnd> =>
    new Promise((resolve) => {
      const options = { maxBuffer: MAX_OUTPUT_BYTES, timeout: COMMAND_WITHIN_MS };
      const child = execFile(
        'nsenter',
        [...enter, ...env, 'sh', '-c', line],
        options,
        (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, output: `${stdout}${stderr}` }),
      );
    });
  const machine: Machine = {
    root,
    run,
    async must(line) {
      const { code, output } = await run(line);
      assert.equal(code, 0, `${line}\n${output}`);
      return output;
    },
    async start(line) {
      // As a unit of its own: what hangs on our shell alone would outlive the machine.
      await machine.must(`systemd-run --quiet --collect sh -c '${line.replaceAll("'", "'\\''")}'`);
    },
    async until(line, timeoutMs = START_WITHIN_MS) {
      const untilMs = Date.now() + timeoutMs;
      for (;;) {
        const { code, output } = await run(line);
        if (code === 0) return;
        assert.ok(Date.now() < untilMs, `${line}\n${output}`);
        await delay(300);
      }
    },
  };
  await machine.until('systemctl is-system-running | grep -Eq "running|degraded"');
  return machine;
}

/** The container's first process: it is the only child. */
async function leaderOf(pid: number): Promise<number> {
  const untilMs = Date.now() + START_WITHIN_MS;
  for (;;) {
    const { stdout } = await exec('pgrep', ['-P', String(pid), '-x', 'systemd']).catch(() => ({
      stdout: '',
    }));
    const found = Number(stdout.trim().split('\n')[0]);
    if (found > 0) return found;
    assert.ok(Date.now() < untilMs, 'the container does not start');
    await delay(100);
  }
}
