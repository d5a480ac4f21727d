/**
 * `npm run bench:update -- [pairs] [large] [switches] [fleet] [--pairs FOLDER] [--switches N] [--json FILE]`: what updates cost on the wire, in time and
 * memory, and those who ask meanwhile. `pairs` needs what models/recipes/update_pairs.py makes.
 */
import { parseArgs } from 'node:util';
import { AppError } from '../../../shared/runtime/errors.ts';
import { runTool } from '../../../tools/measure/command.ts';
import { type BenchReport, runBenches } from '../harness.ts';
import { fleet } from './fleet.ts';
import { large } from './large.ts';
import { pairs } from './pairs.ts';
import { switches } from './switches.ts';

runTool(async () => {
  const { values, positionals } = parseArgs({
    options: {
      json: { type: 'string' },
      pairs: { type: 'string' },
      switches: { type: 'string', default: '100' },
      devices: { type: 'string', default: '200' },
    },
    allowPositionals: true,
  });
  const benches: Record<string, () => Promise<BenchReport>> = {
    ...(values.pairs !== undefined && { pairs: () => pairs(values.pairs ?? '') }),
    large,
    switches: () => switches(Number(values.switches)),
    fleet: () => fleet(Number(values.devices)),
  };
  const names = positionals.length > 0 ? positionals : Object.keys(benches);
  const unknown = names.find((name) => !(name in benches));
  if (unknown !== undefined)
    throw new AppError(
      'USAGE',
      unknown === 'pairs'
        ? 'pairs needs --pairs FOLDER, made by models/recipes/update_pairs.py'
        : 'usage: npm run bench:update -- [pairs] [large] [switches] [fleet] [--pairs FOLDER] [--switches N] [--devices N]',
    );
  await runBenches(
    names.flatMap((name) => {
      const bench = benches[name];
      return bench ? [() => told(name, bench)] : [];
    }),
    values.json,
    'update-',
  );
});

/** Says what it is at: all of it takes a quarter of an hour. */
async function told(name: string, bench: () => Promise<BenchReport>): Promise<BenchReport> {
  console.error(`${name} …`);
  const startedMonoMs = performance.now();
  const report = await bench();
  console.error(`${name} took ${((performance.now() - startedMonoMs) / 1_000).toFixed(0)} s`);
  return report;
}
