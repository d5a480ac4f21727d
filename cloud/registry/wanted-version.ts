/**
 * Which version of a model a device should run, decided here and nowhere else: the pin of the device, then that of a rollout which it
 * has come into, then what the model deploys.
 */
import type { Desired, Reported } from '../../shared/contract/messages.ts';
import type { StoredDeployment, StoredVersion } from './records.ts';
import { own } from './store.ts';

/** Facts of a device that count. */
export interface DeviceChoice {
  readonly id: string;
  /** By model name. */
  readonly pins: Readonly<Record<string, string>>;
  readonly reported: Pick<Reported, 'pipelines'>;
}

/** A version that a rollout has the device run, and when it may be tried. */
interface HeldChoice {
  readonly version: string;
  readonly window: string | null;
}

/** Facts of a model that count. */
export interface ModelChoice {
  readonly name: string;
  readonly deployment: Pick<StoredDeployment, 'deployed'>;
  /** By a rollout, for this device; undefined: by none. */
  readonly held: HeldChoice | undefined;
  readonly versions: readonly Pick<StoredVersion, 'version' | 'digest' | 'published'>[];
}

/**
 * The versions of its own models that a device should run, by name; nothing for a model of which nothing is deployed, and never a
 * version that is not signed: the device would refuse it.
 */
export function wantedVersions(
  device: DeviceChoice,
  modelOf: (name: string) => ModelChoice,
): Desired['models'] {
  return edgeModelsOf(device.reported).flatMap((name) => wantedVersion(device, modelOf(name)) ?? []);
}

function wantedVersion(
  { pins }: DeviceChoice,
  { name, deployment, held, versions }: ModelChoice,
): Desired['models'][number] | undefined {
  const pin = own(pins, name);
  const wanted = pin ?? held?.version ?? deployment.deployed;
  const found = versions.find(({ version, published }) => version === wanted && published);
  const window = pin === undefined ? held?.window : null;
  return found && { name, version: found.version, digest: found.digest, ...(window && { window }) };
}

/** The device's own models, by name, whether it has them or not. An older agent names only what it runs. */
function edgeModelsOf({ pipelines }: DeviceChoice['reported']): string[] {
  const names = pipelines.map(({ edgeModel, edge }) => edgeModel ?? edge?.name);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}
