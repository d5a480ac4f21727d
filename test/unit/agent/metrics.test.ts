import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentMetrics, showRoutes } from '../../../agent/metrics.ts';
import { EDGE_MODEL } from '../../support/fixed.ts';
import { answered, question, startedRouter } from '../../support/routing.ts';

test('what a router has to show stands in the metrics, by pipeline; what is not known is missing', async () => {
  const vision = startedRouter({ start: 'learn' });
  for (let index = 0; index < 10; index++) {
    vision.choose(`${index}`, question());
    vision.settle(`${index}`, EDGE_MODEL.digest, answered(0));
  }
  const metrics = createAgentMetrics();
  showRoutes(metrics, new Map([['vision', vision]]));
  const text = await metrics.text();
  for (const line of [
    'outrider_route_promised_agreement_ratio{pipeline="vision"} 0.98',
    'outrider_route_audit_share_ratio{pipeline="vision"} 1',
    'outrider_route_requests{pipeline="vision",what="escalated"} 10',
    'outrider_route_requests{pipeline="vision",what="answered"} 10',
    'outrider_route_requests{pipeline="vision",what="expired"} 0',
  ])
    assert.ok(text.includes(`${line}\n`), line);
  assert.doesNotMatch(text, /outrider_route_threshold_score\{/);
  assert.doesNotMatch(text, /outrider_route_saved_money\{/);
});
