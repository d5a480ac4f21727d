/** What users do first, one update and the outbox on the Node versions that are recommended and that come: nothing there is deprecated. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../../shared/runtime/installation.ts';
import { temporaryFolder } from '../support/fixed.ts';

const VERSIONS = ['24', '26'];
/** What is run there, a line each. */
const RUNS = [
  ['--test-name-pattern=^a pushed version is taken', 'test/e2e/update.test.ts'],
  ['test/unit/agent/outbox/outbox.test.ts', 'test/unit/agent/outbox/outbox-crash.test.ts'],
];
/** One at a time, beside whatever else runs: a new version that is slower than the old one is refused. */
const FLAGS = ['--test-reporter=tap', '--test-concurrency=1'];
const root = fileURLToPath(ROOT);

/** Runs a script by this Node, in which what is deprecated ends a program. */
async function run(t: TestContext, version: string, args: readonly string[]) {
  const node = join(root, '.nodes', 'node_modules', `node${version}`, 'bin', 'node');
  const child = spawn(node, [...args], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '--throw-deprecation', NODE_TEST_CONTEXT: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  const code = await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  return { code, output };
}

for (const version of VERSIONS) {
  test(`up --once answers everything on Node ${version}, without a warning`, async (t) => {
    const ports = ['--hub-port', '0', '--mqtt-port', '0', '--agent-port', '0'];
    const up = ['bin/outrider.mjs', 'up', '--once', '--data', await temporaryFolder(t), ...ports];
    const { code, output } = await run(t, version, up);
    assert.equal(code, 0, output);
    assert.match(output, /text: 60 inputs, .* 0 failed/);
    assert.match(output, /vision: 100 inputs, .* 0 failed/);
    assert.doesNotMatch(output, /warning/i);
  });

  test(`an update and the outbox work on Node ${version}`, async (t) => {
    for (const tests of RUNS) {
      const { code, output } = await run(t, version, ['tools/run-tests.mjs', ...FLAGS, ...tests]);
      assert.equal(code, 0, output);
      assert.match(output, /^# fail 0$/m);
      assert.doesNotMatch(output, /^# pass 0$/m);
    }
  });
}
