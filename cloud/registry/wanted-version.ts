/**
 * Which version of a model a device should run, decided here and nowhere else: the pin of the device, then what the model deploys. A
 * rollout would come between the two, and draw its lot by the device's id.
 */
import type { Reported } from '../../shared/contract/messages.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { StoredDeployment, StoredVersion } from './records.ts';
import { own } from './store.ts';

/** Facts of a device that count. */
export interface DeviceChoice {
  readonly id: string;
  /** By model name. */
  readonly pins: Readonly<Record<string, string>>;
  readonly reported: Pick<Reported, 'pipelines'>;
}

/** Facts of a model that count. */
export interface ModelChoice {
  readonly name: string;
  readonly deployment: Pick<StoredDeployment, 'deployed'>;
  readonly versions: readonly Pick<StoredVersion, 'version' | 'digest' | 'published'>[];
}

/**
 * The versions of its own models that a device should run, by name; nothing for a model of which nothing is deployed, and never a
 * version that is not signed: the device would refuse it.
 */
export function wantedVersions(device: DeviceChoice, modelOf: (name: string) => ModelChoice): ModelRef[] {
  return edgeModelsOf(device.reported).flatMap((name) => wantedVersion(device, modelOf(name)) ?? []);
}

function wantedVersion(
  { pins }: DeviceChoice,
  { name, deployment, versions }: ModelChoice,
): ModelRef | undefined {
  const wanted = own(pins, name) ?? deployment.deployed;
  const found = versions.find(({ version, published }) => version === wanted && published);
  return found && { name, version: found.version, digest: found.digest };
}

/** The device's own models, by name, whether it has them or not. An older agent names only what it runs. */
function edgeModelsOf({ pipelines }: DeviceChoice['reported']): string[] {
  const names = pipelines.map(({ edgeModel, edge }) => edgeModel ?? edge?.name);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}
