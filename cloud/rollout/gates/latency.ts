/**
 * Whether the slow answers of a version are slower than those of the same device before: of a version that is as fast, one in twenty
 * takes longer than the 95th percentile of before. So the share that takes longer than a multiple of it is counted, device by device
 * (hardware differs), and bounded exactly. Answers of the devices that do not have the version say how busy devices are now.
 */
import { LATENCY_ENDS_MS } from '../../../shared/contract/version-counts.ts';
import { NO_TOTALS, plus, type VersionTotals } from '../totals.ts';
import { type Arms, byDevice, type DeviceTotals, mostOfOne } from './arms.ts';
import { proportionBounds } from './proportions.ts';

/** Below it nobody can tell two versions apart on a busy device; as the slot's trial has it (`agent/slot/trial.ts`). */
const NOISE_MS = 2;
export const SLOW_SHARE = 0.05;
/** Fewer times have no 95th percentile. */
const LEAST_TIMES = 100;
/** Slow answers come together: so many say as much as one that comes by itself. */
const BURST = 2;
/** Standard errors above it that the percentile of before may truly lie: it was measured with few answers, maybe. */
const UNSURE = 3;

/** Share of answers beyond the multiple of the percentile of before. */
export interface Slowness {
  /** Answers with a time. */
  readonly version: number;
  readonly before: number;
  readonly rest: number;
  /** Share beyond half of what is allowed, and beyond all of it: bounds. */
  readonly overHalf: { readonly share: number; readonly least: number };
  readonly overAll: { readonly share: number; readonly most: number };
  /** As `overHalf`, of the others against what they were before; null: not known. */
  readonly restOverHalf: { readonly most: number } | null;
  /** 95th percentile of the version over that of before, at the median over the devices. */
  readonly ratio: number;
}

/** @returns undefined where there is too little of either to compare */
export function slowness(arms: Arms, maxRatio: number, alpha: number): Slowness | undefined {
  const before = byDevice(arms.before);
  const anybody = usable(together(arms.rest)) ?? usable(together(arms.before));
  const halfRatio = 1 + (maxRatio - 1) / 2;
  const compared = (arm: readonly DeviceTotals[], fallback: VersionTotals | undefined) =>
    arm.flatMap(({ id, totals }) => {
      const earlier = usable(before.get(id)) ?? fallback;
      const answers = timed(totals);
      if (!earlier || answers === 0) return [];
      const usual = usualMs(earlier);
      return [{ totals, answers, earlier, usual }];
    });
  const ours = compared(arms.version, anybody);
  const others = compared(arms.rest, undefined);
  const version = ours.reduce((sum, { answers }) => sum + answers, 0);
  if (version < LEAST_TIMES) return undefined;
  const over = (sides: typeof ours, ratio: number): { share: number; least: number; most: number } => {
    const most = mostOfOne(sides.map(({ answers }) => answers));
    let [slow, all] = [0, 0];
    for (const { totals, answers, usual } of sides) {
      const limitMs = Math.max(usual * ratio, usual + NOISE_MS);
      const weight = Math.min(1, most / answers);
      slow += weight * slower(totals, limitMs);
      all += weight * answers;
    }
    return { share: slow / all, ...proportionBounds(slow / BURST, all / BURST, alpha) };
  };
  const ratios = ours
    .filter(({ answers }) => answers >= LEAST_TIMES)
    .map(({ totals, earlier }) => percentile(totals, 1 - SLOW_SHARE) / percentile(earlier, 1 - SLOW_SHARE))
    .sort((one, other) => one - other);
  const restAnswers = others.reduce((sum, { answers }) => sum + answers, 0);
  return {
    version,
    before: [...new Set(ours.map(({ earlier }) => earlier))].reduce((sum, one) => sum + timed(one), 0),
    rest: restAnswers,
    overHalf: over(ours, halfRatio),
    overAll: over(ours, maxRatio),
    restOverHalf: restAnswers < LEAST_TIMES ? null : over(others, halfRatio),
    ratio: ratios[ratios.length >> 1] ?? Number.NaN,
  };
}

const timed = ({ times }: VersionTotals): number => times.reduce((sum, number) => sum + number, 0);
const usable = (totals: VersionTotals | undefined): VersionTotals | undefined =>
  totals && timed(totals) >= LEAST_TIMES ? totals : undefined;
const together = (arm: readonly DeviceTotals[]): VersionTotals =>
  arm.reduce((sum, { totals }) => plus(sum, totals), NO_TOTALS);

/** A rollout looks every few seconds, and what was before does not change any more. */
const usualTimes = new WeakMap<VersionTotals, number>();

/** 95th percentile, or what it may well be where few answers tell of it. */
function usualMs(totals: VersionTotals): number {
  const known = usualTimes.get(totals);
  if (known !== undefined) return known;
  const error = Math.sqrt((SLOW_SHARE * (1 - SLOW_SHARE)) / timed(totals));
  const usual = percentile(totals, Math.min(1, 1 - SLOW_SHARE + UNSURE * error));
  usualTimes.set(totals, usual);
  return usual;
}

/** A place's answers are taken to lie evenly between its ends. */
function percentile(totals: VersionTotals, share: number): number {
  let missing = share * timed(totals);
  for (const [place, number] of totals.times.entries()) {
    if (number > 0 && missing <= number) {
      const [from, to] = endsOf(place);
      return from + ((to - from) * missing) / number;
    }
    missing -= number;
  }
  return endsOf(totals.times.length - 1)[1];
}

function slower(totals: VersionTotals, limitMs: number): number {
  let slow = 0;
  for (let place = totals.times.length - 1; place >= 0; place--) {
    const number = totals.times[place] ?? 0;
    const [from, to] = endsOf(place);
    if (to <= limitMs) break;
    if (number > 0) slow += from >= limitMs ? number : (number * (to - limitMs)) / (to - from);
  }
  return slow;
}

/** The last place is open: it is taken to be as wide as twice its beginning. */
function endsOf(place: number): [number, number] {
  const from = place === 0 ? 0 : (LATENCY_ENDS_MS[place - 1] ?? 0);
  const to = LATENCY_ENDS_MS[place] ?? 0;
  return [from, Number.isFinite(to) ? to : 2 * from];
}
