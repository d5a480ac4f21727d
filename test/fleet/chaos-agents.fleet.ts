/** A few kills while versions of the agent itself are rolled out: every device has an agent that starts, and every rollout is as somebody wanted it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toText } from '../chaos/agents/report.ts';
import { isWell, runAgentChaos } from '../chaos/agents/run.ts';

test('kills of agents, of root’s part of their updates, of hub and broker leave no device without an agent, no version half applied', async (t) => {
  const report = await runAgentChaos({
    kills: 8,
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
  assert.ok((report.rootRuns['exit 0'] ?? 0) >= 2, 'each device has come to the last version');
});
