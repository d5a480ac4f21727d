/** Command line of the runs that kill while versions are rolled out: flags, a line of progress, the report, an exit code. */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { checkAll } from '../../shared/runtime/flags.ts';
import type { UpdateChaosOptions } from './updates/run.ts';

/** A run, and what is made of its report. */
export interface KillRun<Report> {
  /** Unless the command line says otherwise. */
  readonly defaults: { readonly kills: number; readonly devices: number };
  run(options: UpdateChaosOptions): Promise<Report>;
  toText(report: Report): string;
  isWell(report: Report): boolean;
}

/** Not at a terminal: a line so often. */
const LINE_EVERY_MS = 15_000;

/** @returns the exit code */
export async function killCommand<Report>(
  { defaults, run, toText, isWell }: KillRun<Report>,
  args: string[],
  signal: AbortSignal,
): Promise<number> {
  const flags = z.object({
    kills: z.coerce.number().int().min(1).max(10_000).default(defaults.kills),
    seed: z.coerce
      .number()
      .int()
      .min(0)
      .max(2 ** 32 - 1)
      .optional(),
    devices: z.coerce.number().int().min(1).max(20).default(defaults.devices),
    json: z.string().optional(),
    keep: z.boolean().default(false),
  });
  const { values } = parseArgs({
    args,
    options: {
      kills: { type: 'string' },
      seed: { type: 'string' },
      devices: { type: 'string' },
      json: { type: 'string' },
      keep: { type: 'boolean' },
    },
  });
  const given = checkAll(flags, values, 'USAGE', (path) => `--${path}`);
  const seed = given.seed ?? Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const isTerminal = process.stderr.isTTY;
  let toldMonoMs = 0;
  const onProgress = (line: string): void => {
    if (isTerminal) process.stderr.write(`\r\u001b[2K${line}`);
    else if (performance.now() - toldMonoMs > LINE_EVERY_MS) {
      toldMonoMs = performance.now();
      console.error(line);
    }
  };
  const report = await run({ ...given, seed, signal, onProgress });
  if (isTerminal) process.stderr.write('\r\u001b[2K');
  console.log(toText(report));
  if (given.json !== undefined) await writeFile(given.json, `${JSON.stringify(report, null, 2)}\n`);
  return isWell(report) ? 0 : 1;
}
