/**
 * What becomes of a rollout next. Pure: from its record, the fleet and what the gates say, to its next record.
 *
 * state            | event                                           -> state
 * waiting          | no other rollout of the model is under way      -> running
 * running          | a gate fails, `onFailure: roll-back`            -> rolled-back
 * running          | a gate fails, `onFailure: hold`                 -> halted
 * running          | the stage is full, has run long enough, its
 *                  | devices have settled, every gate has passed     -> running, the next stage; after the last: done (deploys)
 * running, halted  | pause                                           -> paused
 * paused, halted   | resume                                          -> running, under the gates as they are then
 * any of these     | abort                                           -> aborted
 * any, also ended  | roll-back                                       -> rolled-back
 *
 * A device comes in when its stage has room, in the order of the lot, while it is online; one that is away is passed over and comes in
 * later. What it was told it is told until the rollout ends.
 */
import type { GateVerdict, RolloutStage } from '../../shared/contract/rollouts.ts';
import type { StoredRollout, StoredRolloutDevice } from '../ports.ts';
import { type FleetDevice, inLotOrder } from './fleet.ts';

/** What a step goes by. */
export interface StepView {
  readonly nowAtMs: number;
  /** Devices that are meant now, by id. */
  readonly fleet: ReadonlyMap<string, FleetDevice>;
  /** Devices that have said nothing to this hub, or what they have said went with the one before: nobody knows whether they are meant. */
  readonly unheard?: ReadonlySet<string>;
  readonly verdicts: readonly GateVerdict[];
  /** Answers by the version since the stage began, of all its devices. */
  readonly answers: number;
}

/** What a step has done: another line for the history, unless nothing happened. */
export interface Step {
  readonly rollout: StoredRollout;
  readonly notes: readonly Omit<StoredRollout['history'][number], 'atMs' | 'by'>[];
  /** Its version is the one deployed from now on. */
  readonly deploys: boolean;
  /** What its stage waits for, in a sentence; undefined: for nothing. */
  readonly waitsFor?: string;
}

/** Devices that a stage reaches in all, of so many. */
export function stageSize({ devices, share }: RolloutStage, matched: number): number {
  return Math.min(matched, Math.max(1, devices ?? Math.ceil((share ?? 1) * matched)));
}

/** One step of a rollout that is running; one in another state only has its devices looked at. */
export function step(rollout: StoredRollout, view: StepView): Step {
  const seen = withProgress(rollout, view);
  if (rollout.state !== 'running') return { rollout: seen.rollout, notes: seen.notes, deploys: false };
  const failed = view.verdicts.find(({ state }) => state === 'failed');
  if (failed) return failedAt(seen, failed, view);
  const filled = filledUp(seen.rollout, view);
  const began = withBeginning(filled, view);
  const waitsFor = reasonToWait(began, view);
  if (waitsFor !== undefined) return { rollout: began, notes: seen.notes, deploys: false, waitsFor };
  return passed(began, seen.notes, view);
}

interface Seen {
  readonly rollout: StoredRollout;
  readonly notes: Step['notes'];
}

/** How far each of its devices is; one that is not meant any more has left, and comes in again where there is room, as any other. */
function withProgress(rollout: StoredRollout, { fleet, unheard }: StepView): Seen {
  const notes: Step['notes'][number][] = [];
  const devices = Object.fromEntries(
    Object.entries(rollout.devices).map(([id, device]) => {
      const found = fleet.get(id);
      if (!isIn(device) || (!found && unheard?.has(id))) return [id, device];
      const next: StoredRolloutDevice = found
        ? { ...device, ...(found.progress ?? again(device)) }
        : { ...device, state: 'left', error: null };
      if (next.state === 'rolled-back' && device.state !== 'rolled-back')
        notes.push({
          event: 'device-rolled-back',
          detail: `${id}: ${next.error?.code ?? 'it took the version back'}${next.error ? `: ${next.error.message}` : ''}`,
        });
      return [id, next];
    }),
  );
  return { rollout: { ...rollout, devices }, notes };
}

/** It says nothing of the version (any more): what it has said of a failure stays. */
const again = ({ state, error }: StoredRolloutDevice): Pick<StoredRolloutDevice, 'state' | 'error'> =>
  state === 'rolled-back' ? { state, error } : { state: 'told', error: null };

function failedAt({ rollout, notes }: Seen, { gate, detail }: GateVerdict, { nowAtMs }: StepView): Step {
  const reason = `${gate}: ${detail}`;
  const failed = { event: 'gate-failed' as const, detail: reason };
  if (rollout.onFailure === 'hold')
    return {
      rollout: { ...rollout, state: 'halted', reason },
      notes: [...notes, failed, { event: 'halted', detail: 'nobody new gets it until somebody decides' }],
      deploys: false,
    };
  return {
    rollout: { ...rollout, state: 'rolled-back', reason, holds: false, endedAtMs: nowAtMs },
    notes: [...notes, failed, { event: 'rolled-back', detail: 'every device goes back' }],
    deploys: false,
  };
}

const isIn = ({ state }: StoredRolloutDevice): boolean => state !== 'left';

/** The stage filled up with devices that are there, in the order of the lot; the last stage takes those that are away, too, once they are back. */
function filledUp(rollout: StoredRollout, { fleet, nowAtMs }: StepView): StoredRollout {
  const size = stageSize(rollout.stages[rollout.stage] as RolloutStage, fleet.size);
  const inside = Object.values(rollout.devices).filter(isIn).length;
  if (inside >= size) return rollout;
  const came: [string, StoredRolloutDevice][] = [];
  for (const id of inLotOrder(rollout.salt, fleet.keys())) {
    if (inside + came.length >= size) break;
    const device = fleet.get(id);
    const known = rollout.devices[id];
    if (!device?.online || (known && isIn(known))) continue;
    const before = device.now?.digest === rollout.digest ? null : device.now;
    const progress = device.progress ?? { state: 'told' as const, error: null };
    came.push([id, { stage: rollout.stage, atMs: nowAtMs, before, ...progress }]);
  }
  if (came.length === 0) return rollout;
  return { ...rollout, devices: { ...rollout.devices, ...Object.fromEntries(came) } };
}

/** The time of a stage counts from when its first device runs the version. */
function withBeginning(rollout: StoredRollout, { nowAtMs }: StepView): StoredRollout {
  if (rollout.stageBeganAtMs !== null) return rollout;
  const runs = Object.values(rollout.devices).some(
    ({ stage, state }) => stage === rollout.stage && (state === 'running' || state === 'trial'),
  );
  // A stage that brings nobody new, because there are no more, begins at once.
  const isEmpty =
    rollout.stage > 0 && !Object.values(rollout.devices).some(({ stage }) => stage === rollout.stage);
  return runs || isEmpty ? { ...rollout, stageBeganAtMs: nowAtMs } : rollout;
}

/** What the stage waits for, in a sentence; undefined: for nothing. */
function reasonToWait(rollout: StoredRollout, view: StepView): string | undefined {
  const { fleet, nowAtMs, verdicts, answers } = view;
  const stage = rollout.stages[rollout.stage] as RolloutStage;
  if (fleet.size === 0) return 'no device matches yet';
  const inside = Object.entries(rollout.devices).filter(([, device]) => isIn(device));
  const size = stageSize(stage, fleet.size);
  const away = [...fleet.values()].filter(({ online }) => !online).length;
  const isLast = rollout.stage === rollout.stages.length - 1;
  // The last stage does not wait for who is away: they find the version deployed when they come back.
  if (inside.length < size && !(isLast && inside.length >= fleet.size - away))
    return `${inside.length} of ${size} devices: the others are away`;
  const under = inside.filter(([id, device]) => isUnderWay(device, fleet.get(id)));
  if (under.length > 0)
    return `${under.length} of ${inside.length} devices are not done with it: ${names(under)}`;
  if (rollout.stageBeganAtMs === null) return 'no device runs it yet';
  const leftMs = rollout.stageBeganAtMs + stage.minMinutes * 60_000 - nowAtMs;
  if (leftMs > 0) return `the stage has ${minutesText(leftMs)} to go`;
  if (answers < stage.minAnswers) return `${answers} of ${stage.minAnswers} answers`;
  const waiting = verdicts.find(({ state }) => state === 'waiting');
  return waiting && `${waiting.gate}: ${waiting.detail}`;
}

/** Whether it is worth waiting for: what is away or has something in its way may take for ever. */
function isUnderWay({ state, error }: StoredRolloutDevice, device: FleetDevice | undefined): boolean {
  return device?.online === true && error === null && ['told', 'updating', 'trial'].includes(state);
}

function names(devices: readonly (readonly [string, unknown])[]): string {
  const shown = devices.slice(0, 3).map(([id]) => id);
  return devices.length > shown.length ? `${shown.join(', ')} …` : shown.join(', ');
}

const minutesText = (ms: number): string =>
  ms < 90_000 ? `${Math.ceil(ms / 1_000)} s` : `${Math.ceil(ms / 60_000)} minutes`;

function passed(rollout: StoredRollout, notes: Step['notes'], { nowAtMs, answers }: StepView): Step {
  const inside = Object.values(rollout.devices).filter(isIn).length;
  if (rollout.stage < rollout.stages.length - 1) {
    const stage = rollout.stage + 1;
    const next = { ...rollout, stage, stageSinceAtMs: nowAtMs, stageBeganAtMs: null };
    const detail = `stage ${stage + 1} of ${rollout.stages.length}, after ${answers} answers of ${inside} devices`;
    return { rollout: next, notes: [...notes, { event: 'stage', detail }], deploys: false };
  }
  const detail = `deployed, after ${answers} answers of ${inside} devices`;
  const done = { state: 'done' as const, reason: detail, holds: false, endedAtMs: nowAtMs };
  return { rollout: { ...rollout, ...done }, notes: [...notes, { event: 'done', detail }], deploys: true };
}
