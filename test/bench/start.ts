/**
 * How soon programs are there, and what they hold: the command that a user types against a bare Node and against the same sources
 * through the loader, `npm start` to its first answer, and the resident memory of an agent and of all that `npm start` starts.
 * Linux, for the memory (proc(5)).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/runtime/errors.ts';
import { tsxFlags } from '../support/from-source.ts';
import { freePort } from '../support/ports.ts';
import { commandOf, descendants } from '../support/programs.ts';
import {
  type BenchReport,
  type Fact,
  inRounds,
  inTree,
  line,
  median,
  type Table,
  timed,
  type Verdict,
  workFolder,
} from './harness.ts';
import { pssMB, residentMB } from './on-device/processes.ts';

const ROUNDS = 10;
const START_ROUNDS = 5;
const PICTURES = 1_000;
/** By then every model of the demo has answered, and its first hundred pictures are through. */
const SETTLED_MS = 15_000;
/** What issue after issue may not undo. */
const GOALS = { versionRatio: 2.2, firstAnswerMs: 2_000, agentMB: 160, runnerMB: 90, allMB: 600 };

const OUTRIDER = inTree('bin/outrider.mjs');
const ports = ['--hub-port', '0', '--mqtt-port', '0', '--agent-port', '0'];

export async function start(): Promise<BenchReport> {
  return {
    name: 'start',
    about:
      '_Bare Node_ is `node -e 0`; _built_ is the command as a user types it (`bin/outrider.mjs`, the look for changed sources in ' +
      'it); _loader_ is the same program from its sources through tsx. Memory is resident (RSS), as `ps` shows it, so that what ' +
      'processes share (Node, ONNX Runtime) counts in each; PSS counts it once.',
    tables: [await commands(), await firstAnswer(), await agentMemory(), await allMemory()],
  };
}

/** A whole process, to its end. */
async function run(command: string, args: readonly string[]): Promise<number> {
  const { ms } = await timed(
    () =>
      new Promise<void>((resolve, reject) => {
        const child = spawn(command, args, { stdio: 'ignore' });
        child.once('error', reject);
        child.once('close', (code) =>
          code === 0 ? resolve() : reject(new AppError('CHILD_FAILED', args.join(' '))),
        );
      }),
  );
  return ms;
}

async function commands(): Promise<Table> {
  const node = process.execPath;
  const times: Record<string, number[]> = {};
  const competitors: Record<string, () => Promise<number>> = {
    'bare Node': () => run(node, ['-e', '0']),
    '--version, built': () => run(OUTRIDER, ['--version']),
    '--version, loader': () => run(node, [...tsxFlags(), inTree('cli/main.ts'), '--version']),
    'agent --help, built': () => run(OUTRIDER, ['agent', '--help']),
    'agent --help, loader': () => run(node, [...tsxFlags(), inTree('agent/main.ts'), '--help']),
  };
  const rounds = Object.entries(competitors).map(([name, once]) => async () => {
    const ms = await once();
    times[name] = [...(times[name] ?? []), ms];
  });
  // The first builds, and fills the disk's cache.
  await inRounds(1, rounds);
  for (const name of Object.keys(times)) times[name] = [];
  await inRounds(ROUNDS, rounds);
  const bare = line('bare Node', times['bare Node'] ?? []);
  const rest = Object.keys(competitors).slice(1);
  const version = median(times['--version, built'] ?? []) / bare.medianMs;
  return {
    title: 'Commands, whole processes',
    lines: [bare, ...rest.map((name) => line(name, times[name] ?? [], bare))],
    verdicts: [
      verdict(
        `\`outrider --version\` takes at most ${GOALS.versionRatio} times a bare Node`,
        version,
        GOALS.versionRatio,
        '×',
      ),
    ],
  };
}

async function firstAnswer(): Promise<Table> {
  const times: number[] = [];
  for (let round = 0; round < START_ROUNDS; round++) {
    const work = await workFolder();
    const startedMonoMs = performance.now();
    const up = spawn(OUTRIDER, ['up', '--data', work.path, ...ports], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await until(up, /^(text|vision): /m);
    times.push(performance.now() - startedMonoMs);
    await end(up);
    await work.remove();
  }
  const row = line('npm start to the first answer, a fresh data folder', times);
  const requirement = `The first answer comes within ${GOALS.firstAnswerMs / 1000} s`;
  return {
    title: 'The first answer',
    lines: [row],
    verdicts: [verdict(requirement, row.medianMs / 1000, GOALS.firstAnswerMs / 1000, 's')],
  };
}

async function agentMemory(): Promise<Table> {
  const work = await workFolder();
  const port = await freePort();
  const config = join(work.path, 'outrider.yaml');
  await writeFile(
    config,
    'device: bench\npipelines:\n  - { name: vision, task: image-classification, edge: cifar10-cnn }\n',
  );
  const args = ['agent', '--config', config, '--data', work.path, '--models', inTree('models')];
  const agent = spawn(OUTRIDER, [...args, '--agent-port', String(port)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  try {
    await until(agent, /pipelines: vision/);
    const folder = inTree('models/demo/pictures');
    const names = (await readdir(folder)).filter((name) => name.endsWith('.jpg'));
    const pictures = await Promise.all(names.map((name) => readFile(join(folder, name))));
    for (let at = 0; at < PICTURES; at++) {
      const body = new Uint8Array(pictures[at % pictures.length] ?? []);
      const response = await fetch(`http://127.0.0.1:${port}/v1/infer/vision`, { method: 'POST', body });
      if (!response.ok) throw new AppError('CHILD_FAILED', `the agent said ${response.status}`);
      await response.arrayBuffer();
    }
    const [runner = -1] = descendants(agent.pid ?? -1);
    const [agentMB, runnerMB] = [await residentMB(agent.pid ?? -1), await residentMB(runner)];
    return {
      title: `An agent with one vision pipeline (\`cifar10-cnn\`), after ${PICTURES.toLocaleString('en')} pictures`,
      lines: [],
      facts: [mb('agent', agentMB), mb('its runner', runnerMB), mb('both', agentMB + runnerMB)],
      verdicts: [
        verdict(`Agent and runner hold at most ${GOALS.agentMB} MB`, agentMB + runnerMB, GOALS.agentMB, 'MB'),
        verdict(`The runner holds at most ${GOALS.runnerMB} MB`, runnerMB, GOALS.runnerMB, 'MB'),
      ],
    };
  } finally {
    await end(agent);
    await work.remove();
  }
}

async function allMemory(): Promise<Table> {
  const work = await workFolder();
  const up = spawn(OUTRIDER, ['up', '--data', work.path, ...ports], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    await until(up, /^(text|vision): /m);
    up.stdout?.resume();
    await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
    const pids = [up.pid ?? -1, ...descendants(up.pid ?? -1)];
    const rows = await Promise.all(
      pids.map(async (pid) => ({ name: nameOf(pid), rss: await residentMB(pid), pss: await pssMB(pid) })),
    );
    const all = rows.reduce((sum, { rss }) => sum + rss, 0);
    const shared = rows.reduce((sum, { pss }) => sum + pss, 0);
    return {
      title: `Everything under \`npm start\`, ${pids.length} processes`,
      lines: [],
      facts: [
        ...rows.map(({ name, rss }) => mb(name, rss)),
        mb('all, resident', all),
        mb('all, what is shared counted once (PSS)', shared),
      ],
      verdicts: [verdict(`All hold at most ${GOALS.allMB} MB`, all, GOALS.allMB, 'MB')],
    };
  } finally {
    await end(up);
    await work.remove();
  }
}

const nameOf = (pid: number): string => /dist\/([a-z-]+)\.js/.exec(commandOf(pid))?.[1] ?? 'up';
const mb = (name: string, value: number): Fact => ({ name, value, unit: 'MB' });

function verdict(requirement: string, value: number, most: number, unit: string): Verdict {
  return { requirement, measured: `${value.toFixed(unit === 'MB' ? 0 : 2)} ${unit}`, holds: value <= most };
}

/** Waits until a program has said this. */
function until(child: ChildProcess, wanted: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const onData = (chunk: Buffer): void => {
      said += chunk.toString();
      if (wanted.test(said)) resolve();
    };
    child.stdout?.on('data', onData);
    child.stderr?.on('data', onData);
    child.once('close', () => reject(new AppError('CHILD_FAILED', `it ended: ${said.slice(-500)}`)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGINT');
  await gone;
}
