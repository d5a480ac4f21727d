/** `npm run test:peers`: says what the tests with programs of others need, runs them, and installs nothing. */
import { spawnSync } from 'node:child_process';
import { HOW_TO_GET_IT, hasHomeAssistant } from './home-assistant.ts';

const NEEDS: readonly (readonly [isThere: boolean, what: string])[] = [
  [
    spawnSync('sh', ['-c', 'command -v mosquitto || test -x /usr/sbin/mosquitto']).status === 0,
    'the Debian package mosquitto',
  ],
  [hasHomeAssistant(), HOW_TO_GET_IT],
];
const missing = NEEDS.filter(([isThere]) => !isThere);
if (missing.length > 0) {
  console.error('The tests with peers need:');
  for (const [, what] of missing) console.error(`  ${what}`);
  console.error('Nothing was installed, and nothing was run.');
  process.exit(1);
}
const tests = ['test/peers/home-assistant.peers.ts'];
const loader = ['--import', './tools/from-source.mjs', '--test'];
const run = spawnSync(process.execPath, [...loader, ...process.argv.slice(2), ...tests], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
