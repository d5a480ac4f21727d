/** What the benches share: samples and their figures, the table, the machine, and a folder on the disk that is measured. */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { arch, availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** A path in the checkout. */
export const inTree = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Results and working folders; ignored by git. */
export const RESULTS_FOLDER = inTree('bench-results');

/** One row: a measurement in milliseconds. */
export interface Line {
  readonly name: string;
  readonly medianMs: number;
  readonly p95Ms: number;
  readonly runs: number;
  /** Its median over that of the line of this name in the same table. */
  readonly ratio?: { readonly to: string; readonly value: number };
}

/** A requirement, and whether this run met it. */
export interface Verdict {
  readonly requirement: string;
  readonly measured: string;
  readonly holds: boolean;
}

/** A figure that is no time. */
export interface Fact {
  readonly name: string;
  readonly value: number;
  readonly unit: 'bytes' | 'MB' | 'per second' | '';
}

export interface Table {
  readonly title: string;
  readonly lines: readonly Line[];
  /** A table of its own form; its first row is the head. */
  readonly grid?: readonly (readonly string[])[];
  readonly facts?: readonly Fact[];
  readonly verdicts: readonly Verdict[];
}

export interface BenchReport {
  readonly name: string;
  /** What was compared, and how. */
  readonly about: string;
  readonly tables: readonly Table[];
}

/** A report with when it was made, and how much other programs took meanwhile. */
export interface Measured extends BenchReport {
  readonly startedAt: string;
  /** 0..1 of all cores; null where the system does not say. Figures of a run with much of it are of no use. */
  readonly othersShare: number | null;
}

/**
 * Runs benches one after another, prints the table of each and the machine, and writes all to a file.
 *
 * @param file where to; a file of its own in the results' folder when left out @param prefix of that file's name
 */
export async function runBenches(
  benches: readonly (() => Promise<BenchReport>)[],
  file: string | undefined,
  prefix?: string,
): Promise<void> {
  const machine = await machineFacts();
  const startedAt = new Date().toISOString();
  const reports: Measured[] = [];
  for (const bench of benches) {
    const report = await watched(bench);
    console.log(toMarkdown(report));
    reports.push(report);
  }
  const { cpu, cores, system, node, commit } = machine;
  console.log(`${cpu}, ${cores} cores, ${system}, Node ${node}, commit ${commit}`);
  await writeResults({ startedAt, machine, reports }, file, prefix);
}

/** Runs one bench, with an eye on who else uses the machine. */
async function watched(bench: () => Promise<BenchReport>): Promise<Measured> {
  const startedAt = new Date().toISOString();
  const before = await cpuTicks();
  const report = await bench();
  const after = await cpuTicks();
  const othersShare =
    before && after
      ? Math.max(0, after.busy - before.busy - (after.own - before.own)) / (after.all - before.all)
      : null;
  return { ...report, startedAt, othersShare };
}

/** Linux: clock ticks of all cores since the start, those that were busy, and those of this program and its ended children. */
async function cpuTicks(): Promise<{ all: number; busy: number; own: number } | undefined> {
  try {
    const [first = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
    // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal
    const ticks = first.trim().split(/\s+/).slice(1, 9).map(Number);
    const all = ticks.reduce((sum, one) => sum + one, 0);
    const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
    // proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17; the name before them may hold blanks.
    const rest = (await readFile('/proc/self/stat', 'utf8')).split(') ').at(-1)?.split(' ') ?? [];
    const own = rest
      .slice(11, 15)
      .map(Number)
      .reduce((sum, one) => sum + one, 0);
    return { all, busy: all - idle, own };
  } catch {
    return undefined;
  }
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

/** @param share 0..1; the nearest rank */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
}

export function line(name: string, samplesMs: readonly number[], reference?: Line): Line {
  const medianMs = median(samplesMs);
  return {
    name,
    medianMs,
    p95Ms: quantile(samplesMs, 0.95),
    runs: samplesMs.length,
    ...(reference && { ratio: { to: reference.name, value: medianMs / reference.medianMs } }),
  };
}

/** How long one call takes, in milliseconds. */
export async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const startedMonoMs = performance.now();
  const value = await work();
  return { ms: performance.now() - startedMonoMs, value };
}

/** Runs the competitors in rounds, in another order each time, so that what changes on the machine meets all of them. */
export async function inRounds(rounds: number, competitors: readonly (() => Promise<void>)[]): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < competitors.length; turn++)
      await competitors[(round + turn) % competitors.length]?.();
  }
}

/** A working folder on the checkout's disk (a temporary folder may lie in memory, where fsync costs nothing). */
export async function workFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  await mkdir(RESULTS_FOLDER, { recursive: true });
  const path = await mkdtemp(join(RESULTS_FOLDER, 'work-'));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** @param file where to; a file of its own in the results' folder when left out @param prefix of that file's name */
export async function writeResults(
  results: {
    readonly startedAt: string;
    readonly machine: MachineFacts;
    readonly reports: readonly Measured[];
  },
  file: string | undefined,
  prefix = '',
): Promise<void> {
  await mkdir(RESULTS_FOLDER, { recursive: true });
  const path = file ?? join(RESULTS_FOLDER, `${prefix}${results.startedAt.replaceAll(/[:.]/g, '-')}.json`);
  await writeFile(path, `${JSON.stringify(results, null, 2)}\n`);
  console.log(`Written to ${path}`);
}

const ms = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`;

/** The tables as Markdown, which a terminal shows well enough. */
export function toMarkdown({ name, about, tables, startedAt, othersShare }: Measured): string {
  const others =
    othersShare === null
      ? ''
      : `; other programs took ${(100 * othersShare).toFixed(0)} % of the cores meanwhile`;
  return [
    `## ${name}`,
    '',
    about,
    '',
    `Run at ${startedAt}${others}.`,
    '',
    ...tables.flatMap(tableLines),
  ].join('\n');
}

function tableLines({ title, lines, grid = [], facts = [], verdicts }: Table): string[] {
  const rows = lines.map(({ name, medianMs, p95Ms, runs, ratio }) => [
    name,
    ms(medianMs),
    ms(p95Ms),
    ratio === undefined ? '' : `${ratio.value.toFixed(2)} × ${ratio.to}`,
    String(runs),
  ]);
  return [
    `### ${title}`,
    '',
    ...(rows.length > 0
      ? [...aligned([['', 'median', 'p95', 'ratio of medians', 'runs'], ...rows]), '']
      : []),
    ...(grid.length > 0 ? [...aligned(grid), ''] : []),
    ...(facts.length > 0 ? [...aligned([['', 'figure'], ...facts.map(factRow)]), ''] : []),
    ...verdicts.map(
      ({ requirement, measured, holds }) =>
        `- ${requirement}: ${measured}, **${holds ? 'holds' : 'missed'}**`,
    ),
    '',
  ];
}

const factRow = ({ name, value, unit }: Fact): string[] => [
  name,
  `${Number.isInteger(value) || value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2)} ${unit}`.trim(),
];

/** A Markdown table as the formatter writes it; the first row is the head. */
export function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const text = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [text(head), text(widths.map((width) => '-'.repeat(width))), ...body.map(text)];
}

const manifest = z.object({ version: z.string() });
/** The packages whose work is in the figures. */
const PACKAGES = [
  'onnxruntime-node',
  'sharp',
  'mqtt',
  'aedes',
  'hono',
  '@hono/node-server',
  'esbuild',
  'tsx',
];

export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  readonly commit: string;
  readonly packages: Record<string, string>;
}

export async function machineFacts(): Promise<MachineFacts> {
  const packages: Record<string, string> = {};
  for (const name of PACKAGES) {
    const text = await readFile(inTree(`node_modules/${name}/package.json`), 'utf8');
    packages[name] = manifest.parse(JSON.parse(text)).version;
  }
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${process.platform} ${release()} ${arch()}`,
    node: process.version,
    commit:
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' with changes'),
    packages,
  };
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, {
      cwd: inTree('.'),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}
