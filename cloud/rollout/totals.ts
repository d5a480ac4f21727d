/** What one version has done on one device, or on several together, over all runs of the agent: sums of `VersionCounts`. */
import {
  LATENCY_PLACES,
  MAX_JUDGED_WEIGHT,
  type VersionCounts,
} from '../../shared/contract/version-counts.ts';

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

/** The larger of each: counts of one run only grow, whatever comes late or is lost. */
export const furthest = (one: VersionTotals, other: VersionTotals): VersionTotals =>
  combine(one, other, Math.max, largest(one.memoryBytes, other.memoryBytes));

/** Many thousand years of the busiest device: sums of a fleet stay exact below it. */
const MAX_COUNT = 1e12;
const MAX_MEMORY_BYTES = 2 ** 50;

/** Counts as a device tells them, within what can be: nothing that it says breaks a sum or a statistic. */
export function toTotals(told: Omit<VersionCounts, 'model' | 'run'>): VersionTotals {
  const bounded = (value: number, most = MAX_COUNT): number => Math.min(value, most);
  const times = new Array<number>(LATENCY_PLACES).fill(0);
  for (const [place, number] of told.times) times[place] = bounded((times[place] ?? 0) + number);
  const requests = bounded(told.judged.requests);
  const asked = bounded(told.judged.asked, requests);
  const loss = bounded(told.judged.loss, asked * MAX_JUDGED_WEIGHT);
  // The mean of squares is at least the square of the mean, and none weighs more than the heaviest.
  const squares = Math.min(
    Math.max(told.judged.squares, asked === 0 ? 0 : loss ** 2 / asked),
    loss * MAX_JUDGED_WEIGHT,
  );
  const weights = Math.min(Math.max(told.judged.weights, squares, asked), asked * MAX_JUDGED_WEIGHT ** 2);
  const decided = bounded(told.routed.requests);
  return {
    answers: bounded(told.answers),
    failures: bounded(told.failures),
    crashes: bounded(told.crashes),
    times,
    memoryBytes: told.memoryBytes === null ? null : bounded(told.memoryBytes, MAX_MEMORY_BYTES),
    judged: { requests, asked, loss, squares, weights },
    routed: { requests: decided, escalated: bounded(told.routed.escalated, decided) },
  };
}

/** Totals in the form of the contract, as they are kept on disk. */
export const toCounts = ({ times, ...rest }: VersionTotals): Omit<VersionCounts, 'model' | 'run'> => ({
  ...rest,
  times: [...times.entries()].filter(([, number]) => number > 0),
});

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
