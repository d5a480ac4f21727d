/** A version brought to a fleet in stages, as an operator types it: a good one goes to everybody, one that is a little wrong to nobody but the canary. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODEL, startFleet } from '../support/fleet.ts';
import { eventually } from '../support/programs.ts';

const IDS = ['gate-1', 'gate-2', 'gate-3'];
const QUICK = ['--min-time', '1s', '--min-answers', '50'];

test('a good version passes its stages; a wrong one is taken back from its canary, and reached nobody else', async (t) => {
  const fleet = await startFleet(t, IDS, {
    labels: (id) => ({ site: id === 'gate-3' ? 'south' : 'north' }),
  });
  const labelled = await fleet.run('devices', 'label', 'gate-1', 'ring=beta');
  assert.equal(labelled.code, 0, labelled.said);
  assert.match((await fleet.run('devices', 'ls')).said, /gate-1 .*ring=beta, site=north/);

  const pushed = await fleet.run('models', 'push', await fleet.version('colours'), '--no-wait');
  assert.equal(pushed.code, 0, pushed.said);
  assert.deepEqual(await fleet.versions(), { 'gate-1': '1', 'gate-2': '1', 'gate-3': '1' });
  const north = await fleet.run(
    ...['rollout', 'start', `${MODEL}@2`, '--to', 'site=north', '--stages', '1,100%', ...QUICK],
    ...['--gate', 'agreement=0.2', '--gate', 'latencyP95=5', '--confidence', '0.8', '--wait', '600'],
  );
  assert.equal(north.code, 0, north.said);
  assert.match(north.said, /seer@2 is running, stage 1 of 2, 1 of 2 devices/);
  assert.match(north.said, /seer@2 is done/);
  assert.match(
    north.said,
    /the gate escalation will have nothing to say: a router counts from 5,000 requests/,
  );
  await eventually(
    async () => Object.values(await fleet.versions()).every((version) => version === '2'),
    'what is done is deployed, to all',
  );
  const shown = await fleet.run('rollout', 'show', MODEL);
  assert.match(shown.said, /agreement +(passed|unmeasured)/, shown.said);
  assert.match(shown.said, /started/);
  assert.match(shown.said, /stage 2 of 2/);

  const wrong = await fleet.run('models', 'push', await fleet.version('leaning'), '--no-wait');
  assert.equal(wrong.code, 0, wrong.said);
  const refused = await fleet.run(
    ...['rollout', 'start', `${MODEL}@3`, '--stages', '1,100%', ...QUICK, '--note', 'retrained'],
    ...['--gate', 'agreement=0.05', '--gate', 'latencyP95=5', '--confidence', '0.8', '--wait', '600'],
  );
  assert.equal(refused.code, 1, refused.said);
  assert.match(
    refused.said,
    /seer@3 is rolled-back: agreement: disagrees with the cloud in .*\(ROLLOUT_FAILED\)/,
  );
  const rollout = await fleet.rollout();
  assert.deepEqual([rollout?.state, rollout?.stage], ['rolled-back', 0]);
  assert.equal((await fleet.rolloutDevices(rollout?.id ?? '')).length, 1, 'a canary, and nobody else');
  await eventually(
    async () => Object.values(await fleet.versions()).every((version) => version === '2'),
    'the canary did not go back',
  );
  const listed = await fleet.run('rollout', 'ls');
  assert.match(listed.said, /seer@3 +rolled-back +1 of 2/);
  assert.match(listed.said, /seer@2 +done/);
});
