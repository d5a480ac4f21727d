/** What a device pays in memory for a day without a link: 100,000 requests of 1 KB that wait, in processes of their own. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { AppError } from '../../../shared/runtime/errors.ts';
import { tsxFlags } from '../../support/from-source.ts';
import { type BenchReport, type Fact, type Table, workFolder } from '../harness.ts';

const ENTRIES = 100_000;
const MAX_MORE_MB = 60;
const CHILD = fileURLToPath(new URL('./waiting.ts', import.meta.url));
const megabytes = (bytes: number): number => bytes / 1e6;

export async function memory(isQuick: boolean): Promise<BenchReport> {
  const entries = isQuick ? 5_000 : ENTRIES;
  const work = await workFolder();
  try {
    const empty = await run('open', join(work.path, 'empty'), 0, 'cloud');
    const tables: Table[] = [];
    for (const answers of ['cloud', 'local'] as const)
      tables.push(await compare({ entries, answers, empty, folder: join(work.path, answers) }));
    return {
      name: 'link-memory',
      about:
        `Resident memory of a process with outbox, pipeline, uplink and the kept Results after a full garbage collection, offline: ` +
        `empty, after it has accepted ${entries.toLocaleString('en')} requests of 1 KB, and started anew with these.`,
      tables,
    };
  } finally {
    await work.remove();
  }
}

/** Whether each request has an answer of a local model, of ten labels, that the caller was given meanwhile. */
type Answers = 'cloud' | 'local';

async function compare(options: {
  readonly entries: number;
  readonly answers: Answers;
  /** Resident bytes. */
  readonly empty: number;
  readonly folder: string;
}): Promise<Table> {
  const { entries, answers, empty, folder } = options;
  const filled = await run('fill', folder, entries, answers);
  const reopened = await run('open', folder, entries, answers);
  const more = (bytes: number): string => `${megabytes(bytes - empty).toFixed(1)} MB`;
  const fact = (name: string, bytes: number): Fact => ({ name, value: megabytes(bytes), unit: 'MB' });
  return {
    title: answers === 'cloud' ? 'Without local answers' : 'With a local answer of ten labels each',
    lines: [],
    facts: [fact('empty', empty), fact('after accepting', filled), fact('started anew', reopened)],
    verdicts: [
      {
        requirement: `At most ${MAX_MORE_MB} MB more than empty`,
        measured: `${more(filled)}, started anew ${more(reopened)}`,
        holds: megabytes(Math.max(filled, reopened) - empty) <= MAX_MORE_MB,
      },
    ],
  };
}

/** @returns resident bytes */
async function run(
  what: 'open' | 'fill',
  folder: string,
  entries: number,
  answers: Answers,
): Promise<number> {
  const child = spawn(
    process.execPath,
    ['--expose-gc', ...tsxFlags(), CHILD, what, folder, String(entries), answers],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0)
    throw new AppError('CHILD_FAILED', `the process with ${entries} requests ended with ${code}`);
  return z.object({ residentBytes: z.number() }).parse(JSON.parse(said)).residentBytes;
}
