import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evidenceStatus } from '../../../../shared/contract/fleet-evidence.ts';
import { EVIDENCE } from '../../../support/fleet-evidence.ts';
import { asker, assertProblem, startHubApi } from '../../../support/hub-api.ts';

test('says of how many devices there is evidence, to who may administer', async (t) => {
  const hub = await startHubApi();
  t.after(() => hub.stop());
  const ask = asker(hub);
  const response = await ask('GET', '/api/v1/evidence');
  assert.deepEqual([response.status, evidenceStatus.parse(await response.json())], [200, EVIDENCE]);
  await assertProblem(await ask('GET', '/api/v1/evidence', { key: hub.inferKey }), 403, 'FORBIDDEN');
});
