/**
 * A fleet that does not exist, whose devices count what real ones would: how often their answers differ from the cloud's, what their
 * routers ask about, failures, crashes, times, memory. Devices differ, and what they see may change for all of them in the midst of it.
 */
import { LATENCY_ENDS_MS, LATENCY_PLACES } from '../../../shared/contract/version-counts.ts';
import { NO_TOTALS, type VersionTotals } from '../totals.ts';
import { binomial, normal, poisson, type Random } from './draws.ts';

/** How a version does, on an ordinary device. Shares are 0..1. */
export interface VersionBehaviour {
  /** Of its answers, that the cloud would have given otherwise. */
  readonly disagreement: number;
  /** Of requests, once its routers have learned. */
  readonly escalated: number;
  /** Of inputs. */
  readonly failures: number;
  /** 95th percentile, in milliseconds. */
  readonly p95Ms: number;
  readonly memoryBytes: number;
  /** Of devices, that it crashes on within its first hundred answers. */
  readonly crashes: number;
}

/** What makes devices differ, and their inputs change. */
export interface FleetShape {
  readonly devices: number;
  readonly answersPerMinute: number;
  /** Standard deviation of a device's own disagreement; 0: all see the same. */
  readonly spread: number;
  /** Of the rates of answers, as a factor: 1: all as many; 3: most between a third and three times. */
  readonly rates: number;
  /** Answers of the version before that are known of each device. */
  readonly history: number;
  /** Whether devices ask a cloud at all. */
  readonly hasCloud: boolean;
  /** What all of them see becomes harder (or easier, negative) at a time. */
  readonly drift: { readonly atMinute: number; readonly disagreement: number } | null;
}

interface Device {
  readonly id: string;
  readonly perMinute: number;
  /** How much harder what it sees is. */
  readonly harder: number;
  readonly slower: number;
  /** Uniform in [0, 1): on whom a version crashes. */
  readonly luck: number;
}

/** Share of the answers beyond which the 95th percentile lies, in standard deviations. */
const Z95 = 1.6449;
/** Of the logarithm of a time. */
const TIME_SIGMA = 0.25;
/** The router's opening at 98 % with 95 %, and its audits for good (docs/design/router.md 2.4). */
const OPENING = 450;
const LEAST_AUDITS = 0.02;
const MATURE = 5_000;
/** Disagreement among what stays local, of that of all: the promise of 98 % at 10 % of disagreement. */
const KEPT = 0.2;

/** Made-up devices, and what they count. */
export class SimulatedFleet {
  readonly shape: FleetShape;
  readonly devices: readonly Device[];
  readonly #random: Random;
  readonly #places = new Map<string, readonly [number, number][]>();

  constructor(shape: FleetShape, random: Random) {
    this.shape = shape;
    this.#random = random;
    this.devices = Array.from({ length: shape.devices }, (_, index) => ({
      id: `device-${index + 1}`,
      perMinute: shape.answersPerMinute * shape.rates ** normal(random),
      harder: shape.spread * normal(random),
      slower: 2 ** normal(random),
      luck: random(),
    }));
  }

  /** What the version before has counted until the rollout begins. */
  history(device: Device, version: VersionBehaviour): VersionTotals {
    const { history } = this.shape;
    const answers = Math.round((history * device.perMinute) / Math.max(1e-9, this.shape.answersPerMinute));
    // It has learned long ago.
    return this.#count(device, version, { answers, seen: Math.max(MATURE, answers), minute: -1 });
  }

  /**
   * What a device counts in a while.
   *
   * @param seen answers that it had given with this version before
   */
  during(
    device: Device,
    version: VersionBehaviour,
    { fromMinute, minutes, seen }: { fromMinute: number; minutes: number; seen: number },
  ): VersionTotals {
    const answers = poisson(this.#random, device.perMinute * minutes);
    return this.#count(device, version, { answers, seen, minute: fromMinute + minutes / 2 });
  }

  #count(
    device: Device,
    version: VersionBehaviour,
    { answers, seen, minute }: { answers: number; seen: number; minute: number },
  ): VersionTotals {
    const random = this.#random;
    const { drift, hasCloud } = this.shape;
    const drifted = drift && minute >= drift.atMinute ? drift.disagreement : 0;
    const disagreement = Math.min(0.95, Math.max(0.002, version.disagreement + device.harder + drifted));
    const failures = binomial(random, answers, version.failures);
    const given = answers - failures;
    const isCrashing = device.luck < version.crashes && seen < 100 && answers > 0;
    return {
      answers: given,
      failures,
      crashes: isCrashing ? 1 : 0,
      times: this.#times(given, version.p95Ms * device.slower),
      memoryBytes: answers === 0 ? null : version.memoryBytes * (0.97 + 0.06 * random()),
      ...(hasCloud
        ? {
            judged: this.#judged(given, seen, disagreement, version.escalated),
            routed:
              seen < MATURE
                ? NO_TOTALS.routed
                : { requests: given, escalated: binomial(random, given, version.escalated) },
          }
        : { judged: NO_TOTALS.judged, routed: NO_TOTALS.routed }),
    };
  }

  /** As a router asks: all in its opening, then what is unsure, and of the rest fewer and fewer. */
  #judged(requests: number, seen: number, disagreement: number, escalated: number): VersionTotals['judged'] {
    const random = this.#random;
    const early = Math.min(requests, Math.max(0, OPENING - seen));
    const later = requests - early;
    const audits = Math.max(LEAST_AUDITS, OPENING / Math.max(OPENING, seen + requests / 2));
    const asked = binomial(random, later, escalated);
    const audited = binomial(random, later - asked, audits);
    const keptLoss = Math.min(1, (KEPT * disagreement) / Math.max(1e-9, 1 - escalated));
    const askedLoss = Math.min(1, ((1 - KEPT) * disagreement) / Math.max(1e-9, escalated));
    // All of it is somewhere: what does not fit among the escalated is kept.
    const restLoss = Math.max(
      keptLoss,
      (disagreement - escalated * askedLoss) / Math.max(1e-9, 1 - escalated),
    );
    const full = binomial(random, early, disagreement) + binomial(random, asked, askedLoss);
    const rare = binomial(random, audited, restLoss);
    return {
      requests,
      asked: early + asked + audited,
      loss: full + rare / audits,
      squares: full + rare / audits ** 2,
      weights: early + asked + audited / audits ** 2,
    };
  }

  #times(answers: number, p95Ms: number): number[] {
    const times = new Array<number>(LATENCY_PLACES).fill(0);
    const key = p95Ms.toPrecision(6);
    let places = this.#places.get(key);
    if (!places) {
      places = placesOf(p95Ms);
      this.#places.set(key, places);
    }
    for (const [place, share] of places) times[place] = poisson(this.#random, answers * share);
    return times;
  }
}

/** Places of the histogram that times with this 95th percentile fall into, with their shares. */
function placesOf(p95Ms: number): [number, number][] {
  const middle = Math.log(p95Ms) - Z95 * TIME_SIGMA;
  const below = (ms: number): number => normalBelow((Math.log(ms) - middle) / TIME_SIGMA);
  return LATENCY_ENDS_MS.flatMap((end, place): [number, number][] => {
    const from = place === 0 ? 0 : below(LATENCY_ENDS_MS[place - 1] ?? 0);
    const share = (Number.isFinite(end) ? below(end) : 1) - from;
    return share > 1e-6 ? [[place, share]] : [];
  });
}

/** Share of a normal distribution below z (Abramowitz and Stegun 26.2.17: to 7 digits). */
function normalBelow(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const polynomial =
    t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
  return z >= 0 ? 1 - tail : tail;
}
