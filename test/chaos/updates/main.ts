/**
 * `npm run test:chaos -- updates [--kills N] [--seed S] [--devices N] [--json FILE] [--keep]`: SIGKILL to agents, hub, broker, runners, what makes
 * differences and what pushes, at random moments and in each state that there is, while versions are pushed and rolled out. Exit code 1 when a
 * device had no model that works, a version was half applied, or a rollout is in a state that nobody has asked for.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { checkAll } from '../../../shared/runtime/flags.ts';
import { toText } from './report.ts';
import { isWell, runUpdateChaos } from './run.ts';

const flags = z.object({
  kills: z.coerce.number().int().min(1).max(10_000).default(200),
  seed: z.coerce
    .number()
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .optional(),
  devices: z.coerce.number().int().min(1).max(20).default(3),
  json: z.string().optional(),
  keep: z.boolean().default(false),
});

/** Not at a terminal: a line so often. */
const LINE_EVERY_MS = 15_000;

/** @returns the exit code */
export async function chaosOfUpdates(args: string[], signal: AbortSignal): Promise<number> {
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
  const report = await runUpdateChaos({ ...given, seed, signal, onProgress });
  if (isTerminal) process.stderr.write('\r\u001b[2K');
  console.log(toText(report));
  if (given.json !== undefined) await writeFile(given.json, `${JSON.stringify(report, null, 2)}\n`);
  return isWell(report) ? 0 : 1;
}
