/** Which captures are meant, and their sums. Pure. */
import type { CaptureFilter, CaptureRecord, CaptureSummary } from '../../shared/contract/captures.ts';
import type { Held } from './record.ts';

/** Whether all that is asked for holds. */
export function matches(record: CaptureRecord, filter: CaptureFilter): boolean {
  const { device, pipeline, model, why, disagree, since, until } = filter;
  const { edge, cloud, loss } = record;
  return (
    (device === undefined || record.deviceId === device) &&
    (pipeline === undefined || record.pipeline === pipeline) &&
    (model === undefined || edge.model?.name === model || cloud.model.name === model) &&
    (why === undefined || record.why === why) &&
    (disagree === undefined || (disagree === 'true' ? loss !== null && loss > 0 : loss === 0)) &&
    (since === undefined || record.atMs >= since) &&
    (until === undefined || record.atMs < until)
  );
}

type Sums = Pick<
  CaptureSummary,
  'kept' | 'bytes' | 'disagreeing' | 'samples' | 'oldestAtMs' | 'newestAtMs' | 'pipelines'
>;

/** Sums of those that are meant, in all and by pipeline. */
export function summaryOf(all: Iterable<Held>, filter: CaptureFilter): Sums {
  const sums: Sums = {
    kept: 0,
    bytes: 0,
    disagreeing: 0,
    samples: 0,
    oldestAtMs: null,
    newestAtMs: null,
    pipelines: [],
  };
  const places = new Map<string, Sums['pipelines'][number]>();
  for (const { record, lineBytes } of all) {
    if (!matches(record, filter)) continue;
    const { pipeline, task, atMs } = record;
    const key = `${pipeline}/${task}`;
    const place = places.get(key) ?? { pipeline, task, kept: 0, bytes: 0, disagreeing: 0, samples: 0 };
    places.set(key, place);
    for (const sum of [sums, place]) {
      sum.kept++;
      sum.bytes += record.input.bytes + lineBytes;
      if (record.loss !== null && record.loss > 0) sum.disagreeing++;
      if (record.isSample) sum.samples++;
    }
    sums.oldestAtMs = Math.min(sums.oldestAtMs ?? atMs, atMs);
    sums.newestAtMs = Math.max(sums.newestAtMs ?? atMs, atMs);
  }
  sums.pipelines = [...places.values()].sort((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
  return sums;
}
