/**
 * `npm run bench -- [names] [--json FILE] [--data DIR]`: runs the benches one after the other, prints their tables and writes
 * everything as JSON. `hybrid` (what a pair of models gives together) needs the data sets and writes its own page.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { AppError } from '../../shared/runtime/errors.ts';
import { runTool } from '../../tools/measure/command.ts';
import { tsxFlags } from '../support/from-source.ts';
import { device } from './device.ts';
import { type BenchReport, inTree, runBenches } from './harness.ts';
import { roundTrip } from './round-trip.ts';
import { start } from './start.ts';
import { update } from './update.ts';

const BENCHES: Record<string, () => Promise<BenchReport>> = {
  device,
  'round-trip': roundTrip,
  start,
  update,
};
const HYBRID = 'hybrid';

runTool(async () => {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'string' }, data: { type: 'string' } },
    allowPositionals: true,
  });
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  const unknown = names.filter((name) => !(name in BENCHES) && name !== HYBRID);
  if (unknown.length > 0 || (names.includes(HYBRID) && values.data === undefined))
    throw new AppError(
      'USAGE',
      `usage: npm run bench -- [${Object.keys(BENCHES).join('] [')}] [${HYBRID} --data DIR] [--json FILE]`,
    );

  const wanted = names.flatMap((name) => {
    const bench = BENCHES[name];
    return bench ? [bench] : [];
  });
  await runBenches(wanted, values.json);
  if (names.includes(HYBRID)) measureHybrid(values.data ?? '');
});

function measureHybrid(data: string): void {
  const run = spawnSync(process.execPath, [...tsxFlags(), inTree('test/bench/hybrid.ts'), '--data', data], {
    stdio: 'inherit',
  });
  if (run.status !== 0) throw new AppError('CHILD_FAILED', 'the hybrid bench failed');
}
