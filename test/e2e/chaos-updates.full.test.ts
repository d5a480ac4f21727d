/** A few kills while versions are rolled out: every device answers by whole versions, and every rollout is as somebody wanted it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toText } from '../chaos/updates/report.ts';
import { isWell, runUpdateChaos } from '../chaos/updates/run.ts';

test('kills of devices, hub and broker leave no device without a model, no version half applied, no rollout astray', async (t) => {
  const report = await runUpdateChaos({
    kills: 5,
    // Another one each time; the report says which, so that a failure can be had again.
    seed: Date.now() % 2 ** 32,
    devices: 2,
    keep: false,
    onProgress: () => undefined,
    signal: t.signal,
  });
  console.log(toText(report));
  assert.deepEqual(report.deaths, []);
  assert.ok(isWell(report));
  const committed = Object.values(report.said).reduce((sum, { switched }) => sum + switched, 0);
  assert.ok(committed >= 4, 'each device has come to the last version of both models');
});
