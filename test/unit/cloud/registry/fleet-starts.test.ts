import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FleetPromise } from '../../../../cloud/ports.ts';
import { desired, type Reported } from '../../../../shared/contract/messages.ts';
import type { RouteEvidence } from '../../../../shared/contract/routing.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';
import { PAIR } from '../../../support/fleet-evidence.ts';
import { PublishingHub } from '../../../support/publishing-hub.ts';
import { startedRouter } from '../../../support/routing.ts';

const START = {
  ...PAIR,
  thresholds: [
    {
      ...{ agreement: 0.98, confidence: 0.95, threshold: 1, escalated: 0.2 },
      ...{ standing: 'few' as const, devices: 4, requests: 9_000 },
    },
  ],
};
const LEARNING: RouteEvidence = { ...startedRouter({}, null).status(), edgeDigest: EDGE_MODEL.digest };

test('a device whose router knows nothing yet is told what it may start from, and no other', async (t) => {
  const hub = await PublishingHub.open();
  t.after(() => hub.close());
  const asked: (readonly FleetPromise[])[] = [];
  hub.fleet = {
    startsFor: (promises) => {
      asked.push(promises);
      return promises.length > 0 ? [START] : [];
    },
  };
  await hub.push('words', 'a');
  await hub.start();
  await hub.addDevice('gate-01', 'words');
  const cloud = hub.registry.models.resolve('words').ref;
  const startsOf = (route: Partial<RouteEvidence>, change: Partial<Reported['pipelines'][number]> = {}) => {
    hub.registry.devices.reported('gate-01', {
      agentVersion: '0.1.0',
      pipelines: [
        {
          ...{ name: 'a', task: 'text-classification', edge: EDGE_MODEL, cloud: 'words' },
          route: { ...LEARNING, ...route },
          ...change,
        },
      ],
    });
    const told = hub.registry.desired.of('gate-01');
    assert.deepEqual(desired.parse(told), told);
    return told?.starts;
  };
  assert.deepEqual(startsOf({}), [START]);
  assert.deepEqual(asked.at(-1), [
    { edgeDigest: EDGE_MODEL.digest, cloudDigest: cloud.digest, agreement: 0.98, confidence: 0.95 },
  ]);
  assert.deepEqual(
    startsOf({ basis: 'certificate', source: 'fleet' }),
    [START],
    'it follows what the fleet says',
  );
  const label = {
    basis: 'learning',
    threshold: null,
    evidence: 0,
    auditShare: 1,
    reachable: null,
    label: 'a',
  } as const;
  for (const route of [
    { basis: 'evidence' },
    { basis: 'drift' },
    { basis: 'none' },
    { basis: 'certificate', source: 'version' },
    { basis: 'certificate' },
    { scope: 'local' },
    { labels: [label] },
    { agreement: 1 },
    { confidence: 0 },
  ] as const)
    assert.equal(startsOf({ ...route } as Partial<RouteEvidence>), undefined, JSON.stringify(route));
  assert.equal(startsOf({}, { edge: null }), undefined);
  assert.equal(startsOf({}, { cloud: null }), undefined);
  assert.equal(startsOf({}, { cloud: 'unknown' }), undefined);
  assert.equal(startsOf({}, { route: undefined }), undefined, 'an older agent says nothing of its router');
});
