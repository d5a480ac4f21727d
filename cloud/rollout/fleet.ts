/** The fleet as one rollout sees it: which devices are meant, and how far each is with the version. */
import type { DeviceRecord } from '../../shared/contract/admin.ts';
import type { AgentUpdate } from '../../shared/contract/messages.ts';
import { AGENT_NAME, agentDigest } from '../../shared/contract/releases.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { StoredRolloutDevice } from '../ports.ts';
import type { Selector } from './selector.ts';

/** A device that runs the model, or is to. */
export interface FleetDevice {
  readonly id: string;
  readonly online: boolean;
  /** When it was last heard of; null: never. */
  readonly lastSeenAtMs: number | null;
  /** What answers now; null: nothing of this model. */
  readonly now: { readonly version: string; readonly digest: string } | null;
  /** How far it is with the rollout's version; undefined: it has said nothing of it. */
  readonly progress: Pick<StoredRolloutDevice, 'state' | 'error'> | undefined;
}

/** A version on its way to devices, and whom it is for. */
export interface Target {
  readonly model: string;
  readonly digest: string;
  readonly selector: Selector;
}

/** Whether a device runs a version of its own choice, whatever others run. */
type IsPinned = (deviceId: string, model: string) => boolean;

/** Devices whose pipelines name the model and that are meant; those that are pinned are not. */
export function fleetOf(
  devices: readonly DeviceRecord[],
  target: Target,
  isPinned: IsPinned,
): Map<string, FleetDevice> {
  const found = devices.flatMap((device) => {
    const seen = isPinned(device.id, target.model) ? undefined : inFleet(device, target);
    return seen ? [[device.id, seen] as const] : [];
  });
  return new Map(found);
}

function inFleet(device: DeviceRecord, target: Target): FleetDevice | undefined {
  const { id, online, lastSeenAtMs, labels, reported } = device;
  const { model, digest, selector } = target;
  if (model === AGENT_NAME) return withAgent(device, target);
  const own = reported?.pipelines.filter(({ edge, edgeModel }) => (edgeModel ?? edge?.name) === model) ?? [];
  if (!reported || own.length === 0) return undefined;
  const { pipelines, agentVersion, hardware } = reported;
  if (!selector({ id, labels, pipelines, agentVersion, hardware })) return undefined;
  const edge = own.find((one) => one.edge?.name === model)?.edge ?? null;
  const update = reported.updates?.find((one) => one.model.name === model && one.model.digest === digest);
  return {
    id,
    online,
    lastSeenAtMs,
    now: edge && { version: edge.version, digest: edge.digest },
    progress: progressOf(edge?.digest === digest, update),
  };
}

/** The agent itself as what is rolled out: only where the hub can update it at all. */
function withAgent(
  { id, online, lastSeenAtMs, labels, reported }: DeviceRecord,
  { digest, selector }: Target,
): FleetDevice | undefined {
  if (!reported?.agent?.managed) return undefined;
  const { pipelines, agentVersion, hardware, agent } = reported;
  if (!selector({ id, labels, pipelines, agentVersion, hardware })) return undefined;
  const now = { version: agentVersion, digest: agentDigest(agentVersion) };
  const update = agent.update && agentDigest(agent.update.version) === digest ? agent.update : undefined;
  return { id, online, lastSeenAtMs, now, progress: progressOf(now.digest === digest, update) };
}

type Update = NonNullable<NonNullable<DeviceRecord['reported']>['updates']>[number];

/** How far a device is, by what it says of the update: of a model, or of its agent. */
function progressOf(
  isRunning: boolean,
  update: (Pick<Update, 'error'> & { readonly phase: Update['phase'] | AgentUpdate['phase'] }) | undefined,
): FleetDevice['progress'] {
  const error = update?.error ? { code: update.error.code, message: update.error.message } : null;
  switch (update?.phase) {
    case 'rolled-back':
      return { state: 'rolled-back', error };
    case 'trial':
      return { state: 'trial', error: null };
    case 'checking':
    case 'downloading':
    case 'staged':
    case 'trying':
    case 'installing':
      return { state: 'updating', error };
    case 'committed':
    case undefined:
      return isRunning ? { state: 'running', error: null } : undefined;
  }
}

/** Ids in the order in which a rollout draws them: another one for each, and the same after any restart. */
export function inLotOrder(salt: string, ids: Iterable<string>): string[] {
  return Array.from(ids, (id) => ({ id, lot: sha256Hex(`${salt} ${id}`) }))
    .sort((one, other) => (one.lot < other.lot ? -1 : 1))
    .map(({ id }) => id);
}
