/** Rollouts as tests have them: a record, a fleet, and totals of counts. */
import type { StoredRollout } from '../../cloud/ports.ts';
import type { FleetDevice } from '../../cloud/rollout/fleet.ts';
import { rolloutPlan } from '../../shared/contract/rollouts.ts';

export const OLD = 'a'.repeat(64);
export const NEW = 'b'.repeat(64);

/** Running, of `words` from 1 to 2, unless told otherwise. */
export function aRollout(change: Partial<StoredRollout> = {}): StoredRollout {
  return {
    ...rolloutPlan.parse({}),
    ...{ model: 'words', version: '2', digest: NEW, from: '1', salt: 'lot', note: '' },
    ...{ state: 'running', reason: '', stage: 0, stageSinceAtMs: 0, stageBeganAtMs: null },
    ...{ createdAtMs: 0, endedAtMs: null, holds: true, devices: {}, history: [] },
    ...change,
  };
}

/** A fleet of devices that run version 1, each with its change. */
export function aFleet(
  count: number,
  change: (index: number) => Partial<FleetDevice> = () => ({}),
): Map<string, FleetDevice> {
  return new Map(
    Array.from({ length: count }, (_, index) => {
      const id = `d${String(index).padStart(4, '0')}`;
      return [
        id,
        {
          id,
          online: true,
          lastSeenAtMs: 0,
          now: { version: '1', digest: OLD },
          progress: undefined,
          ...change(index),
        },
      ];
    }),
  );
}
