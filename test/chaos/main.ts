/**
 * `npm run test:chaos -- [--minutes N] [--seed S] [--broker aedes|mosquitto] [--devices N] [--rate N] [--json FILE] [--keep]`:
 * kills agents, hub, broker and runners at random moments, troubles their links, and counts what became of every request.
 * Exit code 1 when one was lost or answered in two ways. `npm run test:chaos -- updates …` kills while versions are rolled out (`updates/main.ts`),
 * `… agents …` while those of the agent itself are (`agents/main.ts`).
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { checkAll } from '../../shared/runtime/flags.ts';
import { hasMosquitto } from '../support/broker.ts';
import { chaosOfAgents } from './agents/main.ts';
import { toText } from './report.ts';
import { isWell, runChaos } from './run.ts';
import { chaosOfUpdates } from './updates/main.ts';

const flags = z.object({
  minutes: z.coerce.number().positive().default(10),
  seed: z.coerce
    .number()
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .optional(),
  broker: z.enum(['aedes', 'mosquitto']).default('aedes'),
  devices: z.coerce.number().int().min(1).max(50).default(1),
  rate: z.coerce.number().positive().max(500).default(20),
  json: z.string().optional(),
  keep: z.boolean().default(false),
});

const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => {
    stopping.abort();
    // What was started goes with this process.
    process.exit(130);
  });
const [what, ...rest] = process.argv.slice(2);
if (what === 'updates') process.exit(await chaosOfUpdates(rest, stopping.signal));
if (what === 'agents') process.exit(await chaosOfAgents(rest, stopping.signal));

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seed: { type: 'string' },
    broker: { type: 'string' },
    devices: { type: 'string' },
    rate: { type: 'string' },
    json: { type: 'string' },
    keep: { type: 'boolean' },
  },
});
const given = checkAll(flags, values, 'USAGE', (path) => `--${path}`);
if (given.broker === 'mosquitto' && !hasMosquitto()) {
  console.error('Mosquitto is not installed.');
  process.exit(2);
}
const seed = given.seed ?? Math.floor(Math.random() * 2 ** 32);
console.log(`seed ${seed}`);
const isTerminal = process.stderr.isTTY;
const report = await runChaos({
  ...given,
  seed,
  perSecond: given.rate,
  signal: stopping.signal,
  onProgress: (line) => {
    if (isTerminal) process.stderr.write(`\r\u001b[2K${line}`);
  },
});
if (isTerminal) process.stderr.write('\r\u001b[2K');
console.log(toText(report));
if (given.json !== undefined) await writeFile(given.json, `${JSON.stringify(report, null, 2)}\n`);
process.exit(isWell(report) ? 0 : 1);
