/** What operators do with rollouts: begin one, stop it for a while or for good, take it back. Pure. */
import { AGENT_NAME } from '../../shared/contract/releases.ts';
import {
  isUnderWay,
  type PlannedRollout,
  type RolloutAction,
  type RolloutGates,
  type RolloutNote,
  type RolloutPlanChange,
  superseded,
} from '../../shared/contract/rollouts.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { isCron } from '../../shared/runtime/schedule.ts';
import type { RolloutModels, StoredRollout } from '../ports.ts';
import { parseSelector } from './selector.ts';

type Rollouts = Readonly<Record<string, StoredRollout>>;
type Said = Pick<RolloutNote, 'event' | 'detail'>;

/** A rollout after something was done with it, what its history says of that, and the version that it deploys. */
export interface Done {
  readonly rollout: StoredRollout;
  readonly said: Said;
  readonly deploy?: { readonly model: string; readonly version: string };
}

const MAX_UNDER_WAY = 100;

/** @throws PARAMETERS_INVALID: what the schema of a plan alone does not see */
export function requirePlan({
  selector,
  window,
}: {
  readonly selector?: string;
  readonly window?: string | null | undefined;
}): void {
  parseSelector(selector ?? '');
  if (window !== undefined && window !== null && !isCron(window))
    throw new AppError(
      'PARAMETERS_INVALID',
      `window: “${window}” is no cron expression of the minutes that are good, such as "* 1-4 * * *"`,
    );
}

/**
 * A rollout that begins, among those that there are.
 *
 * @param id new; its lot is drawn by it
 * @returns all of them, and what their histories say
 * @throws PARAMETERS_INVALID, MODEL_UNKNOWN, UPDATE_NOT_LISTED, CONFLICT (another one is under way, or it is deployed already)
 */
export function begin(
  rollouts: Rollouts,
  models: RolloutModels,
  { ifBusy, ...request }: PlannedRollout,
  { id, nowAtMs }: { readonly id: string; readonly nowAtMs: number },
): { readonly rollouts: Rollouts; readonly said: readonly (Said & { readonly id: string })[] } {
  requirePlan(request);
  const { model, version } = request;
  const { digest } = models.versionOf(model, version);
  const from = models.deployedOf(model);
  if (from === version)
    throw new AppError('CONFLICT', `${model}@${version} is deployed already: nothing is left to roll out`);
  if (model === AGENT_NAME && from === null)
    throw new AppError(
      'CONFLICT',
      'no version of the agent is deployed yet, so there is none to go back to: say first what the fleet runs now (outrider releases deploy VERSION)',
    );
  const underWay = Object.entries(rollouts).filter(([, one]) => isUnderWay(one.state));
  if (underWay.length >= MAX_UNDER_WAY)
    throw new AppError('CONFLICT', `${MAX_UNDER_WAY} rollouts are under way already`);
  const busy = underWay.filter(([, one]) => one.model === model);
  if (busy.length > 0 && ifBusy === 'refuse')
    throw new AppError(
      'CONFLICT',
      `rollout ${busy[0]?.[0]} of ${model}@${busy[0]?.[1].version} is under way: wait for its end, or take its place (ifBusy)`,
    );
  const waits = busy.length > 0 && ifBusy === 'wait';
  const reason = waits ? `waits for rollout ${busy[0]?.[0]}` : `from ${from ?? 'nothing'} to ${version}`;
  const made: StoredRollout = {
    ...request,
    gates: askedOf(model, request.gates),
    ...{ digest, salt: id, from, state: waits ? 'waiting' : 'running', reason },
    ...{ stage: 0, stageBeganAtMs: null, stageSinceAtMs: nowAtMs, createdAtMs: nowAtMs, endedAtMs: null },
    ...{ holds: true, devices: {}, history: [] },
  };
  const others = Object.entries(rollouts).map(([other, one]): [string, StoredRollout] => [
    other,
    one.model === model && !waits ? superseded(one, `rollout ${id} takes its place`, nowAtMs) : one,
  ]);
  const ended = busy.map(([one]) => ({
    id: one,
    event: 'aborted' as const,
    detail: `rollout ${id} takes its place`,
  }));
  return {
    rollouts: { ...Object.fromEntries(others), [id]: made },
    said: [...(waits ? [] : ended), { id, event: waits ? 'waiting' : 'started', detail: reason }],
  };
}

/** Of the agent nobody asks what only a model does, and of a model not whether the device is still reached. */
const askedOf = (model: string, gates: RolloutGates): RolloutGates =>
  model === AGENT_NAME
    ? { ...gates, agreement: null, escalation: null, latencyP95: null }
    : { ...gates, link: null };

/** Those that waited for others of their model begin. */
export function released(rollouts: Rollouts, models: RolloutModels): ReadonlyMap<string, Done> {
  const begun = new Map<string, Done>();
  const waiting = Object.entries(rollouts)
    .filter(([, { state }]) => state === 'waiting')
    .sort(([, a], [, b]) => a.createdAtMs - b.createdAtMs);
  const busy = new Set(
    Object.values(rollouts).flatMap(({ state, model }) =>
      isUnderWay(state) && state !== 'waiting' ? [model] : [],
    ),
  );
  for (const [id, one] of waiting) {
    if (busy.has(one.model)) continue;
    busy.add(one.model);
    const from = models.deployedOf(one.model);
    const reason = `from ${from ?? 'nothing'} to ${one.version}`;
    begun.set(id, {
      rollout: { ...one, from, state: 'running', reason },
      said: { event: 'started', detail: reason },
    });
  }
  return begun;
}

/** @throws CONFLICT: not in this state, or there is nothing to go back to */
export function act(
  rollout: StoredRollout,
  action: RolloutAction,
  { nowAtMs, models }: { readonly nowAtMs: number; readonly models: RolloutModels },
): Done {
  const { state, version, from, model } = rollout;
  const refused = new AppError('CONFLICT', `the rollout is ${state}: it can’t be ${DONE_TO[action]}`);
  const to = (change: Partial<StoredRollout>, said: Said): Done => ({
    rollout: { ...rollout, ...change, reason: said.detail },
    said,
  });
  switch (action) {
    case 'pause':
      if (state !== 'running' && state !== 'halted') throw refused;
      return to({ state: 'paused' }, { event: 'paused', detail: 'nobody new gets it until it is resumed' });
    case 'resume':
      if (state !== 'paused' && state !== 'halted') throw refused;
      return to({ state: 'running' }, { event: 'resumed', detail: 'goes on' });
    case 'abort':
      if (!isUnderWay(state)) throw refused;
      return to(
        { state: 'aborted', endedAtMs: nowAtMs },
        { event: 'aborted', detail: 'ended: devices keep what they have' },
      );
    case 'roll-back':
      if (state === 'rolled-back') throw refused;
      return {
        ...to(
          { state: 'rolled-back', endedAtMs: nowAtMs, holds: false },
          {
            event: 'rolled-back',
            detail: `every device goes back from ${version} to ${from ?? 'what it had'}`,
          },
        ),
        ...(state === 'done' && { deploy: { model, version: wayBack(rollout, models) } }),
      };
  }
}

/** The version that was deployed before. @throws CONFLICT, MODEL_UNKNOWN, UPDATE_NOT_LISTED */
function wayBack({ model, version, from }: StoredRollout, models: RolloutModels): string {
  const deployed = models.deployedOf(model);
  if (deployed !== version)
    throw new AppError(
      'CONFLICT',
      `version ${deployed} of ${model} is deployed by now: deploy the one you want`,
    );
  if (from === null) throw new AppError('CONFLICT', `nothing of ${model} was deployed before it`);
  models.versionOf(model, from);
  return from;
}

const DONE_TO: Readonly<Record<RolloutAction, string>> = {
  pause: 'paused',
  resume: 'resumed',
  abort: 'aborted',
  'roll-back': 'rolled back',
};

/** @throws CONFLICT (it has ended), PARAMETERS_INVALID */
export function changePlan(rollout: StoredRollout, { gates, window, onFailure }: RolloutPlanChange): Done {
  if (!isUnderWay(rollout.state))
    throw new AppError('CONFLICT', `the rollout is ${rollout.state}: it has ended`);
  requirePlan({ window });
  const changed = Object.entries({ gates, window, onFailure }).filter(([, value]) => value !== undefined);
  return {
    rollout: {
      ...rollout,
      ...(gates && { gates: askedOf(rollout.model, gates) }),
      ...(window !== undefined && { window }),
      ...(onFailure && { onFailure }),
    },
    said: { event: 'changed', detail: changed.map(([name]) => name).join(', ') || 'nothing' },
  };
}
