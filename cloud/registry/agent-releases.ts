/**
 * Versions of the agent itself among the records: which of them devices may be told of, and which one a device should run. What is
 * deployed, pinned and rolled out lies where it does for models, under the name `outrider-agent`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AgentReleaseChange } from '../../shared/contract/agent-releases.ts';
import type { Desired } from '../../shared/contract/messages.ts';
import {
  AGENT_NAME,
  isOlderRelease,
  newestReleaseFirst,
  type ReleaseRecord,
} from '../../shared/contract/releases.ts';
import { isUnderWay } from '../../shared/contract/rollouts.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { AgentReleaseBook, AgentStanding, StagedVersion } from '../ports.ts';
import type { HubData } from './records.ts';
import { heldVersion, supersede } from './rollout-records.ts';
import { own, type Store } from './store.ts';

type Platforms = readonly ReleaseRecord['platform'][];

interface Options {
  readonly store: Store;
  readonly clock: Clock;
  readonly onDesiredChange: () => void;
}

/** Records of the agent's releases. */
export class AgentReleaseRegistry implements AgentReleaseBook {
  readonly #o: Options;

  constructor(options: Options) {
    this.#o = options;
  }

  get standing(): AgentStanding {
    return standingOf(this.#o.store.data);
  }

  staged(): StagedVersion[] {
    const { data } = this.#o.store;
    const { policy, plan, deployed } = standingOf(data);
    const [newest] = Object.keys(data.agentReleases).sort(newestReleaseFirst);
    // What there is nothing to go back from is begun by people.
    if (policy !== 'staged' || deployed === null || newest === undefined) return [];
    return isOlderRelease(deployed, newest) ? [{ model: AGENT_NAME, version: newest, plan }] : [];
  }

  async publish(versions: Readonly<Record<string, Platforms>>): Promise<void> {
    const { store, onDesiredChange } = this.#o;
    if (isDeepStrictEqual(store.data.agentReleases, versions)) return;
    await store.change((data) => ({
      ...data,
      desiredVersion: data.desiredVersion + 1,
      agentReleases: Object.fromEntries(
        Object.entries(versions).map(([version, platforms]) => [version, [...platforms]]),
      ),
    }));
    onDesiredChange();
  }

  async change(
    { deployed: version, policy, plan }: AgentReleaseChange,
    isExpected: (now: AgentStanding) => boolean,
    by: string | null,
  ): Promise<void> {
    const { store, clock, onDesiredChange } = this.#o;
    let isChanged = false;
    await store.change((data) => {
      const now = standingOf(data);
      if (!isExpected(now)) throw new AppError('PRECONDITION_FAILED');
      if (typeof version === 'string') requirePublishedAgent(data, version);
      const detail =
        version === null ? 'nothing is deployed any more' : `version ${version} was deployed by hand`;
      const rollouts =
        version === undefined
          ? data.rollouts
          : supersede(data.rollouts, AGENT_NAME, { atMs: clock.nowAtMs(), by, detail });
      const deployment = {
        policy: policy ?? now.policy,
        plan: plan === undefined ? now.plan : plan,
        deployed: version === undefined ? now.deployed : version,
      };
      isChanged = !isDeepStrictEqual(now, deployment) || !isDeepStrictEqual(rollouts, data.rollouts);
      if (!isChanged) return data;
      return {
        ...data,
        rollouts,
        desiredVersion: data.desiredVersion + 1,
        deployments: { ...data.deployments, [AGENT_NAME]: deployment },
      };
    });
    if (isChanged) onDesiredChange();
  }

  wantedBySomebody(): Set<string> {
    const { data } = this.#o.store;
    const wanted = new Set<string>();
    const add = (version: string | null | undefined): void => void (version && wanted.add(version));
    add(standingOf(data).deployed);
    for (const { pins } of Object.values(data.devices)) add(own(pins, AGENT_NAME));
    for (const { model, version, holds, state } of Object.values(data.rollouts))
      if (model === AGENT_NAME && (holds || isUnderWay(state))) add(version);
    return wanted;
  }

  holderOf(version: string): string | undefined {
    const { data } = this.#o.store;
    const whole = `${AGENT_NAME}@${version}`;
    if (standingOf(data).deployed === version)
      return `${whole} is deployed: deploy another version first (outrider releases deploy VERSION)`;
    for (const [id, { pins }] of Object.entries(data.devices))
      if (own(pins, AGENT_NAME) === version)
        return `device ${id} is pinned to ${whole}: outrider devices unpin ${id} ${AGENT_NAME}`;
    for (const [id, one] of Object.entries(data.rollouts)) {
      if (one.model !== AGENT_NAME || (!one.holds && !isUnderWay(one.state))) continue;
      if (one.version === version) return `rollout ${id} brings ${whole} to devices (it is ${one.state})`;
      if (one.from === version) return `rollout ${id} would go back to ${whole} (it is ${one.state})`;
    }
    return undefined;
  }
}

/** @throws UPDATE_NOT_LISTED: devices would refuse it */
export function requirePublishedAgent(data: HubData, version: string): void {
  if (Object.hasOwn(data.agentReleases, version)) return;
  const known = Object.keys(data.agentReleases).join(', ') || 'none';
  throw new AppError(
    'UPDATE_NOT_LISTED',
    `there is no signed release ${version} of the agent here (there are: ${known}): outrider releases push ARCHIVE`,
  );
}

function standingOf(data: HubData): AgentStanding {
  const { deployed = null, policy, plan = null } = own(data.deployments, AGENT_NAME) ?? {};
  return { deployed, policy: policy === 'staged' ? policy : 'manual', plan };
}

/** What a device should run: its pin, else what a rollout has it run, else what is deployed; never what is not signed. */
export function wantedAgent(data: HubData, deviceId: string): Desired['agent'] {
  const pin = own(own<HubData['devices'][string]>(data.devices, deviceId)?.pins ?? {}, AGENT_NAME);
  const held = pin === undefined ? heldVersion(data.rollouts, AGENT_NAME, deviceId) : undefined;
  const version = pin ?? held?.version ?? standingOf(data).deployed;
  if (version === null || !Object.hasOwn(data.agentReleases, version)) return undefined;
  return { version, ...(held?.window && { window: held.window }) };
}
