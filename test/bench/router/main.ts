/**
 * `npm run bench:router -- [--runs N] [--only PART,...] [--data DIR] [--json FILE] [--page]`: replays seeded streams through the
 * router's learner and holds what it does against the truth. Without `--data` the starter pairs are left out. `--page` writes
 * docs/router.md.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeFileAtomic } from '../../../shared/runtime/atomic-file.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { runTool } from '../../../tools/measure/command.ts';
import { inTree, machineFacts, RESULTS_FOLDER } from '../harness.ts';
import { Worker } from '../worker.ts';
import type { Task } from './child.ts';
import { type Job, jobs, PARTS, type Part } from './jobs.ts';
import { routerPage } from './report/page.ts';
import { sections } from './report/sections.ts';
import { jobAnswer, type Row } from './results.ts';
import { answerPairs, readPair } from './worlds/pairs.ts';

const USAGE = `usage: npm run bench:router -- [--runs N] [--only ${PARTS.join(',')}] [--data DIR] [--json FILE] [--page]`;
const DEFAULT_RUNS = '1000';
const MAX_CHILDREN = 2;

runTool(async () => {
  const options = readOptions();
  const startedAt = new Date().toISOString();
  const pairFiles = options.data === undefined ? [] : await answerPairs(options.data);
  const wanted = jobs(await Promise.all(pairFiles.map(readPair))).filter(({ part }) =>
    options.parts.includes(part),
  );
  const startedMonoMs = performance.now();
  const rows = await measure(wanted, { runs: options.runs, pairFiles });
  const seconds = Math.round((performance.now() - startedMonoMs) / 1000);
  const report = { startedAt, seconds, runs: options.runs, machine: await machineFacts(), rows };
  console.log(sections(rows).join('\n'));
  const file = options.json ?? join(RESULTS_FOLDER, `router-${startedAt.replaceAll(/[:.]/g, '-')}.json`);
  await writeFileAtomic(file, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`Written to ${file}`);
  if (options.isPage) await writeFileAtomic(inTree('docs/router.md'), routerPage(report));
});

interface Options {
  readonly runs: number;
  readonly parts: readonly Part[];
  readonly data: string | undefined;
  readonly json: string | undefined;
  readonly isPage: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: DEFAULT_RUNS },
      only: { type: 'string', default: PARTS.join(',') },
      data: { type: 'string' },
      json: { type: 'string' },
      page: { type: 'boolean', default: false },
    },
  });
  const runs = Number(values.runs);
  const named = values.only.split(',');
  const parts = PARTS.filter((part) => named.includes(part));
  if (!Number.isInteger(runs) || runs < 1 || parts.length !== named.length)
    throw new AppError('USAGE', USAGE);
  return { runs, parts, data: values.data, json: values.json, isPage: values.page };
}

/** Shares the jobs among the children. @returns the rows in the order of the jobs */
async function measure(wanted: readonly Job[], task: Omit<Task, 'name'>): Promise<Row[]> {
  const found: Row[][] = [];
  let [next, done] = [0, 0];
  const work = async (until: number): Promise<void> => {
    const child = new Worker('./router/child.ts', jobAnswer);
    child.start();
    try {
      while (next < until) {
        const index = next++;
        const { name } = wanted[index]!;
        const startedMonoMs = performance.now();
        found[index] = (await child.ask({ ...task, name })).rows;
        const seconds = ((performance.now() - startedMonoMs) / 1000).toFixed(1);
        console.error(`${++done}/${wanted.length} ${name}: ${seconds} s`);
      }
    } finally {
      await child.stop();
    }
  };
  // Times are taken while nothing else runs.
  await work(wanted.filter(({ part }) => part === 'timing').length);
  const children = Math.min(MAX_CHILDREN, availableParallelism());
  await Promise.all(Array.from({ length: children }, () => work(wanted.length)));
  return found.flat();
}
