/** `npm run test:images`: says what building and running the image needs, does both, and installs nothing. */
import { spawnSync } from 'node:child_process';
import { missingTools, NEEDS } from './needs.ts';

if (missingTools().length > 0) {
  console.error('The tests of the image need:');
  for (const [what, why] of Object.entries(NEEDS)) console.error(`  ${what}: ${why}`);
  console.error(`Missing: ${missingTools().join(', ')}. Nothing was installed, and nothing was run.`);
  process.exit(process.argv.includes('--if-possible') ? 0 : 1);
}
const run = spawnSync(
  process.execPath,
  ['--import', './tools/from-source.mjs', '--test', '--test-timeout=900000', 'test/images/image.ts'],
  { stdio: 'inherit' },
);
process.exit(run.status ?? 1);
