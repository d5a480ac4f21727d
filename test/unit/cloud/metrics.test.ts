import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHubMetrics, showDeviceRoutes } from '../../../cloud/metrics.ts';
import type { DeviceRecord } from '../../../shared/contract/admin.ts';
import { reported } from '../../../shared/contract/messages.ts';
import { EDGE_MODEL } from '../../support/fixed.ts';
import { question, startedRouter } from '../../support/routing.ts';

const pipeline = (route: unknown) => ({
  name: 'vision',
  task: 'image-classification',
  edge: EDGE_MODEL,
  cloud: 'cloud-model',
  route,
});

function device(route: unknown): DeviceRecord {
  const state = reported.parse({ agentVersion: '1', pipelines: [pipeline(route)] });
  const seen = { online: true, lastSeenAtMs: 1, contestedAtMs: null, reported: state, telemetry: null };
  return { id: 'gate-01', enrolledAtMs: 1, labels: {}, expiresAtMs: null, ...seen };
}

test('the hub’s metrics say how devices stand by their promises', async () => {
  const router = startedRouter();
  for (let index = 0; index < 4; index++) router.choose(`${index}`, question({ routeScore: index }));
  const metrics = createHubMetrics();
  showDeviceRoutes(metrics, () => [device(router.status())]);
  const text = await metrics.text();
  assert.match(
    text,
    /outrider_device_promised_agreement_ratio\{device="gate-01",pipeline="vision"\} 0\.98\n/,
  );
  assert.match(text, /outrider_device_route_alarms\{device="gate-01",pipeline="vision"\} 0\n/);
});

test('evidence of a newer agent is passed over, and the rest of its report is not', async () => {
  const state = reported.parse({
    agentVersion: '9',
    pipelines: [pipeline({ ...startedRouter().status(), basis: 'oracle' })],
  });
  assert.equal(state.pipelines[0]?.route, undefined);
  assert.equal(state.pipelines[0]?.name, 'vision');
});
