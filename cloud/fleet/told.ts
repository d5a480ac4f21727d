/** What a device tells of a pair of models, within what can be: nothing that it says breaks a sum. */
import type { PairEvidence } from '../../shared/contract/fleet-evidence.ts';
import { MAX_JUDGED_WEIGHT } from '../../shared/contract/version-counts.ts';

/** Many thousand years of the busiest device: sums of a fleet stay exact below it. */
const MAX_COUNT = 1e12;

/** The same with counts that fit each other, and places once each, the surest first. */
export function boundedEvidence(told: PairEvidence): PairEvidence {
  const requests = Math.min(told.requests, MAX_COUNT);
  const asked = Math.min(told.asked, requests);
  const weights = Math.min(Math.max(told.weights, asked), asked * MAX_JUDGED_WEIGHT ** 2);
  const sums = new Map<number, number>();
  for (const [place, loss] of told.places) sums.set(place, (sums.get(place) ?? 0) + loss);
  const all = [...sums.values()].reduce((sum, loss) => sum + loss, 0);
  const most = asked * MAX_JUDGED_WEIGHT;
  const scale = all > most ? most / all : 1;
  return {
    ...told,
    ...{ requests, asked, weights, loss: Math.min(Math.max(told.loss, all * scale), most) },
    places: Array.from(sums, ([place, loss]): [number, number] => [place, loss * scale]).sort(
      ([one], [other]) => other - one,
    ),
    twentieths: told.twentieths.toSorted((one, other) => other - one),
  };
}
