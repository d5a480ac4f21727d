/**
 * `npm run bench:link -- [names] [--json FILE] [--quick]`: what the durable link costs and carries. `--quick` is for a look
 * whether it works: its figures mean nothing.
 */
import { parseArgs } from 'node:util';
import { AppError } from '../../shared/runtime/errors.ts';
import { runTool } from '../../tools/measure/command.ts';
import { hasMosquitto } from '../support/broker.ts';
import { type BenchReport, runBenches } from './harness.ts';
import { accepting } from './link/accepting.ts';
import { fleet } from './link/fleet.ts';
import { memory } from './link/memory.ts';
import { mixed } from './link/mixed.ts';
import { roundTrips } from './link/round-trips.ts';

const BENCHES: Record<string, (isQuick: boolean) => Promise<BenchReport>> = {
  'round-trips': roundTrips,
  accepting,
  memory,
  fleet,
  mixed,
};

runTool(async () => {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'string' }, quick: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  if (names.some((name) => !(name in BENCHES)))
    throw new AppError(
      'USAGE',
      `usage: npm run bench:link -- [${Object.keys(BENCHES).join('] [')}] [--json FILE] [--quick]`,
    );
  if (!hasMosquitto()) console.log('Mosquitto is not installed: its tables are left out.');
  const wanted = names.flatMap((name) => {
    const bench = BENCHES[name];
    return bench ? [() => bench(values.quick)] : [];
  });
  await runBenches(wanted, values.json, 'link-');
});
