/** Schemas of rollouts as they lie among the hub's records, and what a change of a model's deployment means for them. */
import { z } from 'zod';
import { modelName } from '../../shared/contract/names.ts';
import { subjectVersion } from '../../shared/contract/releases.ts';
import {
  isUnderWay,
  type RolloutNote,
  rolloutDevice,
  rolloutNote,
  rolloutPlan,
  rolloutRecord,
  rolloutState,
  superseded,
} from '../../shared/contract/rollouts.ts';

/** Record of a device in a rollout; it is stored under the device's id. */
const storedRolloutDevice = rolloutDevice.omit({ id: true });
export type StoredRolloutDevice = z.infer<typeof storedRolloutDevice>;

/** Record of a rollout; it is stored under its id. */
export const storedRollout = rolloutPlan.extend({
  model: modelName,
  version: subjectVersion,
  digest: rolloutRecord.shape.digest,
  /** By which its lot is drawn. */
  salt: z.string(),
  from: subjectVersion.nullable(),
  note: z.string(),
  state: rolloutState,
  reason: z.string(),
  stage: z.int().nonnegative(),
  /** When the first device of the stage ran the version; null: none yet. */
  stageBeganAtMs: z.number().nullable(),
  stageSinceAtMs: z.number(),
  createdAtMs: z.number(),
  endedAtMs: z.number().nullable(),
  /** Whether its devices are told to run its version: until it has ended, and of one that was aborted until another takes its place. */
  holds: z.boolean(),
  /** By id. */
  devices: z.record(z.string(), storedRolloutDevice),
  history: z.array(rolloutNote),
});
export type StoredRollout = z.infer<typeof storedRollout>;

const MAX_NOTES = 200;
/** Of a history that is too long the beginning stays. */
const FIRST_NOTES = 50;

/** With another line in its history. */
export function noted<R extends Pick<StoredRollout, 'history'>>(rollout: R, note: RolloutNote): R {
  const history = [...rollout.history, note];
  const tooMany = history.length - MAX_NOTES;
  return { ...rollout, history: tooMany > 0 ? history.toSpliced(FIRST_NOTES, tooMany) : history };
}

/**
 * The rollouts after somebody has deployed a version of the model by hand: those under way have ended, and no device is held by one.
 *
 * @param by id of the key of who did it; null: the hub itself
 */
export function supersede(
  rollouts: Readonly<Record<string, StoredRollout>>,
  model: string,
  { atMs, detail, by }: Pick<RolloutNote, 'atMs' | 'detail' | 'by'>,
): Record<string, StoredRollout> {
  return Object.fromEntries(
    Object.entries(rollouts).map(([id, one]) => {
      if (one.model !== model) return [id, one];
      const next = superseded(one, detail, atMs);
      return [id, isUnderWay(one.state) ? noted(next, { atMs, event: 'aborted', detail, by }) : next];
    }),
  );
}

/** Rollouts that come from a backup: those under way wait for a person. */
export const paused = (
  rollouts: Readonly<Record<string, StoredRollout>>,
  atMs: number,
): Record<string, StoredRollout> =>
  Object.fromEntries(
    Object.entries(rollouts).map(([id, one]) => {
      if (one.state !== 'running') return [id, one];
      const detail = 'the hub has come back from a backup: look at the devices, then resume';
      const next = { ...one, state: 'paused' as const, reason: detail };
      return [id, noted(next, { atMs, event: 'paused', detail, by: null })];
    }),
  );

/** The version that a rollout has a device run, by model; nothing where none holds it. */
export function heldVersion(
  rollouts: Readonly<Record<string, StoredRollout>>,
  model: string,
  deviceId: string,
): StoredRollout | undefined {
  return Object.values(rollouts).find(
    (one) =>
      one.holds &&
      one.model === model &&
      Object.hasOwn(one.devices, deviceId) &&
      one.devices[deviceId]?.state !== 'left',
  );
}
