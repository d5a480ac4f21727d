/** What an agent and its runner send to the disk: while nothing happens, and at one answer a second. A card wears out by it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../support/ports.ts';
import { type BenchReport, type Fact, inTree, workFolder } from '../harness.ts';
import { observeWrites } from './observed.ts';

const MODEL = 'sst2-lstm';
const SECONDS = 90;
/** By a shell: one text and silence, and one text a second. */
const FEEDS = {
  'an hour without an answer': 'echo a fine film; sleep 3600',
  'an hour of one answer a second': 'while sleep 1; do echo a fine film; done',
};

/** Measures each for a minute and a half. */
export async function writes(): Promise<BenchReport> {
  const work = await workFolder();
  try {
    const facts: Fact[] = [];
    for (const [index, [name, script]] of Object.entries(FEEDS).entries()) {
      const folder = join(work.path, String(index));
      const file = `${folder}.ndjson`;
      const config = `${folder}.yaml`;
      const pipeline = {
        ...{ name: 'text', task: 'text-classification', edge: MODEL },
        feed: { type: 'lines', command: ['sh', '-c', script] },
        sinks: [{ type: 'file', path: file }],
      };
      await writeFile(config, JSON.stringify({ device: 'bench', pipelines: [pipeline] }));
      const where = ['--config', config, '--data', folder, '--models', inTree('models')];
      const port = ['--agent-port', String(await freePort())];
      const command = [process.execPath, inTree('bin/outrider.mjs'), 'agent', ...where, ...port];
      facts.push({ name, value: (await observeWrites(command, file, SECONDS)) / 1e6, unit: 'MB' });
    }
    return {
      name: 'writes',
      about:
        `Bytes that agent and runner send to the disk (proc(5), \`write_bytes\`), over ${SECONDS} seconds; \`${MODEL}\`, each Result a line of a file, ` +
        'the data folder and the logs in it.',
      tables: [{ title: 'Written', lines: [], facts, verdicts: [] }],
    };
  } finally {
    await work.remove();
  }
}
