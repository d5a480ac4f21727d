/**
 * A rollout on a fleet that does not exist, from its first device to its end: what a plan would have cost, had the version been bad in
 * a given way. Pure: what time does is computed, and chance is given.
 */
import type {
  GateVerdict,
  RolloutGateName,
  RolloutPlan,
  RolloutStage,
} from '../../../shared/contract/rollouts.ts';
import type { Arms } from '../gates/arms.ts';
import { NO_TOTALS, plus, type VersionTotals } from '../totals.ts';
import type { Random } from './draws.ts';
import { type FleetShape, SimulatedFleet, type VersionBehaviour } from './fleet.ts';

/** How a rollout decides; what the hub itself decides by. */
export interface Deciding {
  /** How many devices of so many a stage reaches. */
  devicesOf(stage: RolloutStage, devices: number): number;
  /** @param stage counted from 0 */
  judge(arms: Arms, stage: number): readonly GateVerdict[];
}

/** One rollout, simulated. `stuck`: neither stopped nor done after so long. */
export interface SimulatedRun {
  readonly end: 'done' | 'halted' | 'stuck';
  readonly minutes: number;
  /** Devices that got the version. */
  readonly reached: number;
  /** The gate that stopped it. */
  readonly gate: RolloutGateName | null;
  /** Answers that were wrong or missing, and would not have been with the version before. */
  readonly wrong: number;
  /** Answers by the version. */
  readonly answers: number;
}

/** Looked at so often at first, and less often the longer a stage takes: as often in each doubling of its evidence. */
const LOOK_MINUTES = 0.5;
const LOOKS_PER_DOUBLING = 8;
/** Devices without the version that are looked at. */
const MAX_REST = 100;
/** Nobody waits longer. */
const MAX_MINUTES = 30 * 24 * 60;
/** Between two breaths of a hub that has others to answer. */
const DEVICES_AT_ONCE = 50;

/**
 * In steps of a few milliseconds, so that others can be served between them.
 *
 * @param plan whose stages are gone through
 * @param versions what runs now, and what is rolled out
 */
export function* simulateRollout(
  plan: Pick<RolloutPlan, 'stages'>,
  shape: FleetShape,
  versions: { readonly before: VersionBehaviour; readonly next: VersionBehaviour },
  deciding: Deciding,
  random: Random,
): Generator<undefined, SimulatedRun> {
  const fleet = new SimulatedFleet(shape, random);
  const { devices } = fleet;
  const history = devices.map((device) => ({
    id: device.id,
    totals: fleet.history(device, versions.before),
  }));
  /** Answers by the version before now, by device. */
  const seen = new Map<string, number>();
  let [minute, answers, wrong, reached] = [0, 0, 0, 0];
  const extra = Math.max(0, versions.next.disagreement - versions.before.disagreement);
  const lost = Math.max(0, versions.next.failures - versions.before.failures);
  for (const [index, stage] of plan.stages.entries()) {
    reached = Math.max(reached, Math.min(devices.length, deciding.devicesOf(stage, devices.length)));
    const [ours, others] = [devices.slice(0, reached), devices.slice(reached, reached + MAX_REST)];
    const counted = new Map<string, VersionTotals>();
    const count = (
      device: (typeof devices)[number],
      version: VersionBehaviour,
      minutes: number,
    ): VersionTotals => {
      const fresh = fleet.during(device, version, {
        fromMinute: minute,
        minutes,
        seen: seen.get(device.id) ?? 0,
      });
      counted.set(device.id, plus(counted.get(device.id) ?? NO_TOTALS, fresh));
      return fresh;
    };
    const beganAtMinute = minute;
    for (let inStage = 0; ; ) {
      const minutes = Math.max(LOOK_MINUTES, inStage / LOOKS_PER_DOUBLING);
      for (const [at, device] of ours.entries()) {
        if (at % DEVICES_AT_ONCE === 0) yield;
        const fresh = count(device, versions.next, minutes);
        const inputs = fresh.answers + fresh.failures;
        seen.set(device.id, (seen.get(device.id) ?? 0) + inputs);
        answers += fresh.answers;
        wrong += fresh.answers * extra + inputs * lost;
      }
      // What they have seen of the version before is long enough for its routers to know.
      for (const device of others) {
        seen.set(device.id, Number.MAX_SAFE_INTEGER);
        count(device, versions.before, minutes);
        seen.delete(device.id);
      }
      minute += minutes;
      inStage += minutes;
      const arm = (some: typeof ours) =>
        some.flatMap(({ id }) => {
          const totals = counted.get(id);
          return totals ? [{ id, totals }] : [];
        });
      const verdicts = deciding.judge(
        {
          version: arm(ours),
          before: history.slice(0, reached + MAX_REST),
          rest: arm(others),
        },
        index,
      );
      const failed = verdicts.find(({ state }) => state === 'failed');
      if (failed) return { end: 'halted', minutes: minute, reached, gate: failed.gate, wrong, answers };
      const isOpen = verdicts.some(({ state }) => state === 'waiting');
      if (!isOpen && inStage >= stage.minMinutes && answers >= stage.minAnswers) break;
      if (minute > MAX_MINUTES) return { end: 'stuck', minutes: minute, reached, gate: null, wrong, answers };
    }
    // What those have counted that come later is known of before, then: also of those that nobody was compared with.
    const meanwhile = {
      fromMinute: beganAtMinute,
      minutes: minute - beganAtMinute,
      seen: Number.MAX_SAFE_INTEGER,
    };
    for (const [at, device] of devices.entries()) {
      const known = history[at];
      if (at < reached || !known) continue;
      if (at % DEVICES_AT_ONCE === 0) yield;
      const more = counted.get(device.id) ?? fleet.during(device, versions.before, meanwhile);
      known.totals = plus(known.totals, more);
    }
  }
  return { end: 'done', minutes: minute, reached, gate: null, wrong, answers };
}

/** What comes of it, at once. */
export function allOf(run: Generator<undefined, SimulatedRun>): SimulatedRun {
  for (;;) {
    const step = run.next();
    if (step.done) return step.value;
  }
}
