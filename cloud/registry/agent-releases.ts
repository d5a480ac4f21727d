/**
 * Versions of the agent itself among the records: which of them devices may be told of, and which one a device should run. What is
 * deployed, pinned and rolled out lies where it does for models, under the name `outrider-agent`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Desired } from '../../shared/contract/messages.ts';
import { AGENT_NAME, type ReleaseRecord } from '../../shared/contract/releases.ts';
import { isUnderWay } from '../../shared/contract/rollouts.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { AgentReleaseBook } from '../ports.ts';
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

  get deployed(): string | null {
    return deployedAgent(this.#o.store.data);
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

  async deploy(
    version: string | null,
    isExpected: (deployed: string | null) => boolean,
    by: string | null,
  ): Promise<void> {
    const { store, clock, onDesiredChange } = this.#o;
    let isChanged = false;
    await store.change((data) => {
      const now = deployedAgent(data);
      if (!isExpected(now)) throw new AppError('PRECONDITION_FAILED');
      if (version !== null) requirePublishedAgent(data, version);
      const detail =
        version === null ? 'nothing is deployed any more' : `version ${version} was deployed by hand`;
      const rollouts = supersede(data.rollouts, AGENT_NAME, { atMs: clock.nowAtMs(), by, detail });
      isChanged = now !== version || !isDeepStrictEqual(rollouts, data.rollouts);
      if (!isChanged) return data;
      const before = own<HubData['deployments'][string]>(data.deployments, AGENT_NAME);
      const deployment = { policy: 'manual' as const, plan: null, ...before, deployed: version };
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
    add(deployedAgent(data));
    for (const { pins } of Object.values(data.devices)) add(own(pins, AGENT_NAME));
    for (const { model, version, holds, state } of Object.values(data.rollouts))
      if (model === AGENT_NAME && (holds || isUnderWay(state))) add(version);
    return wanted;
  }

  holderOf(version: string): string | undefined {
    const { data } = this.#o.store;
    const whole = `${AGENT_NAME}@${version}`;
    if (deployedAgent(data) === version)
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

/** null: nothing is, devices keep what they have. */
const deployedAgent = (data: HubData): string | null => own(data.deployments, AGENT_NAME)?.deployed ?? null;

/** What a device should run: its pin, else what a rollout has it run, else what is deployed; never what is not signed. */
export function wantedAgent(data: HubData, deviceId: string): Desired['agent'] {
  const pin = own(own<HubData['devices'][string]>(data.devices, deviceId)?.pins ?? {}, AGENT_NAME);
  const held = pin === undefined ? heldVersion(data.rollouts, AGENT_NAME, deviceId) : undefined;
  const version = pin ?? held?.version ?? deployedAgent(data);
  if (version === null || !Object.hasOwn(data.agentReleases, version)) return undefined;
  return { version, ...(held?.window && { window: held.window }) };
}
