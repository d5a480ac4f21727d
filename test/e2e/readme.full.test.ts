/**
 * Does what README.md says, in a fresh clone: the commands of its `sh` blocks in their order, with the ports and the folder that it
 * names. Needs the registry of npm. What it shows as output is compared loosely: addresses, labels, who answered.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { result } from '../../shared/contract/result.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { descendants, eventually, isAlive } from '../support/programs.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** CI runs these two before, on the same commit: here they would only take their time again. */
const RUN_BY_CI = ['npm run check', 'npm test'];
const LONG_RUNNING = 'npm start';
/** It builds, tries thirteen models and answers, beside three other files of tests. */
const START_TIMEOUT_MS = 300_000;
/** The ports that README.md names. */
const PORTS = [8080, 1883, 8090];

interface Block {
  readonly language: string;
  readonly lines: readonly string[];
}

function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    lines: text.split('\n').filter((line) => line.trim() !== ''),
  }));
}

test('the commands of README.md do what it says, in a fresh clone', async (t) => {
  if (!existsSync(join(ROOT, '.git'))) return t.skip('this is no git checkout, so there is nothing to clone');
  for (const port of PORTS)
    assert.ok(!(await isTaken(port)), `port ${port}, which README.md names, is taken`);
  const clone = join(await temporaryFolder(t), 'outrider');
  execFileSync('git', ['clone', '--quiet', ROOT, clone]);
  const readme = readFileSync(join(clone, 'README.md'), 'utf8');
  const blocks = blocksOf(readme);
  const commands = blocks.filter(({ language }) => language === 'sh').flatMap(({ lines }) => lines);
  assert.ok(commands.includes(LONG_RUNNING), 'README.md starts nothing');

  let started: Started | undefined;
  t.after(() => started?.end());
  for (const command of commands) {
    if (RUN_BY_CI.includes(command)) {
      assert.ok(hasScript(clone, command), `package.json has no script for ${command}`);
      continue;
    }
    await t.test(command, async () => {
      if (command === LONG_RUNNING) {
        started = start(clone, command);
        await showsWhatItSays(started, blocks);
        return;
      }
      const output = await run(clone, command);
      if (command.startsWith('curl')) assert.ok('source' in result.parse(JSON.parse(output)), output);
      // The label that the command asks for by its name, or by its words.
      const label = /\bfine film\b/.test(command) ? 'POSITIVE' : /pictures\/([a-z]+)-/.exec(command)?.[1];
      if (label !== undefined) assert.ok(output.includes(label), `${label} is not in ${output}`);
      if (command.includes('enroll')) assert.match(output, /outrider\.mjs agent .*--device gate-01/);
    });
  }

  for (const version of ['10', '11'])
    await t.test(`npm ${version} installs it and starts a command without a warning of ours`, async () => {
      const npm = `npx --yes npm@${version}`;
      await run(clone, `${npm} install`);
      assert.match(await run(clone, `${npm} exec -- outrider --version`), /^\d+\.\d+\.\d+$/m);
    });

  await t.test('Ctrl-C stops everything', async () => {
    const all = descendants(started!.process.pid!);
    assert.ok(all.length >= 5);
    await started!.end();
    await eventually(() => all.every((pid) => !isAlive(pid)), 'a process lives on');
  });
});

interface Started {
  readonly process: ChildProcess;
  output(): string;
  /** As Ctrl-C on a terminal does: the whole group is told. npm itself then ends by that signal. */
  end(): Promise<void>;
}

function start(cwd: string, command: string): Started {
  const child = spawn('bash', ['-c', `exec ${command}`], {
    cwd,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let isTold = false;
  return {
    process: child,
    output: () => text,
    end() {
      if (!isTold && child.pid !== undefined) process.kill(-child.pid, 'SIGINT');
      isTold = true;
      return exited;
    },
  };
}

/** The first block without a language is what `npm start` shows: its first line, its columns, and answers of both sides. */
async function showsWhatItSays(started: Started, blocks: readonly Block[]): Promise<void> {
  const shown = blocks.find(({ language, lines }) => language === '' && lines[0]?.startsWith('Outrider'));
  assert.ok(shown, 'README.md does not show what npm start shows');
  const words = (line: string): string[] => line.trim().split(/\s+/);
  await eventually(
    () => {
      const lines = started.output().split('\n').map(words);
      const has = (wanted: readonly string[]): boolean =>
        lines.some((line) => wanted.every((word) => line.includes(word)));
      return has(words(shown.lines[0] ?? '')) && has(['edge', 'confident']) && has(['cloud', 'uncertain']);
    },
    () => `npm start does not show what README.md shows; it says: ${started.output().slice(-2_000)}`,
    START_TIMEOUT_MS,
  );
}

function run(cwd: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = {
      ...process.env,
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_prefer_offline: 'true',
    };
    const child = spawn('bash', ['-c', command], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const warning = /^npm warn (?!deprecated).*/im;
    child.once('close', (code) =>
      code === 0 && !warning.test(errors)
        ? resolve(output)
        : reject(new Error(`${command} ended with ${code}: ${output}${errors}`)),
    );
  });
}

function hasScript(clone: string, command: string): boolean {
  const { scripts } = z
    .object({ scripts: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')));
  return command.replace(/^npm (run )?/, '') in scripts;
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
