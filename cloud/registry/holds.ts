/** Who still needs a version of a model, or the whole model: what is deployed, pinned, on a device, or the last good one is never removed. */
import type { Reported } from '../../shared/contract/messages.ts';
import { isUnderWay } from '../../shared/contract/rollouts.ts';
import type { HubData, StoredVersion } from './records.ts';
import { own } from './store.ts';

/** What may hold a version, beside the records. */
export interface HoldFacts {
  readonly data: HubData;
  /** Last report of each device, of those that are away too; null: it has made none. */
  readonly reports: ReadonlyMap<string, Reported | null>;
}

/** In words, who holds this version; undefined: nobody. */
export function holdsVersion(name: string, version: string, facts: HoldFacts): string | undefined {
  const { data } = facts;
  const whole = `${name}@${version}`;
  if (own(data.deployments, name)?.deployed === version)
    return `${whole} is deployed: deploy another version first (outrider models deploy ${name} VERSION)`;
  const isGood = (one: StoredVersion): boolean => one.test !== 'forced' && one.removedAtMs === null;
  const versions = own<HubData['models'][string]>(data.models, name) ?? [];
  if (!versions.some((one) => one.version !== version && isGood(one)))
    return `${whole} is the last good version of it: outrider models rm ${name} removes the whole model`;
  return heldByDevice(name, version, facts) ?? heldByRollout(name, version, data);
}

/** In words, who holds the model; undefined: nobody. What is deployed to nobody holds nothing. */
export function holdsModel(name: string, facts: HoldFacts): string | undefined {
  const { data } = facts;
  for (const [id, report] of facts.reports) {
    const pipeline = report?.pipelines.find(
      ({ edge, edgeModel, cloud }) => edge?.name === name || edgeModel === name || cloud === name,
    );
    if (pipeline) return `pipeline ${pipeline.name} of device ${id} uses ${name}`;
  }
  const engine = Object.entries(data.engines).find(([, { fallback }]) => fallback === name)?.[0];
  if (engine !== undefined) return `${name} answers where the engine of ${engine} fails`;
  for (const { version } of own<HubData['models'][string]>(data.models, name) ?? []) {
    const held = heldByDevice(name, version, facts) ?? heldByRollout(name, version, data);
    if (held !== undefined) return held;
  }
  return undefined;
}

function heldByDevice(name: string, version: string, { data, reports }: HoldFacts): string | undefined {
  const isIt = (ref: { readonly name: string; readonly version: string } | null | undefined): boolean =>
    ref?.name === name && ref.version === version;
  for (const [id, device] of Object.entries(data.devices)) {
    if (own(device.pins, name) === version)
      return `device ${id} is pinned to ${name}@${version}: outrider devices unpin ${id} ${name}`;
    const { pipelines = [], updates = [] } = reports.get(id) ?? {};
    const is = (what: string): string => `device ${id} has ${name}@${version}: it ${what}`;
    if (pipelines.some(({ edge }) => isIt(edge))) return is('answers with it');
    if (updates.some(({ model, phase }) => isIt(model) && phase !== 'rolled-back'))
      return is('is updating to it, or has');
    if (updates.some(({ previous }) => isIt(previous))) return is('would go back to it');
  }
  return undefined;
}

/** A rollout that is under way may have to go on, or back; one that was aborted has devices keep what they have. */
function heldByRollout(name: string, version: string, { rollouts }: HubData): string | undefined {
  for (const [id, one] of Object.entries(rollouts)) {
    if (one.model !== name || (!one.holds && !isUnderWay(one.state))) continue;
    if (one.version === version)
      return `rollout ${id} brings ${name}@${version} to devices (it is ${one.state})`;
    if (one.from === version) return `rollout ${id} would go back to ${name}@${version} (it is ${one.state})`;
  }
  return undefined;
}
