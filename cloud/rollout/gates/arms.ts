/** What a version is judged by: counts by device, of itself, of what ran before it, and of the devices that do not run it. */
import type { VersionTotals } from '../totals.ts';

/** Counts of one device in one arm. */
export interface DeviceTotals {
  readonly id: string;
  readonly totals: VersionTotals;
}

/** The device has given the version back by itself, in this stage or before. */
export interface TriedTotals extends DeviceTotals {
  readonly wasTakenBack?: boolean;
}

/** Devices that were told of the version, and those of them that have been away for long since. */
export interface Away {
  readonly told: number;
  /** Ids. */
  readonly away: readonly string[];
}

/** The three sides of a comparison. */
export interface Arms {
  /** The version, on each device that has it, since the stage began. One that took it back stays here. */
  readonly version: readonly TriedTotals[];
  /** What the device ran before, until it got the version; of the devices of `rest`: until the stage began. Of one that had nothing before: none. */
  readonly before: readonly DeviceTotals[];
  /** What ran before, since the stage began, on devices that do not have the version yet: what has changed for everybody shows here. */
  readonly rest: readonly DeviceTotals[];
  /** Whether devices are still reached; left out where nobody asks. */
  readonly link?: { readonly version: Away; readonly rest: Away };
}

/** Who says more than so many times what the others say at the median is no more heard than that: one device does not decide for all. */
const MAX_OF_MEDIAN = 3;

/** Largest number of observations that one device of these brings in. */
export function mostOfOne(numbers: readonly number[]): number {
  const sorted = numbers.filter((number) => number > 0).sort((one, other) => one - other);
  if (sorted.length < 3) return Number.POSITIVE_INFINITY;
  return MAX_OF_MEDIAN * (sorted[sorted.length >> 1] ?? 0);
}

/** By device. */
export const byDevice = (arm: readonly DeviceTotals[]): ReadonlyMap<string, VersionTotals> =>
  new Map(arm.map(({ id, totals }) => [id, totals]));
