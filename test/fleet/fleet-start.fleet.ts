/** The fourth device of a fleet does not ask about everything: it starts from what the other three have seen, and says so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFleet } from '../support/fleet.ts';
import { eventually } from '../support/programs.ts';

const ROUTE = '{ agreement: 0.9, confidence: 0.95 }';
const FIRST = ['gate-1', 'gate-2', 'gate-3'];

test('a new device starts from the evidence of the fleet, and a revoked device takes its word with it', async (t) => {
  const fleet = await startFleet(t, FIRST, { route: ROUTE });
  const basesOf = async () =>
    Object.fromEntries(
      (await fleet.devices()).map(({ id, reported }) => {
        const route = reported?.pipelines[0]?.route;
        return [id, route && `${route.basis} ${route.source ?? ''}`.trim()];
      }),
    );
  await eventually(
    async () => (await fleet.evidence()).pairs.devices === FIRST.length,
    'the hub has not heard of three devices',
    180_000,
  );
  assert.match((await fleet.run('doctor')).said, /of 1 pair of models by 3 devices/);
  await fleet.startAgent('gate-4');
  await eventually(
    async () => (await basesOf())['gate-4'] === 'certificate fleet',
    'the fourth device was not started',
    120_000,
  );
  for (const id of FIRST) assert.equal((await basesOf())[id], 'evidence', 'they had to learn it themselves');
  const listed = await fleet.run('route', 'ls');
  assert.match(listed.said, /certificate of the fleet: 3 devices, [\d,]+ requests/);

  const revoked = await fleet.run('devices', 'revoke', 'gate-1');
  assert.equal(revoked.code, 0, revoked.said);
  assert.match((await fleet.run('doctor')).said, /by [23] devices/);
});
