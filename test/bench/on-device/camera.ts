/**
 * A camera’s stream answered by the agent, as a user starts it, against two scripts on the same stream: ffmpeg, sharp and
 * `session.run`; and transformers.js in a loop. Needs ffmpeg and GStreamer’s RTSP server.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../support/ports.ts';
import {
  type BenchReport,
  inRounds,
  inTree,
  line,
  median,
  type Table,
  type Verdict,
  workFolder,
} from '../harness.ts';
import { buildScripts } from './build-scripts.ts';
import { FILM, makeFilm } from './clip.ts';
import { type Observation, observe } from './observed.ts';

const MODEL = 'efficientnet-lite0';
const RATES = [2, 5];
const ROUNDS = 2;
/** What the issue asks for: processor time against that of the two scripts. */
const GOALS = { plain: 1.1, loop: 0.6 };
const NAMES = { agent: 'agent', plain: 'ffmpeg + sharp + session.run', loop: 'transformers.js in a loop' };
type Name = keyof typeof NAMES;

/** Measures all three at each rate. */
export async function camera(): Promise<BenchReport> {
  const work = await workFolder();
  let server: ChildProcess | undefined;
  try {
    const port = await freePort();
    server = await startCamera(port, await makeFilm(work.path));
    const url = `rtsp://admin:s3cr3t@127.0.0.1:${port}/file`;
    await buildScripts(['plain-camera', 'loop-camera'], work.path);
    const tables: Table[] = [];
    for (const fps of RATES) tables.push(await atRate(fps, url, work.path));
    return {
      name: 'camera',
      about:
        `One RTSP stream of ${FILM.widthPx}x${FILM.heightPx} H.264 at ${FILM.fps} pictures a second and ${FILM.kbits / 1000} Mbit/s, ` +
        `answered by \`${MODEL}\`, each line of a file an answer. Times are from the moment at which a program has a frame to its line, ` +
        'seen by the bench; processor time and memory (PSS) are of a program with all that it has started, ffmpeg included. The scripts ' +
        'are written as they usually are: the first takes raw frames at full size, the second JPEGs; transformers.js has its default ' +
        'threads.',
      tables,
    };
  } finally {
    server?.kill('SIGKILL');
    await work.remove();
  }
}

async function atRate(fps: number, url: string, folder: string): Promise<Table> {
  const seen: Record<Name, Observation[]> = { agent: [], plain: [], loop: [] };
  const model = inTree(`models/${MODEL}`);
  const script = (name: string, file: string): string[] => [
    ...[process.execPath, join(folder, `${name}.mjs`), url, String(fps), file, model],
  ];
  const commands: Record<Name, (file: string) => string[] | Promise<string[]>> = {
    agent: (file) => agentCommand({ url, fps, folder, file }),
    plain: (file) => script('plain-camera', file),
    loop: (file) => script('loop-camera', file),
  };
  await inRounds(
    ROUNDS,
    (Object.keys(NAMES) as Name[]).map((name) => async () => {
      const file = join(folder, `${name}.ndjson`);
      seen[name].push(await observe(await commands[name](file), file, fps));
    }),
  );
  const times = (name: Name): number[] => seen[name].flatMap(({ timesMs }) => timesMs);
  const of = (name: Name, what: 'cpuShare' | 'memoryMB'): number =>
    median(seen[name].map((one) => one[what]));
  const reference = line(NAMES.plain, times('plain'));
  return {
    title: `${fps} pictures a second`,
    lines: [
      reference,
      line(NAMES.agent, times('agent'), reference),
      line(NAMES.loop, times('loop'), reference),
    ],
    facts: (Object.keys(NAMES) as Name[]).flatMap((name) => [
      { name: `${NAMES[name]}, of one core (%)`, value: 100 * of(name, 'cpuShare'), unit: '' as const },
      { name: `${NAMES[name]}, memory`, value: of(name, 'memoryMB'), unit: 'MB' as const },
    ]),
    verdicts: (['plain', 'loop'] as const).map((name) =>
      verdict(name, of('agent', 'cpuShare') / of(name, 'cpuShare')),
    ),
  };
}

function verdict(name: 'plain' | 'loop', ratio: number): Verdict {
  return {
    requirement: `The agent takes at most ${GOALS[name]} times the processor time of ${NAMES[name]}`,
    measured: `${ratio.toFixed(2)} ×`,
    holds: ratio <= GOALS[name],
  };
}

async function agentCommand({
  url,
  fps,
  folder,
  file,
}: {
  readonly url: string;
  readonly fps: number;
  readonly folder: string;
  readonly file: string;
}): Promise<string[]> {
  const config = join(folder, 'outrider.yaml');
  const pipeline = {
    ...{ name: 'gate', task: 'image-classification', feed: { type: 'camera', url, fps }, edge: MODEL },
    sinks: [{ type: 'file', path: file }],
  };
  await writeFile(config, JSON.stringify({ device: 'bench', pipelines: [pipeline] }));
  const where = ['--config', config, '--data', join(folder, 'data'), '--models', inTree('models')];
  return [inTree('bin/outrider.mjs'), 'agent', ...where, '--agent-port', String(await freePort())];
}

function startCamera(port: number, film: string): Promise<ChildProcess> {
  const server = spawn(
    '/usr/bin/python3',
    [inTree('test/support/rtsp-camera.py'), String(port), '--file', film],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  return new Promise((resolve, reject) => {
    server.stdout?.once('data', () => resolve(server));
    server.once('close', () => reject(new Error('the RTSP server has ended: are its packages installed?')));
  });
}
