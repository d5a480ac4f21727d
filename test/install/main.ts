/** `npm run test:install`: says what installing on a clean Debian needs, does it, and installs nothing on this machine. */
import { spawnSync } from 'node:child_process';
import { missingTools, NEEDS } from './needs.ts';

if (missingTools().length > 0) {
  console.error('The tests of the installation need:');
  for (const [what, why] of Object.entries(NEEDS)) console.error(`  ${what}: ${why}`);
  console.error(`Missing: ${missingTools().join(', ')}. Nothing was installed, and nothing was run.`);
  process.exit(process.argv.includes('--if-possible') ? 0 : 1);
}
const run = spawnSync(
  process.execPath,
  ['--import', './tools/from-source.mjs', '--test', '--test-timeout=1200000', 'test/install/install.ts'],
  { stdio: 'inherit' },
);
process.exit(run.status ?? 1);
