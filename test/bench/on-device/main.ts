/** `npm run bench:device -- [camera] [sensors] [writes] [--json FILE]`: what cameras and sensors cost on a device, against plain scripts, and
 * what an agent writes to its disk. */
import { parseArgs } from 'node:util';
import { AppError } from '../../../shared/runtime/errors.ts';
import { runTool } from '../../../tools/measure/command.ts';
import { type BenchReport, runBenches } from '../harness.ts';
import { camera } from './camera.ts';
import { sensors } from './sensors.ts';
import { writes } from './writes.ts';

const BENCHES: Record<string, () => Promise<BenchReport>> = { camera, sensors, writes };

runTool(async () => {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'string' } },
    allowPositionals: true,
  });
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  if (names.some((name) => !(name in BENCHES)))
    throw new AppError(
      'USAGE',
      `usage: npm run bench:device -- [${Object.keys(BENCHES).join('] [')}] [--json FILE]`,
    );
  const wanted = names.flatMap((name) => {
    const bench = BENCHES[name];
    return bench ? [bench] : [];
  });
  await runBenches(wanted, values.json, 'device-');
});
