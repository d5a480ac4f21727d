import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toldRoute } from '../../../agent/wiring/told-route.ts';
import { startedRouter } from '../../support/routing.ts';

test('a promise for each label tells the hub no label where nothing is shared', () => {
  const { basis, threshold, evidence, auditShare, reachable, ...route } = startedRouter().status();
  const standing = { basis, threshold, evidence, auditShare, reachable };
  const alarm = { kind: 'disagreement', label: 'tumour', atMs: 1, requests: 9, unanswered: 0 } as const;
  const seen = {
    ...{ ...route, ...standing, alarms: 1, lastAlarm: alarm },
    labels: ['healthy', 'tumour'].map((label) => ({ ...standing, label })),
  };
  const told = toldRoute('none', seen);
  assert.doesNotMatch(JSON.stringify(told), /healthy|tumour/);
  assert.deepEqual(
    [told.labels.map(({ label }) => label), told.lastAlarm?.label],
    [['label 1', 'label 2'], 'label 2'],
  );
  assert.deepEqual(toldRoute('results', seen), seen);
  assert.equal(toldRoute('none', { ...seen, lastAlarm: { ...alarm, label: null } }).lastAlarm?.label, null);
});
