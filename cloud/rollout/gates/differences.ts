/**
 * How much worse a version is in a mean per request (disagreement with the cloud, share that is escalated), with bounds that hold at all
 * times together: an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, arXiv:2103.06476). In the time of its
 * information, 1 / variance, the estimate moves as a Brownian motion (Scharfstein, Tsiatis, Robins 1997), whose normal mixture bounds it.
 *
 * Each device is compared with itself before (Cochran-Mantel-Haenszel: devices with hard inputs have hard pasts), and what has changed
 * meanwhile on the devices that do not have the version is taken off (differences in differences: when inputs drift, they drift for
 * both). Where too little is known of before, the devices are compared with the others as they are. How much single devices move by
 * themselves shows on the others, too, and widens what a failure has to overcome.
 */
import type { VersionTotals } from '../totals.ts';
import { type Arms, byDevice, type DeviceTotals, mostOfOne } from './arms.ts';
import { LEAST_REQUESTS } from './limits.ts';

/** Sums over requests of one value each. */
export interface Sums {
  readonly requests: number;
  readonly sum: number;
  readonly squares: number;
  /** What one request that was not seen to be bad may weigh, squared. */
  readonly hidden: number;
}

/** A difference of means, by how much the version is worse. */
interface Difference {
  readonly worse: number;
  /** With a failure in mind: single devices move by themselves. */
  readonly variance: number;
  /** Of these devices as they are. */
  readonly ownVariance: number;
  /** What would be left of it, however much the version were asked; and the others as well. */
  readonly lasting: number;
  readonly lastingForEver: number;
  readonly against: 'before' | 'before and rest' | 'rest';
}

/** What was counted, and the differences that can be told from it, the one that counts first. */
export interface Compared {
  /** Requests. */
  readonly evidence: { readonly version: number; readonly before: number; readonly rest: number };
  /** null: too few requests. */
  readonly means: {
    readonly version: number | null;
    readonly before: number | null;
    readonly rest: number | null;
  };
  readonly found: readonly Difference[];
}

/**
 * Losses that may have been missed by chance. Where none was seen the variance would be 0, and an arm in which few were looked for would
 * look perfect. measured: docs/decisions/0045
 */
const MISSED = 3;
/** Others that are needed to tell how much devices differ. */
const MIN_OTHERS = 10;
/** Standard deviation among devices, where that cannot be told; and of what changes on each of them by itself. */
const ASSUMED_SPREAD = 0.05;
const ASSUMED_DRIFT = 0.01;

interface Side extends Sums {
  readonly id: string;
  /** Requests that it counts for. */
  readonly weight: number;
}

interface Change {
  readonly difference: number;
  readonly weight: number;
  readonly varianceAfter: number;
  readonly varianceBefore: number;
}

/**
 * @param sumsOf what is compared
 * @param mayLackRest that there are no others does not keep the devices from being compared with themselves
 * @param useful variance above which what is known of before is too little: then the others go before it
 */
export function compare(
  arms: Arms,
  sumsOf: (totals: VersionTotals) => Sums,
  { mayLackRest, useful }: { readonly mayLackRest: boolean; readonly useful: number },
): Compared {
  const [version, rest] = [sidesOf(arms.version, sumsOf), sidesOf(arms.rest, sumsOf)];
  const totalsBefore = byDevice(arms.before);
  const beforeOf = (sides: readonly Side[]): Side[] =>
    sidesOf(
      sides.flatMap(({ id }) => {
        const totals = totalsBefore.get(id);
        return totals ? [{ id, totals }] : [];
      }),
      sumsOf,
    );
  const before = beforeOf(version);
  const restBefore = beforeOf(rest);
  const evidence = { version: total(version), before: total(before), rest: total(rest) };
  const known = (sides: readonly Side[]): boolean => total(sides) >= LEAST_REQUESTS;
  const meanIf = (sides: readonly Side[]): number | null => (known(sides) ? meanOf(sides) : null);
  const means = { version: meanIf(version), before: meanIf(before), rest: meanIf(rest) };
  if (!known(version)) return { evidence, means, found: [] };
  const found: Difference[] = [];
  const drift = known(rest) && known(restBefore) ? driftOf(rest, restBefore) : undefined;
  if (known(before) && (drift || mayLackRest)) found.push(sinceBefore(version, before, drift));
  if (known(rest)) found.push(againstRest(version, rest));
  // By what was counted, and not by what came out of it.
  const [first, second] = found;
  const isTooLittle = first && second && first.lastingForEver > useful && second.lasting < first.lasting;
  return { evidence, means, found: isTooLittle ? found.reverse() : found };
}

/** Device by device, less what has changed for all. */
function sinceBefore(
  version: readonly Side[],
  before: readonly Side[],
  drift: ReturnType<typeof driftOf> | undefined,
): Difference {
  const own = together(changesOf(version, before));
  const ownVariance = own.variance + (drift?.variance ?? 0);
  return {
    worse: own.mean - (drift?.mean ?? 0),
    variance: ownVariance + (drift?.spread ?? ASSUMED_DRIFT ** 2) * own.concentration,
    ownVariance,
    lasting: own.earlierVariance + (drift?.variance ?? 0),
    lastingForEver: own.earlierVariance + (drift?.earlierVariance ?? 0),
    against: drift ? 'before and rest' : 'before',
  };
}

/** As they are: how much devices differ by themselves shows among the others. */
function againstRest(version: readonly Side[], rest: readonly Side[]): Difference {
  const restVariance = varianceOf(rest) / weights(rest);
  const spread = spreadOf(rest) * (concentrationOf(version) + concentrationOf(rest));
  const variance = varianceOf(version) / weights(version) + restVariance + spread;
  return {
    worse: meanOf(version) - meanOf(rest),
    ...{ variance, ownVariance: variance, against: 'rest' },
    lasting: restVariance + spread,
    lastingForEver: spread,
  };
}

/** Distance of a bound from the estimate, with the error alpha, at all times together; narrowest about where the variance is `best`. */
export function radius(variance: number, alpha: number, best: number): number {
  const doubt = 2 * Math.log(1 / (2 * alpha));
  const information = 1 / variance;
  const tuned = 1 / best / (doubt + Math.log(1 + doubt));
  const reach = (information + tuned) * (Math.log1p(information / tuned) + doubt);
  return Math.sqrt(reach) / information;
}

function sidesOf(arm: readonly DeviceTotals[], sumsOf: (totals: VersionTotals) => Sums): Side[] {
  const sides = arm
    .map(({ id, totals }) => ({ id, ...sumsOf(totals) }))
    .filter(({ requests }) => requests > 0);
  const most = mostOfOne(sides.map(({ requests }) => requests));
  return sides.map((side) => ({ ...side, weight: Math.min(side.requests, most) }));
}

const total = (sides: readonly Side[]): number => sides.reduce((sum, { requests }) => sum + requests, 0);
const weights = (sides: readonly { readonly weight: number }[]): number =>
  sides.reduce((sum, { weight }) => sum + weight, 0);
const meanOfOne = ({ sum, requests }: Sums): number => sum / requests;

function meanOf(sides: readonly Side[]): number {
  return sides.reduce((sum, side) => sum + side.weight * meanOfOne(side), 0) / weights(sides);
}

/** Of one request, within devices; with what may have been missed. */
function varianceOf(sides: readonly Side[]): number {
  let [requests, spread, hidden] = [0, 0, 0];
  for (const side of sides) {
    const share = side.weight / side.requests;
    requests += side.weight;
    spread += share * Math.max(0, side.squares - side.sum ** 2 / side.requests);
    hidden += share * side.hidden * side.requests;
  }
  return (spread + (MISSED * hidden) / requests) / requests;
}

/** Sum of the squares of the devices' shares: 1 for a single one. */
function concentrationOf(sides: readonly { readonly weight: number }[]): number {
  const all = weights(sides);
  return sides.reduce((sum, { weight }) => sum + (weight / all) ** 2, 0);
}

/** Of each device that is on both sides. */
function changesOf(after: readonly Side[], before: readonly Side[]): Change[] {
  const earlier = new Map(before.map((side) => [side.id, side]));
  const matched = after.flatMap((now) => {
    const then = earlier.get(now.id);
    return then ? [{ now, then }] : [];
  });
  const varianceAfter = varianceOf(matched.map(({ now }) => now));
  const varianceBefore = varianceOf(matched.map(({ then }) => then));
  return matched.map(({ now, then }) => ({
    difference: meanOfOne(now) - meanOfOne(then),
    weight: (now.weight * then.weight) / (now.weight + then.weight),
    varianceAfter: varianceAfter / now.weight,
    varianceBefore: varianceBefore / then.weight,
  }));
}

function together(changes: readonly Change[]) {
  const all = weights(changes);
  let [mean, laterVariance, earlierVariance] = [0, 0, 0];
  for (const { difference: one, weight, varianceAfter, varianceBefore } of changes) {
    const share = weight / all;
    mean += share * one;
    laterVariance += share ** 2 * varianceAfter;
    earlierVariance += share ** 2 * varianceBefore;
  }
  const variance = laterVariance + earlierVariance;
  return { mean, variance, earlierVariance, concentration: concentrationOf(changes) };
}

/** What has changed for everybody, and how much that differs from device to device. */
function driftOf(rest: readonly Side[], before: readonly Side[]) {
  const changes = changesOf(rest, before);
  const { mean, variance, earlierVariance, concentration } = together(changes);
  const spread = spreadAmong(
    changes.map((one) => ({ value: one.difference, variance: one.varianceAfter + one.varianceBefore })),
    ASSUMED_DRIFT,
  );
  return { mean, variance: variance + spread * concentration, earlierVariance, spread };
}

/** By how much devices differ. */
function spreadOf(sides: readonly Side[]): number {
  const within = varianceOf(sides);
  return spreadAmong(
    sides.map((side) => ({ value: meanOfOne(side), variance: within / side.weight })),
    ASSUMED_SPREAD,
  );
}

/** Variance among true values of which each was measured with a variance of its own (DerSimonian, Laird 1986). */
function spreadAmong(
  measured: readonly { readonly value: number; readonly variance: number }[],
  assumed: number,
): number {
  if (measured.length < MIN_OTHERS) return assumed ** 2;
  let [sum, squares, values] = [0, 0, 0];
  for (const { value, variance } of measured) {
    sum += 1 / variance;
    squares += 1 / variance ** 2;
    values += value / variance;
  }
  const mean = values / sum;
  const q = measured.reduce((total, { value, variance }) => total + (value - mean) ** 2 / variance, 0);
  return Math.max(0, (q - (measured.length - 1)) / (sum - squares / sum));
}
