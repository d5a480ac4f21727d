import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FleetStart, FleetThreshold } from '../../../../shared/contract/fleet-evidence.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { CLOUD_MODEL, EDGE_MODEL } from '../../../support/fixed.ts';
import { PAIR } from '../../../support/fleet-evidence.ts';
import { answered, CERTIFICATE, question, routerWith } from '../../../support/routing.ts';

const THRESHOLD: FleetThreshold = {
  ...{ agreement: 0.98, confidence: 0.95, threshold: 1.5, escalated: 0.25 },
  ...{ standing: 'devices', devices: 21, requests: 40_000 },
};
const startWith = (change: Partial<FleetThreshold> = {}): FleetStart => ({
  ...PAIR,
  thresholds: [{ ...THRESHOLD, ...change }],
});
type Options = Parameters<typeof routerWith>[0];

/** A router that knows both models, and has no certificate. */
function bare(
  options: Options = {},
  state?: Parameters<typeof routerWith>[1],
  certificate?: typeof CERTIFICATE,
) {
  const router = routerWith({ random: seededRandom(3).next, ...options }, state);
  router.cloudModelSeen(CLOUD_MODEL);
  router.edgeModelSeen(EDGE_MODEL.digest, certificate);
  return router;
}

/** So many requests whose local answers are wrong as often as `wrong` says, from a score on. */
function see(router: ReturnType<typeof bare>, requests: number, wrong = 0, seed = 1) {
  const { next } = seededRandom(seed);
  for (let index = 0; index < requests; index++) {
    const id = `${seed}-${index}`;
    const route = router.choose(id, question({ routeScore: 6 * next() - 1 }));
    const isAsked = route.to === 'cloud' || route.audit;
    if (isAsked) router.settle(id, EDGE_MODEL.digest, answered(next() < wrong ? 1 : 0));
  }
}

test('starts from what the fleet has seen, says so, and audits a quarter of what it keeps', () => {
  const router = bare();
  assert.deepEqual([router.status().basis, router.status().threshold], ['learning', null]);
  router.fleetStartsSeen([startWith()]);
  const { basis, source, devices, evidence, threshold, auditShare } = router.status();
  assert.deepEqual(
    { basis, source, devices, evidence, threshold, auditShare },
    {
      basis: 'certificate',
      source: 'fleet',
      devices: 21,
      evidence: 40_000,
      threshold: 1.5,
      auditShare: 0.25,
    },
  );
  const quiet = bare({ random: () => 0.9 });
  quiet.fleetStartsSeen([startWith()]);
  assert.deepEqual(quiet.choose('1', question({ routeScore: 1.5 })), {
    to: 'edge',
    reason: 'confident',
    audit: false,
  });
  assert.deepEqual(quiet.choose('2', question({ routeScore: 1.4 })).reason, 'uncertain');
});

test('its own evidence takes over as after any start, and a drift takes the start back', () => {
  const good = bare();
  good.fleetStartsSeen([startWith()]);
  see(good, 3_000);
  assert.equal(good.status().basis, 'evidence');
  assert.equal(good.status().source, undefined);
  good.fleetStartsSeen([]);
  assert.equal(good.status().basis, 'evidence', 'that the hub says nothing any more changes nothing');

  const alarms: string[] = [];
  const bad = bare({ onAlarm: ({ kind }) => alarms.push(kind) });
  bad.fleetStartsSeen([startWith()]);
  for (let seed = 10; alarms.length === 0 && seed < 60; seed++) see(bad, 10, 0.6, seed);
  assert.deepEqual([alarms[0], bad.status().basis, bad.status().threshold], ['disagreement', 'drift', null]);
  bad.fleetStartsSeen([startWith({ threshold: 1 })]);
  assert.deepEqual(
    [bad.status().basis, bad.status().threshold],
    ['drift', null],
    'what the others see is not what it sees',
  );
});

test('takes the weakest threshold that covers its promise, and none for another promise', () => {
  const router = bare();
  router.fleetStartsSeen([
    {
      ...PAIR,
      thresholds: [
        { ...THRESHOLD, agreement: 0.995, threshold: 3 },
        { ...THRESHOLD, agreement: 0.98, threshold: 2 },
        { ...THRESHOLD, agreement: 0.97, threshold: 1 },
        { ...THRESHOLD, confidence: 0.9, threshold: 0 },
      ],
    },
  ]);
  assert.equal(router.status().threshold, 2);
  for (const goal of [
    { agreement: 0.98, confidence: 0.95, scope: 'local', perLabel: false },
    { agreement: 0.98, confidence: 0.95, scope: 'all', perLabel: true },
    { agreement: 0.99, confidence: 0.95, scope: 'all', perLabel: false },
    { agreement: 0.98, confidence: 0.99, scope: 'all', perLabel: false },
  ] as const) {
    const other = bare({ goal });
    other.fleetStartsSeen([startWith()]);
    assert.equal(other.status().basis, 'learning', JSON.stringify(goal));
  }
});

test('takes none of another pair, another way of comparing, or where it is to learn by itself', () => {
  const other = 'c'.repeat(64);
  for (const change of [{ edgeDigest: other }, { cloudDigest: other }, { comparedBy: 'f'.repeat(16) }]) {
    const router = bare();
    router.fleetStartsSeen([{ ...startWith(), ...change }]);
    assert.equal(router.status().basis, 'learning', JSON.stringify(change));
  }
  const alone = bare({ start: 'learn' });
  alone.fleetStartsSeen([startWith()]);
  assert.equal(alone.status().basis, 'learning');
});

test('another cloud version takes the start away, and finds the one that is about it', () => {
  const router = bare();
  const next = { ...CLOUD_MODEL, digest: 'd'.repeat(64) };
  router.fleetStartsSeen([startWith(), { ...startWith({ threshold: 2.5 }), cloudDigest: next.digest }]);
  assert.equal(router.status().threshold, 1.5);
  router.cloudModelSeen(next);
  assert.equal(router.status().threshold, 2.5);
  router.cloudModelSeen({ ...CLOUD_MODEL, digest: 'e'.repeat(64) });
  assert.deepEqual([router.status().basis, router.status().threshold], ['learning', null]);
});

test('the certificate of the version goes first', () => {
  const router = bare({}, undefined, CERTIFICATE);
  router.fleetStartsSeen([startWith()]);
  assert.deepEqual([router.status().source, router.status().threshold], ['version', 2]);
  const uncovered = bare(
    { goal: { agreement: 0.99, confidence: 0.95, scope: 'all', perLabel: false } },
    undefined,
    CERTIFICATE,
  );
  uncovered.fleetStartsSeen([startWith({ agreement: 0.99 })]);
  assert.equal(uncovered.status().source, 'fleet', 'it says nothing of 99 %');
});

test('follows what the fleet says while it stands on that, and goes on learning where it says nothing any more', () => {
  const router = bare();
  router.fleetStartsSeen([startWith()]);
  see(router, 400);
  router.fleetStartsSeen([startWith({ threshold: 1.2 })]);
  assert.equal(router.status().threshold, 1.2);
  const again = bare({}, router.state);
  assert.deepEqual([again.status().source, again.status().threshold], ['fleet', 1.2], 'over a restart');
  again.fleetStartsSeen([startWith({ threshold: 1.1 })]);
  assert.equal(again.status().threshold, 1.1);
  again.fleetStartsSeen([]);
  assert.deepEqual([again.status().basis, again.status().threshold], ['learning', null]);
  again.fleetStartsSeen([startWith()]);
  assert.equal(again.status().basis, 'learning', 'it has seen 400 by itself by now');
});

test('one that has learned for long is not started any more: it may know better', () => {
  const router = bare();
  see(router, 200, 0.5);
  router.fleetStartsSeen([startWith()]);
  assert.equal(router.status().basis, 'learning');
});

test('has the sums for others: what it has seen of this pair since its world changed', () => {
  const router = bare();
  assert.equal(routerWith().fleetEvidence, undefined, 'of no pair');
  see(router, 250, 0.1);
  const told = router.fleetEvidence ?? assert.fail('there are none');
  const { edgeDigest, cloudDigest, comparedBy, requests, asked, loss, places, twentieths } = told;
  assert.deepEqual({ edgeDigest, cloudDigest, comparedBy }, PAIR);
  assert.deepEqual([requests, asked], [250, 250]);
  assert.ok(loss > 5 && loss < 60);
  assert.equal(
    places.reduce((sum, [, one]) => sum + one, 0),
    loss,
  );
  assert.deepEqual(
    twentieths,
    twentieths.toSorted((one, other) => other - one),
  );
  assert.deepEqual(bare({}, router.state).fleetEvidence, told, 'over a restart');

  const drifting = bare();
  drifting.fleetStartsSeen([startWith()]);
  see(drifting, 400, 0.4, 2);
  assert.equal(drifting.status().alarms, 1);
  assert.ok((drifting.fleetEvidence?.requests ?? 400) < 400, 'what was before the drift is gone');
});

test('an answer that never came is a whole disagreement for others, too', () => {
  const router = bare();
  router.choose('1', question({ routeScore: 2 }));
  router.settle('1', EDGE_MODEL.digest, { kind: 'failed' });
  assert.deepEqual([router.fleetEvidence?.asked, router.fleetEvidence?.loss], [1, 1]);
});
