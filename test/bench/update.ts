/**
 * What an update costs those who ask meanwhile: a caller asks the device for pictures, one after another, while a new version is
 * pushed from the command line, verified, downloaded, tested, tried and committed. Real programs, the demo's models.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isFailure, type Result, result } from '../../shared/contract/result.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { recalibrated } from '../support/model-variants.ts';
import { freePort } from '../support/ports.ts';
import { type BenchReport, inTree, line, median, type Table, timed, workFolder } from './harness.ts';

const MODEL = 'cifar10-cnn';
/** Each is another version: its scores differ a little. */
const TEMPERATURES = [0.86, 0.87, 0.88, 0.89, 0.9];
/** Before the first push, and after each. */
const CALM_ANSWERS = 400;
const TRIAL_ANSWERS = 50;
const START_MS = 60_000;

const PIPELINES = `device: bench
pipelines:
  - name: vision
    task: image-classification
    edge: ${MODEL}
`;

interface Asked {
  readonly ms: number;
  readonly answer: Result;
}

export async function update(): Promise<BenchReport> {
  const work = await workFolder();
  const children: ChildProcess[] = [];
  const run = (args: readonly string[]): ChildProcess => {
    const child = spawn(process.execPath, [inTree('bin/outrider.mjs'), ...args], { stdio: 'ignore' });
    children.push(child);
    return child;
  };
  try {
    const [hub, mqtt, agent] = [await freePort(), await freePort(), await freePort()];
    const config = join(work.path, 'outrider.yaml');
    await writeFile(config, PIPELINES);
    const data = join(work.path, 'data');
    const ports = ['--hub-port', `${hub}`, '--mqtt-port', `${mqtt}`, '--agent-port', `${agent}`];
    run(['up', '--config', config, '--data', data, ...ports]);
    const ask = await asking(`http://127.0.0.1:${agent}/v1/infer/vision?route=edge`);
    return await measure(ask, work.path, (folder) =>
      run(['models', 'push', folder, '--data', data, '--no-wait']),
    );
  } finally {
    for (const child of children) await ended(child);
    await work.remove();
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGINT');
  await once(child, 'exit');
}

/** Asks with one picture after another; resolves once the device answers with a version that the hub has named. */
async function asking(url: string): Promise<() => Promise<Asked>> {
  const folder = inTree('models/demo/pictures');
  const names = await readdir(folder);
  const pictures = await Promise.all(names.map((name) => readFile(join(folder, name))));
  let count = 0;
  const ask = async (): Promise<Asked> => {
    const body = pictures[count++ % pictures.length] ?? Buffer.alloc(0);
    const { ms, value } = await timed(async () => (await fetch(url, { method: 'POST', body })).json());
    return { ms, answer: result.parse(value) };
  };
  for (const giveUpMonoMs = clock.nowMonoMs() + START_MS; clock.nowMonoMs() < giveUpMonoMs; ) {
    const asked = await ask().catch(() => undefined);
    if (asked && versionOf(asked) !== '0') return ask;
    await clock.sleep(200, undefined, true);
  }
  throw new AppError('AGENT_UNREACHABLE', 'the demo did not come up');
}

const versionOf = ({ answer }: Asked): string => (isFailure(answer) ? '0' : answer.model.version);

async function measure(
  ask: () => Promise<Asked>,
  folder: string,
  push: (folder: string) => ChildProcess,
): Promise<BenchReport> {
  const samples = { calm: [] as Asked[], onItsWay: [] as Asked[], onTrial: [] as Asked[] };
  const untilAnsweredMs: number[] = [];
  for (let i = 0; i < CALM_ANSWERS; i++) samples.calm.push(await ask());
  for (const [index, temperature] of TEMPERATURES.entries()) {
    const version = String(index + 2);
    const made = await recalibrated(MODEL, join(folder, version), temperature);
    const startedMonoMs = clock.nowMonoMs();
    push(made);
    for (;;) {
      const asked = await ask();
      if (versionOf(asked) === version) break;
      samples.onItsWay.push(asked);
      if (clock.nowMonoMs() - startedMonoMs > START_MS)
        throw new AppError('UPDATE_INTERRUPTED', `version ${version} did not come`);
    }
    untilAnsweredMs.push(clock.nowMonoMs() - startedMonoMs);
    for (let i = 0; i < TRIAL_ANSWERS; i++) samples.onTrial.push(await ask());
    // The old runner goes, and files are swept.
    await clock.sleep(2_000, undefined, true);
    for (let i = 0; i < CALM_ANSWERS; i++) samples.calm.push(await ask());
  }
  return report(samples, untilAnsweredMs);
}

function report(
  samples: Record<'calm' | 'onItsWay' | 'onTrial', readonly Asked[]>,
  untilAnsweredMs: readonly number[],
): BenchReport {
  const all = Object.values(samples).flat();
  const failed = all.filter(({ answer }) => isFailure(answer)).length;
  const msOf = (asked: readonly Asked[]): number[] => asked.map(({ ms }) => ms);
  const calm = line('no update under way', msOf(samples.calm));
  const table: Table = {
    title: `${TEMPERATURES.length} versions of ${MODEL}, one after another`,
    lines: [
      calm,
      line('while one is pushed, downloaded and tested', msOf(samples.onItsWay), calm),
      line('while one is on trial', msOf(samples.onTrial), calm),
    ],
    facts: [
      {
        name: 'seconds from the push command’s start to the first answer by the new version (median)',
        value: median(untilAnsweredMs) / 1_000,
        unit: '',
      },
    ],
    verdicts: [
      {
        requirement: 'No input is dropped by an update',
        measured: `${failed} of ${all.length} failed`,
        holds: failed === 0,
      },
    ],
  };
  return {
    name: 'update',
    about:
      'A caller asks the device over HTTP for one picture after another, while versions are pushed: command line, hub, broker, device and caller share the machine.',
    tables: [table],
  };
}
