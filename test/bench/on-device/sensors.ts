/** Windows of sensors a second on one core: the agent from lines of a file to lines of a file, against a script with `session.run`. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../support/ports.ts';
import { type BenchReport, inRounds, inTree, median, workFolder } from '../harness.ts';
import { buildScripts } from './build-scripts.ts';
import { observeRate } from './observed.ts';

const MODEL = 'basicmotions-cnn';
const CHANNELS = ['ax', 'ay', 'az', 'gx', 'gy', 'gz'];
const WINDOW = { count: 100, hop: 10 };
/** What the demo’s file goes through as often. */
const TIMES = 100;
/** Windows that warm up, and by when it is over. */
const SPAN = { from: 500, to: 5_500 };
const ROUNDS = 3;

/** Measures both on the first core. */
export async function sensors(): Promise<BenchReport> {
  const work = await workFolder();
  try {
    const csv = join(work.path, 'motions.csv');
    const [head = '', ...rows] = (await readFile(inTree('models/demo/motions.csv'), 'utf8'))
      .trim()
      .split('\n');
    await writeFile(csv, `${[head, ...Array.from({ length: TIMES }, () => rows).flat()].join('\n')}\n`);
    await buildScripts(['plain-windows'], work.path);
    const rates = { agent: [] as number[], plain: [] as number[] };
    const onOneCore = ['taskset', '-c', '0'];
    await inRounds(ROUNDS, [
      async () => {
        const file = join(work.path, 'plain.ndjson');
        const { count, hop } = WINDOW;
        const args = [csv, String(count), String(hop), file, inTree(`models/${MODEL}`)];
        const command = [...onOneCore, process.execPath, join(work.path, 'plain-windows.mjs'), ...args];
        rates.plain.push(await observeRate(command, file, SPAN));
      },
      async () => {
        const file = join(work.path, 'agent.ndjson');
        const command = [...onOneCore, ...(await agentCommand(work.path, csv, file))];
        rates.agent.push(await observeRate(command, file, SPAN));
      },
    ]);
    return {
      name: 'sensors',
      about:
        `Windows of ${WINDOW.count} rows with ${CHANNELS.length} channels, a new one every ${WINDOW.hop} rows, out of a file of CSV; ` +
        `\`${MODEL}\`, each line of a file an answer. Both with all their processes on one core.`,
      tables: [
        {
          title: 'Windows on one core',
          lines: [],
          facts: [
            { name: 'script with session.run', value: median(rates.plain), unit: 'per second' },
            { name: 'agent', value: median(rates.agent), unit: 'per second' },
          ],
          verdicts: [],
        },
      ],
    };
  } finally {
    await work.remove();
  }
}

async function agentCommand(folder: string, csv: string, file: string): Promise<string[]> {
  const config = join(folder, 'outrider.yaml');
  const feed = {
    ...{ type: 'lines', path: csv, window: WINDOW },
    channels: CHANNELS.map((column) => ({ column })),
  };
  const pipeline = {
    ...{ name: 'motion', task: 'time-series-classification', feed, edge: MODEL },
    sinks: [{ type: 'file', path: file }],
  };
  await writeFile(config, JSON.stringify({ device: 'bench', pipelines: [pipeline] }));
  const where = ['--config', config, '--data', join(folder, 'data'), '--models', inTree('models')];
  return [inTree('bin/outrider.mjs'), 'agent', ...where, '--agent-port', String(await freePort())];
}
