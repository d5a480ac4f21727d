/**
 * What each device is told: for now the cloud models that its pipelines ask, as this hub runs them, so that it knows which
 * certificate holds and how large a picture is of use. Made from the records whenever it is asked for; nothing is kept.
 */
import type { Desired } from '../../shared/contract/messages.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import type { DesiredBook } from '../ports.ts';
import type { Database } from './database.ts';
import type { DeviceRegistry } from './devices.ts';
import type { ModelRegistry } from './models.ts';

export class DesiredRegistry implements DesiredBook {
  readonly #database: Database;
  readonly #devices: Pick<DeviceRegistry, 'reportOf'>;
  readonly #models: Pick<ModelRegistry, 'resolve'>;

  constructor(options: {
    readonly database: Database;
    readonly devices: Pick<DeviceRegistry, 'reportOf'>;
    readonly models: Pick<ModelRegistry, 'resolve'>;
  }) {
    this.#database = options.database;
    this.#devices = options.devices;
    this.#models = options.models;
  }

  of(deviceId: string): Desired | undefined {
    const report = this.#devices.reportOf(deviceId);
    if (!report) return undefined;
    const asked = new Set(report.pipelines.map(({ cloud }) => cloud).filter((name) => name !== null));
    return {
      version: this.#database.data.desiredVersion,
      cloudModels: [...asked].sort().flatMap((name) => this.#describe(name)),
      models: [],
    };
  }

  #describe(name: string): Desired['cloudModels'] {
    try {
      const { ref, task, picture } = this.#models.resolve(name);
      return [{ model: ref, task, picture }];
    } catch (error) {
      if (isAppError(error, 'MODEL_UNKNOWN')) return [];
      throw error;
    }
  }
}
