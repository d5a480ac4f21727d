/** Every counter and histogram of the agent, in one table. */
import type { DiskStatus } from '../shared/contract/disk-status.ts';
import type { FeedStatus } from '../shared/contract/feed-status.ts';
import type { RouteEvidence } from '../shared/contract/routing.ts';
import type { SinkStatus } from '../shared/contract/sink-status.ts';
import { createMetrics, type Metrics } from '../shared/runtime/metrics.ts';

const PIPELINE = ['pipeline'] as const;

/** Makes the agent’s metrics: one registry for the program. */
export const createAgentMetrics = (): Metrics =>
  createMetrics({
    outrider_inputs_total: { kind: 'counter', help: 'Inputs accepted by a pipeline', labels: PIPELINE },
    outrider_results_total: {
      kind: 'counter',
      help: 'Results given out, by source and reason',
      labels: ['pipeline', 'source', 'reason', 'provisional'],
    },
    outrider_failures_total: {
      kind: 'counter',
      help: 'Inputs that failed, by error code',
      labels: ['pipeline', 'code'],
    },
    outrider_edge_failures_total: {
      kind: 'counter',
      help: 'Inputs that the local model could not answer, by error code; the cloud may have',
      labels: ['pipeline', 'code'],
    },
    outrider_inference_seconds: { kind: 'histogram', help: 'Local inference, by pipeline', labels: PIPELINE },
    outrider_first_result_seconds: {
      kind: 'histogram',
      help: 'From acceptance to the first result',
      labels: PIPELINE,
    },
    outrider_escalations_total: {
      kind: 'counter',
      help: 'Requests accepted for the cloud, by reason',
      labels: ['pipeline', 'reason'],
    },
    outrider_escalations_ended_total: {
      kind: 'counter',
      help: 'How requests for the cloud ended: answered, failed, expired, dropped',
      labels: ['pipeline', 'outcome'],
    },
    outrider_round_trip_seconds: { kind: 'histogram', help: 'From publish to reply', labels: [] },
    outrider_uplink_bytes_total: {
      kind: 'counter',
      help: 'Bytes over the link: payloads by pipeline and purpose, and what the transport took besides as overhead',
      labels: ['direction', 'purpose', 'pipeline'],
    },
    outrider_update_saved_bytes_total: {
      kind: 'counter',
      help: 'Bytes of new versions that did not come over the link, because of what was here',
      labels: ['model'],
    },
    outrider_update_deltas_total: {
      kind: 'counter',
      help: 'Differences between versions, by what became of them: applied, refused',
      labels: ['model', 'outcome'],
    },
    outrider_shrunk_bytes_total: {
      kind: 'counter',
      help: 'Bytes saved by bringing pictures to what the cloud model can use',
      labels: PIPELINE,
    },
    outrider_uplink_republished_total: {
      kind: 'counter',
      help: 'Requests published again for want of a reply',
      labels: [],
    },
    outrider_dead_letters_total: {
      kind: 'counter',
      help: 'Requests that were given up and kept, by error code',
      labels: ['pipeline', 'code'],
    },
    outrider_dead_letters_dropped_total: {
      kind: 'counter',
      help: 'Dead letters that are no longer kept: over the cap, given back for the quota, or no room on the disk',
      labels: ['reason'],
    },
    outrider_disk_given_back_bytes_total: {
      kind: 'counter',
      help: 'Bytes given back for want of room, by what they were of',
      labels: ['kind'],
    },
    outrider_feed_dropped_total: {
      kind: 'counter',
      help: 'Inputs that a feed gave up, by reason',
      labels: ['pipeline', 'reason'],
    },
    outrider_sink_dead_letters_total: {
      kind: 'counter',
      help: 'Results that a sink did not take, and that are kept among the dead letters',
      labels: ['sink'],
    },
    outrider_sink_lost_total: {
      kind: 'counter',
      help: 'Results that a sink did not take, and for which the dead letters had no room either, by reason',
      labels: ['sink', 'reason'],
    },
    outrider_sink_results_total: {
      kind: 'counter',
      help: 'What became of the Results of each sink: delivered, refused (and tried again), dead-lettered, lost, dropped for a bound',
      labels: ['pipeline', 'sink', 'type', 'outcome'],
    },
    outrider_updates_total: {
      kind: 'counter',
      help: 'Model updates that have ended: committed or rolled-back',
      labels: ['model', 'outcome'],
    },
    outrider_route_alarms_total: {
      kind: 'counter',
      help: 'Epochs that the router has ended, because the promise looked broken or the inputs were others',
      labels: ['pipeline', 'kind'],
    },
    outrider_runner_replaced_total: {
      kind: 'counter',
      help: 'Runners that had grown, and were replaced between two inputs',
      labels: ['model'],
    },
    outrider_runner_restarts_total: {
      kind: 'counter',
      help: 'Runners that ended unexpectedly',
      labels: ['model'],
    },
  });

type OfRoute = (evidence: RouteEvidence) => number | null;

/** What each router has to show for its promise, read when somebody scrapes; ratios are 0..1. */
const ROUTE_GAUGES: Readonly<Record<string, readonly [help: string, of: OfRoute]>> = {
  outrider_route_promised_agreement_ratio: [
    'Agreement with the cloud that is promised',
    ({ agreement }) => agreement,
  ],
  outrider_route_estimated_agreement_ratio: [
    'Agreement so far, estimated from audits',
    ({ estimated }) => estimated?.agreement ?? null,
  ],
  outrider_route_agreement_bound_ratio: [
    'What the agreement so far was at least, with the confidence of the promise',
    ({ estimated }) => estimated?.atLeast ?? null,
  ],
  outrider_route_threshold_score: [
    'Lowest route score that stays local; missing while everything is asked',
    ({ threshold }) => threshold,
  ],
  outrider_route_audit_share_ratio: [
    'Share of what may stay local that is audited',
    ({ auditShare }) => auditShare,
  ],
  outrider_route_saved_requests: ['Requests that the cloud was spared', ({ saved }) => saved.requests],
  outrider_route_saved_bytes: ['Bytes that the link was spared', ({ saved }) => saved.bytes],
  outrider_route_saved_money: ['What was saved by the pipeline’s own prices', ({ saved }) => saved.money],
};

/** Registers the gauges of each pipeline’s router, read when somebody scrapes. */
export function showRoutes(
  metrics: Metrics,
  routers: ReadonlyMap<string, { status(): RouteEvidence }>,
): void {
  for (const [name, [help, of]] of Object.entries(ROUTE_GAUGES))
    metrics.gauges(name, help, PIPELINE, () =>
      Array.from(routers, ([pipeline, router]) => [{ pipeline }, of(router.status())] as const),
    );
  metrics.gauges(
    'outrider_route_requests',
    'Requests by what the router has made of them, since this pair of models answers',
    ['pipeline', 'what'],
    () =>
      Array.from(routers, ([pipeline, router]) =>
        Object.entries(router.status().counts).map(([what, count]) => [{ pipeline, what }, count] as const),
      ).flat(),
  );
}

/** Registers what each feed is doing, read when somebody scrapes. */
export function showFeeds(
  metrics: Metrics,
  states: { all(): Iterable<readonly [string, FeedStatus]> },
): void {
  metrics.gauges('outrider_feed_up', 'Whether the source of a feed is there', PIPELINE, () =>
    Array.from(states.all(), ([pipeline, { state }]) => [
      { pipeline },
      state === 'failed' || state === 'stalled' ? 0 : 1,
    ]),
  );
  metrics.gauges('outrider_feed_state', '1 for what a feed is doing now', ['pipeline', 'state'], () =>
    Array.from(states.all(), ([pipeline, { state }]) => [{ pipeline, state }, 1]),
  );
}

/** Registers what is kept on the disk, read when somebody scrapes. */
export function showDisk(metrics: Metrics, disk: { status(): DiskStatus }): void {
  metrics.gauges('outrider_disk_bytes', 'What the agent keeps on its disk, by kind', ['kind'], () =>
    disk.status().kinds.map(({ kind, bytes }) => [{ kind }, bytes]),
  );
  metrics.gauge(
    'outrider_disk_free_bytes',
    'What is free on the disk of the data folder',
    () => disk.status().freeBytes,
  );
  metrics.gauge(
    'outrider_disk_keep_free_bytes',
    'What is to stay free there',
    () => disk.status().keepFreeBytes,
  );
  metrics.gauges('outrider_disk_quota_bytes', 'What the agent may keep; missing without a quota', [], () => [
    [{}, disk.status().maxBytes],
  ]);
  metrics.gauge('outrider_disk_full_ratio', '1 while new requests are refused for want of room', () =>
    disk.status().isFull ? 1 : 0,
  );
}

/** Registers what each sink is doing, read when somebody scrapes. */
export function showSinks(
  metrics: Metrics,
  states: { all(): Iterable<readonly [string, SinkStatus]> },
): void {
  const of = (read: (status: SinkStatus) => number) => () =>
    Array.from(states.all(), ([pipeline, status]) => {
      const { name: sink, type } = status;
      return [{ pipeline, sink, type }, read(status)] as const;
    });
  const labels = ['pipeline', 'sink', 'type'];
  metrics.gauges(
    'outrider_sink_up',
    'Whether a sink takes what it is given',
    labels,
    of(({ state }) => (state === 'ready' ? 1 : 0)),
  );
  metrics.gauges(
    'outrider_sink_waiting_results',
    'Results that wait for a sink',
    labels,
    of(({ waiting }) => waiting),
  );
}
