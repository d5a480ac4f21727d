/**
 * Desired state of each device, as it is told: the cloud models that its pipelines ask, as this hub runs them, so that it knows which
 * certificate holds and how large a picture is of use; and which version of its own models it should run (wanted-version.ts). Made
 * from the records whenever it is asked for; nothing is kept.
 */
import type { Desired, Reported } from '../../shared/contract/messages.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import type { DesiredBook, FleetPromise, FleetStarts } from '../ports.ts';
import { wantedAgent } from './agent-releases.ts';
import type { DeviceRegistry } from './devices.ts';
import type { ModelRegistry } from './models.ts';
import { own, type Store } from './store.ts';
import { wantedVersions } from './wanted-version.ts';

/** Records from which the desired state of a device is made. */
export interface DesiredRegistryOptions {
  readonly store: Store;
  readonly devices: Pick<DeviceRegistry, 'reportOf'>;
  readonly models: Pick<ModelRegistry, 'resolve' | 'choiceOf'>;
  /** What other devices have seen; undefined: nobody keeps it. */
  readonly fleet: FleetStarts | undefined;
}

/** Desired states, made from records and sightings. */
export class DesiredRegistry implements DesiredBook {
  readonly #o: DesiredRegistryOptions;

  constructor(options: DesiredRegistryOptions) {
    this.#o = options;
  }

  of(deviceId: string): Desired | undefined {
    const { store, devices, models } = this.#o;
    const reported = devices.reportOf(deviceId);
    if (!reported) return undefined;
    const asked = new Set(reported.pipelines.map(({ cloud }) => cloud).filter((name) => name !== null));
    const starts = this.#o.fleet?.startsFor(reported.pipelines.flatMap((one) => this.#promiseOf(one))) ?? [];
    const pins = own(store.data.devices, deviceId)?.pins ?? {};
    const agent = wantedAgent(store.data, deviceId);
    return {
      version: store.data.desiredVersion,
      cloudModels: [...asked].sort().flatMap((name) => this.#describe(name)),
      models: wantedVersions({ id: deviceId, pins, reported }, (name) => models.choiceOf(name, deviceId)),
      ...(starts.length > 0 && { starts }),
      ...(agent && { agent }),
    };
  }

  /** What a pipeline promises that knows too little to keep it by itself; nothing of one that stands on its own. */
  #promiseOf({ edge, cloud, route }: Reported['pipelines'][number]): FleetPromise[] {
    if (!edge || cloud === null || !route || route.scope !== 'all' || route.labels.length > 0) return [];
    const isOpen = route.basis === 'learning' || (route.basis === 'certificate' && route.source === 'fleet');
    const { agreement, confidence } = route;
    if (!isOpen || agreement <= 0 || agreement >= 1 || confidence <= 0 || confidence >= 1) return [];
    return this.#describe(cloud).map(({ model }) => ({
      ...{ edgeDigest: edge.digest, cloudDigest: model.digest, agreement, confidence },
    }));
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
