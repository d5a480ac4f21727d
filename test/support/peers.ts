/** `npm run test:peers`: runs the tests with programs of others that are there, says what the rest needs, and installs nothing. */
import { spawnSync } from 'node:child_process';
import { HOW_TO_GET_IT, hasHomeAssistant } from './home-assistant.ts';
import { HOW_TO_GET_KSERVE, hasKServe } from './kserve.ts';
import { HOW_TO_GET_LLAMA_SERVER, hasLlamaServer } from './llama-server.ts';
import { HOW_TO_GET_MLSERVER, hasMlServer } from './mlserver.ts';

const hasMosquitto =
  spawnSync('sh', ['-c', 'command -v mosquitto || test -x /usr/sbin/mosquitto']).status === 0;
const PEERS: readonly (readonly [file: string, isThere: boolean, what: readonly string[]])[] = [
  [
    'test/peers/home-assistant.peers.ts',
    hasMosquitto && hasHomeAssistant(),
    [
      ...(hasMosquitto ? [] : ['the Debian package mosquitto']),
      ...(hasHomeAssistant() ? [] : [HOW_TO_GET_IT]),
    ],
  ],
  [
    'test/peers/engines.peers.ts',
    hasMlServer() || hasKServe(),
    [...(hasMlServer() ? [] : [HOW_TO_GET_MLSERVER]), ...(hasKServe() ? [] : [HOW_TO_GET_KSERVE])],
  ],
  ['test/peers/llama.peers.ts', hasLlamaServer(), hasLlamaServer() ? [] : [HOW_TO_GET_LLAMA_SERVER]],
];
const missing = PEERS.flatMap(([, , what]) => what);
if (missing.length > 0) {
  console.error('The tests with peers need what is not here:');
  for (const what of missing) console.error(`  ${what}`);
}
const tests = PEERS.filter(([, isThere]) => isThere).map(([file]) => file);
if (tests.length === 0) {
  console.error('Nothing was installed, and nothing was run.');
  process.exit(1);
}
const loader = ['--import', './tools/from-source.mjs', '--test'];
const run = spawnSync(process.execPath, [...loader, ...process.argv.slice(2), ...tests], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
