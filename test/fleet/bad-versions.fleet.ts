/** Ten real agents and a canary of one: whatever is bad about a version, it reaches one device, which goes back. `npm run test:fleet`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODEL, startFleet } from '../support/fleet.ts';
import { eventually } from '../support/programs.ts';

const QUICK = ['--min-time', '15s', '--min-answers', '50'];

/** Ways in which a version that was published by mistake is bad, and by what each is found. */
const BAD = [
  ['hangs', /crashes: .*taken back/, /RUNNER_TIMEOUT/],
  ['hungry', /crashes: .*taken back/, /RUNNER_(CRASHED|TIMEOUT)/],
  ['slow', /crashes: .*taken back|latencyP95: /, /MODEL_TOO_SLOW|latencyP95/],
  ['greedy', /memory: takes /, /memory/],
  ['leaning', /agreement: disagrees/, /agreement/],
] as const;

test('of ten devices a bad version reaches one, whatever is bad about it, and no input is lost', async (t) => {
  const ids = Array.from({ length: 10 }, (_, index) => `gate-${index}`);
  const fleet = await startFleet(t, ids, { paceMs: 100 });
  let number = 1;
  for (const [fixture, gate, why] of BAD) {
    const pushed = await fleet.run('models', 'push', await fleet.version(fixture), '--no-wait');
    assert.equal(pushed.code, 0, pushed.said);
    number++;
    const refused = await fleet.run(
      ...['rollout', 'start', `${MODEL}@${number}`, '--stages', '1,50%,100%', ...QUICK],
      ...['--gate', 'agreement=0.05', '--gate', 'latencyP95=2', '--confidence', '0.8', '--wait', '400'],
    );
    assert.equal(refused.code, 1, refused.said);
    assert.match(refused.said, gate);
    const rollout = await fleet.rollout();
    const reached = await fleet.rolloutDevices(rollout?.id ?? '');
    assert.deepEqual([rollout?.version, rollout?.state], [String(number), 'rolled-back']);
    assert.equal(reached.length, 1, `${fixture} reached ${reached.join(', ')}`);
    assert.match((await fleet.run('rollout', 'show', rollout?.id ?? '')).said, why);
    await eventually(
      async () => Object.values(await fleet.versions()).every((version) => version === '1'),
      `${reached[0]} did not go back from ${fixture}`,
    );
  }
  const ofFirst = (await fleet.devices()).map(({ telemetry }) =>
    telemetry?.versions?.filter(({ model }) => model.version === '1').map(({ failures }) => failures),
  );
  assert.deepEqual(
    ofFirst,
    ids.map(() => [0]),
    'what the new version could not answer, the old one did',
  );
});
