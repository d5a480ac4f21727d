/** What one version has done on one device, or on several together, over all runs of the agent: sums of `VersionCounts`. */
import { LATENCY_PLACES, type VersionCounts } from '../../shared/contract/version-counts.ts';

/** Sums of counts; those of several devices are added up, and those until a moment taken away again. */
export interface VersionTotals
  extends Pick<VersionCounts, 'answers' | 'failures' | 'crashes' | 'judged' | 'routed'> {
  /** Answers by their time: one number for each place of LATENCY_ENDS_MS. */
  readonly times: readonly number[];
  /** The largest resident size; null: not measured. Of several devices it is of no use. */
  readonly memoryBytes: number | null;
}

/** Totals of nothing. */
export const NO_TOTALS: VersionTotals = {
  answers: 0,
  failures: 0,
  crashes: 0,
  times: new Array<number>(LATENCY_PLACES).fill(0),
  memoryBytes: null,
  judged: { requests: 0, asked: 0, loss: 0, squares: 0, weights: 0 },
  routed: { requests: 0, escalated: 0 },
};

/** Both together. */
export const plus = (one: VersionTotals, other: VersionTotals): VersionTotals =>
  combine(one, other, (a, b) => a + b, largest(one.memoryBytes, other.memoryBytes));

/** What has come since `before`, which is an earlier state of the same; never below nothing. */
export const since = (now: VersionTotals, before: VersionTotals): VersionTotals =>
  combine(now, before, (a, b) => Math.max(0, a - b), now.memoryBytes);

function combine(
  one: VersionTotals,
  other: VersionTotals,
  of: (a: number, b: number) => number,
  memoryBytes: number | null,
): VersionTotals {
  return {
    answers: of(one.answers, other.answers),
    failures: of(one.failures, other.failures),
    crashes: of(one.crashes, other.crashes),
    times: one.times.map((value, place) => of(value, other.times[place] ?? 0)),
    memoryBytes,
    judged: {
      requests: of(one.judged.requests, other.judged.requests),
      asked: of(one.judged.asked, other.judged.asked),
      loss: of(one.judged.loss, other.judged.loss),
      squares: of(one.judged.squares, other.judged.squares),
      weights: of(one.judged.weights, other.judged.weights),
    },
    routed: {
      requests: of(one.routed.requests, other.routed.requests),
      escalated: of(one.routed.escalated, other.routed.escalated),
    },
  };
}

const largest = (one: number | null, other: number | null): number | null =>
  one === null ? other : other === null ? one : Math.max(one, other);
