/**
 * `npm run bench:hub -- [names] [--only TEXT] [--json FILE] [--quick]`: what a hub answers under load, beside a bare process and other
 * servers; fairness, devices, idle. `--only` leaves kinds of questions (pictures, sentences, tokens) out. `--quick` is a few seconds a
 * point: enough to see what a change has done, not to be cited.
 */
import { parseArgs } from 'node:util';
import { AppError } from '../../shared/runtime/errors.ts';
import { runTool } from '../../tools/measure/command.ts';
import { type BenchReport, runBenches } from './harness.ts';
import { answers } from './hub/answers.ts';
import { devices } from './hub/devices.ts';
import { fair } from './hub/fair.ts';
import { idle } from './hub/idle.ts';
import { where } from './hub/where.ts';

const BENCHES: Record<string, (isQuick: boolean, only: readonly string[]) => Promise<BenchReport>> = {
  answers,
  where,
  fair,
  devices,
  idle,
};

runTool(async () => {
  const { values, positionals } = parseArgs({
    options: {
      json: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      quick: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  if (names.some((name) => !(name in BENCHES)))
    throw new AppError(
      'USAGE',
      `usage: npm run bench:hub -- [${Object.keys(BENCHES).join('] [')}] [--only KIND] [--json FILE] [--quick]`,
    );
  const wanted = names.flatMap((name) => {
    const bench = BENCHES[name];
    return bench ? [() => bench(values.quick, values.only)] : [];
  });
  await runBenches(wanted, values.json, 'hub-');
});
