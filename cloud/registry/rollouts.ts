/** Records of rollouts: each change in one step with what it deploys, so that no crash leaves the one without the other. */
import { isDeepStrictEqual } from 'node:util';
import { AGENT_NAME, agentDigest } from '../../shared/contract/releases.ts';
import type { RolloutBook, RolloutChange, RolloutModels } from '../ports.ts';
import { requirePublished } from './models.ts';
import type { HubData } from './records.ts';
import { noted, type StoredRollout } from './rollout-records.ts';
import { own, type Store } from './store.ts';

/** Ended rollouts that are kept; the oldest go first. */
const MAX_ENDED = 100;

/** Rollouts in the hub's records. */
export class RolloutRegistry implements RolloutBook {
  readonly #store: Store;
  readonly #onDesiredChange: (model: string) => void;

  constructor(options: { readonly store: Store; readonly onDesiredChange: (model: string) => void }) {
    this.#store = options.store;
    this.#onDesiredChange = options.onDesiredChange;
  }

  get all(): Readonly<Record<string, StoredRollout>> {
    return this.#store.data.rollouts;
  }

  get models(): RolloutModels {
    return modelsOf(this.#store.data);
  }

  async change(
    next: (now: Readonly<Record<string, StoredRollout>>, models: RolloutModels) => RolloutChange,
  ): Promise<void> {
    const changed = new Set<string>();
    await this.#store.change((data) => {
      changed.clear();
      const { rollouts: changedRollouts, notes, deploy } = next(data.rollouts, modelsOf(data));
      const rollouts = withNotes(changedRollouts, notes);
      if (isDeepStrictEqual(rollouts, data.rollouts) && !deploy) return data;
      for (const [id, one] of Object.entries(rollouts))
        if (tells(one) !== tells(own<StoredRollout>(data.rollouts, id))) changed.add(one.model);
      if (deploy) changed.add(deploy.model);
      return {
        ...data,
        ...(changed.size > 0 && { desiredVersion: data.desiredVersion + 1 }),
        rollouts: withoutOldest(rollouts),
        ...(deploy && { deployments: deployed(data, deploy) }),
      };
    });
    for (const model of changed) this.#onDesiredChange(model);
  }
}

function withNotes(
  rollouts: RolloutChange['rollouts'],
  notes: RolloutChange['notes'],
): Record<string, StoredRollout> {
  const all = { ...rollouts };
  for (const { id, ...note } of notes) {
    const found = own(all, id);
    if (found) all[id] = noted(found, note);
  }
  return all;
}

/** All of a rollout that devices are told. */
function tells(rollout: StoredRollout | undefined): string {
  if (!rollout?.holds) return '';
  const held = Object.entries(rollout.devices).filter(([, { state }]) => state !== 'left');
  return JSON.stringify([rollout.version, rollout.window, held.map(([id]) => id)]);
}

function modelsOf(data: HubData): RolloutModels {
  return {
    versionOf: (model, version) => {
      requirePublished(data, model, version);
      if (model === AGENT_NAME) return { digest: agentDigest(version) };
      const found = own(data.models, model)?.find((one) => one.version === version);
      return { digest: found?.digest ?? '' };
    },
    deployedOf: (model) => own(data.deployments, model)?.deployed ?? null,
  };
}

function deployed(
  data: HubData,
  { model, version }: NonNullable<RolloutChange['deploy']>,
): HubData['deployments'] {
  const before = own<HubData['deployments'][string]>(data.deployments, model);
  return { ...data.deployments, [model]: { policy: 'manual', plan: null, ...before, deployed: version } };
}

function withoutOldest(rollouts: Readonly<Record<string, StoredRollout>>): Record<string, StoredRollout> {
  const ended = Object.entries(rollouts)
    .filter(([, { endedAtMs, holds }]) => endedAtMs !== null && !holds)
    .sort(([, a], [, b]) => (a.endedAtMs ?? 0) - (b.endedAtMs ?? 0));
  const gone = new Set(ended.slice(0, Math.max(0, ended.length - MAX_ENDED)).map(([id]) => id));
  return Object.fromEntries(Object.entries(rollouts).filter(([id]) => !gone.has(id)));
}
