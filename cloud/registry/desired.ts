/**
 * What each device is told: the cloud models that its pipelines ask, as this hub runs them, so that it knows which certificate holds
 * and how large a picture is of use; and which version of its own models it should run. Made from the records whenever it is asked
 * for; nothing is kept.
 */
import type { Desired, Reported } from '../../shared/contract/messages.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import type { DesiredBook } from '../ports.ts';
import { type Database, own } from './database.ts';
import type { DeviceRegistry } from './devices.ts';
import type { ModelRegistry } from './models.ts';

export interface DesiredRegistryOptions {
  readonly database: Database;
  readonly devices: Pick<DeviceRegistry, 'reportOf'>;
  readonly models: Pick<ModelRegistry, 'resolve' | 'deployed'>;
}

export class DesiredRegistry implements DesiredBook {
  readonly #o: DesiredRegistryOptions;

  constructor(options: DesiredRegistryOptions) {
    this.#o = options;
  }

  of(deviceId: string): Desired | undefined {
    const { database, devices } = this.#o;
    const report = devices.reportOf(deviceId);
    if (!report) return undefined;
    const asked = new Set(report.pipelines.map(({ cloud }) => cloud).filter((name) => name !== null));
    const pins = own(database.data.devices, deviceId)?.pins ?? {};
    return {
      version: database.data.desiredVersion,
      cloudModels: [...asked].sort().flatMap((name) => this.#describe(name)),
      models: edgeModelsOf(report).flatMap((name) => this.#o.models.deployed(name, own(pins, name)) ?? []),
    };
  }

  #describe(name: string): Desired['cloudModels'] {
    try {
      const { ref, task, picture } = this.#o.models.resolve(name);
      return [{ model: ref, task, picture }];
    } catch (error) {
      if (isAppError(error, 'MODEL_UNKNOWN')) return [];
      throw error;
    }
  }
}

/** The device's own models, by name, whether it has them or not. An older agent names only what it runs. */
function edgeModelsOf({ pipelines }: Reported): string[] {
  const names = pipelines.map(({ edgeModel, edge }) => edgeModel ?? edge?.name);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}
