/** `npm run test:full`: says what the full tests need, runs them, and installs nothing. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

const NEEDS = {
  mosquitto: 'the Debian package mosquitto (an MQTT 5 broker)',
  mosquitto_ctrl: 'the same package, which has the dynamic-security plugin, too',
  chromium: 'the Debian package chromium (a browser for the pages)',
  mount: 'root, for a small tmpfs that gets full',
};

const missing = Object.entries(NEEDS).filter(
  ([command]) =>
    spawnSync('sh', ['-c', `command -v ${command} || test -x /usr/sbin/${command}`]).status !== 0,
);
if (missing.length > 0 || process.getuid?.() !== 0) {
  console.error('The full tests need:');
  for (const [command, what] of Object.entries(NEEDS)) console.error(`  ${command}: ${what}`);
  console.error('Nothing was installed, and nothing was run.');
  process.exit(1);
}
const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.full.test.ts'))
  .map((name) => `test/${name}`)
  .sort();
const run = spawnSync(process.execPath, ['--import', 'tsx', '--test', '--test-timeout=300000', ...files], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
