/**
 * From which threshold a new device may start, by what the others have seen of the pair: a bound for one more device, since it will not be
 * their average. At each threshold the risk of each device (wrong answers that stay local, of all its requests) is one number, and Student's
 * prediction interval says how high that of one more may be. What single devices have seen too little of is in their spread, and makes it
 * wider. Thresholds are looked at from strict to loose, and the first that fails ends it. Why, and how well: docs/decisions/0048.
 */
import {
  type FleetThreshold,
  LAST_SCORE_PLACE,
  scoreEdge,
  TWENTIETHS,
} from '../../shared/contract/fleet-evidence.ts';
import { studentQuantile } from './student.ts';

/** What one device has seen. */
export interface DeviceEvidence {
  readonly requests: number;
  readonly asked: number;
  readonly weights: number;
  /** Sums of loss / probability by place, the surest first. */
  readonly places: readonly (readonly [place: number, loss: number])[];
  /** Places that a twentieth of the requests, two … are at or above. */
  readonly twentieths: readonly number[];
}

/** A threshold, and whose evidence it is. */
export type FoundStart = Omit<FleetThreshold, 'agreement' | 'confidence'>;

/** A device that has seen less, or was asked about less, says nothing yet. */
const LEAST_OF_DEVICE = { requests: 300, asked: 100 };
/** Two of them are no fleet: one that is wrong would be half of it. */
const LEAST_DEVICES = 3;
/** From so many on one device in twenty may be left out, however it is. */
const ENOUGH_DEVICES = 20;
/** What fewer devices may have of what the promise allows. */
const PART_FOR_FEW = 0.5;
/** A start that escalates more costs more than to learn from the first request on: what is audited at a quarter takes longer to certify (0048). */
const MOST_ESCALATED = 0.5;

/** Whether a device has seen enough to count. */
export const hasSeenEnough = ({ requests, asked }: Pick<DeviceEvidence, 'requests' | 'asked'>): boolean =>
  requests >= LEAST_OF_DEVICE.requests && asked >= LEAST_OF_DEVICE.asked;

/**
 * The loosest threshold that the devices carry for a promise.
 *
 * @param all devices that have told something of the pair; each counts once, however much it has seen
 * @param promise about all requests together; both 0..1
 * @returns undefined: they are too few, have seen too little, or are too bad for a start to be worth it
 */
export function findStart(
  all: readonly DeviceEvidence[],
  { agreement, confidence }: { readonly agreement: number; readonly confidence: number },
): FoundStart | undefined {
  const devices = all.filter(hasSeenEnough);
  if (devices.length < LEAST_DEVICES) return undefined;
  const bound = boundOver(devices, 1 - agreement, confidence);
  const risks = new Float64Array(devices.length);
  if (!bound(risks)) return undefined;
  const lost = devices
    .flatMap(({ requests, places }, index) =>
      places.map(([place, loss]) => ({ place, index, risk: loss / requests })),
    )
    .sort((one, other) => other.place - one.place);
  let lowest = -LAST_SCORE_PLACE;
  for (const [at, { place, index, risk }] of lost.entries()) {
    risks[index] = (risks[index] ?? 0) + risk;
    const isLastOfPlace = lost[at + 1]?.place !== place;
    if (!isLastOfPlace || bound(risks)) continue;
    lowest = place + 1;
    break;
  }
  const escalated =
    devices.reduce((sum, { twentieths }) => sum + belowOf(twentieths, lowest), 0) / devices.length;
  if (lowest > LAST_SCORE_PLACE || escalated > MOST_ESCALATED) return undefined;
  return {
    threshold: scoreEdge(lowest),
    escalated: Math.round(100 * escalated) / 100,
    standing: devices.length >= ENOUGH_DEVICES ? 'devices' : 'few',
    devices: devices.length,
    requests: devices.reduce((sum, { requests }) => sum + requests, 0),
  };
}

/** Share 0..1 of a device's requests that is below a place, to a twentieth and never less than it is. */
const belowOf = (twentieths: readonly number[], lowest: number): number =>
  1 - twentieths.filter((place) => place >= lowest).length / (TWENTIETHS + 1);

/** Whether risks of the devices let one more device start. */
function boundOver(
  devices: readonly DeviceEvidence[],
  alpha: number,
  confidence: number,
): (risks: Float64Array) => boolean {
  const isFew = devices.length < ENOUGH_DEVICES;
  // The worst are left out, so that one broken camera is not the whole fleet's; and what is left is held to half of the error.
  const leftOut = isFew ? 0 : Math.floor(devices.length / ENOUGH_DEVICES);
  const n = devices.length - leftOut;
  const reach = studentQuantile(isFew ? confidence : (1 + confidence) / 2, n - 1);
  // None found is not none: as if each had just the risk that is allowed.
  const least =
    devices.reduce(
      (sum, { requests, weights }) => sum + (alpha * Math.max(1, weights / requests)) / requests,
      0,
    ) / devices.length;
  return (risks) => {
    const counted = leftOut === 0 ? risks : risks.toSorted().subarray(0, n);
    let [sum, squares] = [0, 0];
    for (const risk of counted) sum += risk;
    const mean = sum / n;
    for (const risk of counted) squares += (risk - mean) ** 2;
    const variance = Math.max(least, squares / (n - 1));
    if (mean + reach * Math.sqrt(variance * (1 + 1 / n)) > alpha) return false;
    return !isFew || mean + reach * Math.sqrt(variance / n) <= PART_FOR_FEW * alpha;
  };
}
