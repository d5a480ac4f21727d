/**
 * Which gates of a plan will have nothing to say on this fleet, and why: told before anybody waits for them, or counts on them. Pure. A gate that
 * is not named here may still turn out to be too uncertain; `outrider rollout simulate` says how often.
 */
import type { RolloutPlan, RolloutStage, UnmeasurableGate } from '../../shared/contract/rollouts.ts';
import { MATURE_REQUESTS } from '../../shared/contract/version-counts.ts';
import type { DeviceTotals } from './gates/arms.ts';
import { ANSWERS_WITHOUT_A_WORD, LEAST_REQUESTS } from './gates/limits.ts';
import { stageSize } from './step.ts';

/**
 * @param devices that are meant
 * @param before what those have counted of the versions that they run now
 */
export function unmeasurable(
  { gates, stages }: Pick<RolloutPlan, 'gates' | 'stages'>,
  devices: number,
  before: readonly DeviceTotals[],
): UnmeasurableGate[] {
  if (devices === 0) return [];
  const sum = (of: (one: DeviceTotals['totals']) => number): number =>
    before.reduce((all, { totals }) => all + of(totals), 0);
  const answers = sum((one) => one.answers);
  const found: UnmeasurableGate[] = [];
  // In the first stage nobody is left to compare with where it reaches all.
  const isAlone = stageSize(stages[0] as RolloutStage, devices) >= devices;
  const nothingBefore = (what: string): string =>
    `its first stage reaches every device, and ${what} has been counted of what they run now: nothing is there to compare with`;
  if (gates.agreement && answers >= ANSWERS_WITHOUT_A_WORD && sum(({ judged }) => judged.requests) === 0)
    found.push({ gate: 'agreement', why: 'no device asks the cloud about what it answers' });
  else if (gates.agreement && isAlone && sum(({ judged }) => judged.requests) < LEAST_REQUESTS)
    found.push({ gate: 'agreement', why: nothingBefore('too little') });
  if (gates.escalation) {
    const why = escalationWhy(stages, devices, answers > 0 && sum(({ routed }) => routed.requests) === 0);
    if (why !== undefined) found.push({ gate: 'escalation', why });
  }
  if (gates.errors && isAlone && sum((one) => one.answers + one.failures) < LEAST_REQUESTS)
    found.push({ gate: 'errors', why: nothingBefore('too little') });
  if (gates.latencyP95 && isAlone && sum(({ times }) => times.reduce((all, one) => all + one, 0)) === 0)
    found.push({ gate: 'latencyP95', why: nothingBefore('no time') });
  return found;
}

/** No stage waits for routers that have to see enough first: it has to be long enough by itself. */
function escalationWhy(
  stages: readonly RolloutStage[],
  devices: number,
  isNobodyMature: boolean,
): string | undefined {
  const enough = MATURE_REQUESTS.toLocaleString('en');
  const most = Math.max(...stages.map((one) => one.minAnswers / stageSize(one, devices)));
  if (most < MATURE_REQUESTS)
    return `a router counts from ${enough} requests with the version on its device, and no stage asks for so many: unless devices answer them within ${minutesText(stages)}, ask for more answers (--min-answers) or longer stages (--min-time)`;
  if (isNobodyMature)
    return `no router has seen ${enough} requests of what devices run now: nothing is there to compare with yet`;
  return undefined;
}

function minutesText(stages: readonly RolloutStage[]): string {
  const longest = Math.max(...stages.map(({ minMinutes }) => minMinutes));
  return longest < 1 ? 'seconds' : `${Number(longest.toFixed(1))} minutes`;
}
