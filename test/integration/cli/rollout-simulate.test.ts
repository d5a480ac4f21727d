/** `outrider rollout simulate` as an operator types it, against a hub that has heard of no device. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { rolloutSimulation } from '../../../shared/contract/rollouts.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';

test('says for each defect how many devices it reaches, and how often a good version is stopped', async (t) => {
  const hub = await startHubProgram(t);
  const at = ['--hub', hub.url, '--key', hub.key];
  const simulate = async (test: TestContext, ...args: string[]) => {
    const program = outrider(test, ['rollout', 'simulate', ...args, ...at]);
    const { code } = await program.exited;
    return { code, output: program.output() };
  };
  const short = ['words', '--devices', '20', '--rate', '60', '--runs', '3'];
  const bad = ['--slower', '3', '--crash', '100%', '--memory', '4'];

  const { code, output } = await simulate(t, ...short, ...bad, '--stages', '1,50%,100%');
  assert.equal(code, 0, output);
  assert.match(output, /^20 devices, made up by what is assumed, as no device has told of it: 10 % /m);
  // One of them may still be waiting after a month: devices differ.
  assert.match(output, /^no worse +3 +0 +[23] +[01] +20 /m);
  assert.match(output, /^3 times as slow +3 +3 +0 +0 +1 .* latencyP95/m);
  assert.match(output, /^crashes on 100% of the devices +3 +3 +0 +0 +1 .* crashes/m);
  assert.match(output, /^4 times the memory +3 +3 +0 +0 +1 .* memory/m);

  const again = await simulate(t, ...short, '--error-rise', '0.2', '--min-answers', '500', '--json');
  const found = rolloutSimulation.parse(JSON.parse(again.output));
  assert.deepEqual(
    found.outcomes.map(({ defect, halted }) => [defect, halted]),
    [
      [null, 0],
      ['errorRise', 3],
    ],
  );

  for (const [args, said] of [
    [['words', '--slower', 'fast'], /--slower takes a number, not fast.*USAGE/s],
    [['words', '--runs', '0'], /runs: .*USAGE/s],
    [['words', '--stages', '1,0%'], /stages.*USAGE/s],
    [['nothing'], /MODEL_UNKNOWN/],
  ] as const) {
    const refused = await simulate(t, ...args);
    assert.notEqual(refused.code, 0);
    assert.match(refused.output, said);
  }
});
