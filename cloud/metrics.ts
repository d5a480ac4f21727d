/** Every counter and histogram of the hub, in one table. */
import type { DeviceRecord, ModelRecord } from '../shared/contract/admin.ts';
import type { EvidenceSight, EvidenceStatus } from '../shared/contract/fleet-evidence.ts';
import type { RouteEvidence } from '../shared/contract/routing.ts';
import { routesOf } from '../shared/page/text.js';
import type { Clock } from '../shared/runtime/clock.ts';
import { createMetrics, type Metrics } from '../shared/runtime/metrics.ts';

/** Makes the hub’s metrics: one registry for the program. */
export const createHubMetrics = (): Metrics =>
  createMetrics({
    outrider_requests_total: {
      kind: 'counter',
      help: 'Requests of devices, by what became of them: answered, failed, refused, repeated, malformed',
      labels: ['model', 'outcome'],
    },
    outrider_request_seconds: {
      kind: 'histogram',
      help: 'From a request’s arrival to its reply',
      labels: ['model'],
    },
    outrider_model_failures_total: {
      kind: 'counter',
      help: 'Requests that a model could not answer, over MQTT and HTTP, by error code',
      labels: ['model', 'code'],
    },
    outrider_batches_total: {
      kind: 'counter',
      help: 'Runs of a model’s graph, each of one batch',
      labels: ['model'],
    },
    outrider_batched_requests_total: {
      kind: 'counter',
      help: 'Requests in these batches',
      labels: ['model'],
    },
    outrider_inference_seconds: {
      kind: 'histogram',
      help: 'Inference of one request, its share of a batch',
      labels: ['model'],
    },
    outrider_provider_fallbacks_total: {
      kind: 'counter',
      help: 'Times that a model went on without the execution provider that it had, by that provider',
      labels: ['provider'],
    },
    outrider_engine_requests_total: {
      kind: 'counter',
      help: 'Requests to engines on other servers, by error code; ok where they were answered',
      labels: ['model', 'code'],
    },
    outrider_engine_retries_total: {
      kind: 'counter',
      help: 'Requests to engines on other servers that were asked again',
      labels: ['model'],
    },
    outrider_engine_fallbacks_total: {
      kind: 'counter',
      help: 'Requests that a model of the hub has answered in the place of an engine on another server',
      labels: ['model'],
    },
    outrider_link_bytes_total: {
      kind: 'counter',
      help: 'Payload bytes over the link, by direction and purpose',
      labels: ['direction', 'purpose'],
    },
    outrider_deltas_total: {
      kind: 'counter',
      help: 'Differences between versions, by what became of them: made, too-large, failed',
      labels: ['outcome'],
    },
    outrider_captures_total: {
      kind: 'counter',
      help: 'Inputs that devices let the hub keep, by what became of them: kept; not kept: duplicate, near-duplicate, full (it teaches less than all that is there), too-large, busy, revoked, failed; gone again: evicted, expired, erased',
      labels: ['outcome'],
    },
    outrider_trainings_total: {
      kind: 'counter',
      help: 'Trainings that have ended, by how: done, failed, cancelled, interrupted',
      labels: ['outcome'],
    },
    outrider_http_requests_total: {
      kind: 'counter',
      help: 'HTTP requests, by route and status',
      labels: ['route', 'status'],
    },
  });

/** Gauges of the promises that devices keep, as they last reported; ratios are 0..1. */
const DEVICE_ROUTE_GAUGES: Readonly<
  Record<string, readonly [help: string, of: (evidence: RouteEvidence) => number | null]>
> = {
  outrider_device_promised_agreement_ratio: [
    'Agreement with the cloud that a pipeline promises',
    ({ agreement }) => agreement,
  ],
  outrider_device_estimated_agreement_ratio: [
    'Agreement so far, estimated from audits',
    ({ estimated }) => estimated?.agreement ?? null,
  ],
  outrider_device_agreement_bound_ratio: [
    'What the agreement so far was at least, with the confidence of the promise',
    ({ estimated }) => estimated?.atLeast ?? null,
  ],
  outrider_device_escalated_ratio: [
    'Share of the eligible requests that were asked, by score or by lot',
    ({ counts: { eligible, escalated, audited } }) =>
      eligible === 0 ? null : (escalated + audited) / eligible,
  ],
  outrider_device_saved_requests: ['Requests that the hub was spared', ({ saved }) => saved.requests],
  outrider_device_route_alarms: ['Alarms of drift since this pair of models answers', ({ alarms }) => alarms],
};

/** Adds what versions of models take on the hub's disk, and how many there are. */
export function showModelDisk(
  metrics: Metrics,
  models: () => readonly Pick<ModelRecord, 'name' | 'storedBytes' | 'versions'>[],
): void {
  const each = (of: (model: Pick<ModelRecord, 'storedBytes' | 'versions'>) => number) => () =>
    models().map((model) => [{ model: model.name }, of(model)] as const);
  metrics.gauges(
    'outrider_model_disk_bytes',
    'What the versions of a model take on the hub’s disk; files that several have are counted once',
    ['model'],
    each(({ storedBytes }) => storedBytes),
  );
  metrics.gauges(
    'outrider_model_versions',
    'Versions of a model that the hub keeps',
    ['model'],
    each(({ versions }) => versions.length),
  );
}

/** Adds how much there is of what devices have told, of versions and of pairs of models. */
export function showEvidence(metrics: Metrics, status: () => EvidenceStatus, clock: Clock): void {
  const each = (of: (sight: EvidenceSight) => number | null) => () => {
    const { versions, pairs } = status();
    return Object.entries({ versions, pairs }).flatMap(
      ([about, sight]): [Record<string, string>, number][] => {
        const value = of(sight);
        return value === null ? [] : [[{ about }, value]];
      },
    );
  };
  metrics.gauges(
    'outrider_evidence_devices',
    'Devices whose word counts, about versions (rollouts) and about pairs of models (starts of new devices)',
    ['about'],
    each(({ devices }) => devices),
  );
  metrics.gauges(
    'outrider_evidence_oldest_age_seconds',
    'Age of the oldest word of a device that counts',
    ['about'],
    each(({ oldestAtMs }) => oldestAtMs && Math.max(0, clock.nowAtMs() - oldestAtMs) / 1000),
  );
}

/** Adds the gauges of all devices, read at each scrape. */
export function showDeviceRoutes(metrics: Metrics, devices: () => readonly DeviceRecord[]): void {
  for (const [name, [help, of]] of Object.entries(DEVICE_ROUTE_GAUGES))
    metrics.gauges(name, help, ['device', 'pipeline'], () =>
      devices()
        .flatMap(routesOf)
        .map(({ route, ...where }) => [where, of(route)] as const),
    );
}
