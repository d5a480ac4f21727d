/**
 * Pins: versions that single devices run instead of what their models deploy, to try one out, or because such a device cannot take
 * another.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DevicePins } from '../../shared/contract/admin.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { PinBook } from '../ports.ts';
import { requirePublished } from './models.ts';
import type { HubData, StoredDevice } from './records.ts';
import { own, type Store } from './store.ts';

type Pins = DevicePins['pins'];

/** Records of pins, by device. */
export class PinRegistry implements PinBook {
  readonly #store: Store;
  readonly #onDesiredChange: () => void;

  constructor(options: { readonly store: Store; readonly onDesiredChange: () => void }) {
    this.#store = options.store;
    this.#onDesiredChange = options.onDesiredChange;
  }

  pinsOf(deviceId: string): Pins {
    return requireDevice(this.#store.data, deviceId).pins;
  }

  async pin(deviceId: string, pins: Pins, isExpected: (now: Pins) => boolean): Promise<void> {
    let isChanged = false;
    await this.#store.change((data) => {
      const device = requireDevice(data, deviceId);
      if (!isExpected(device.pins)) throw new AppError('PRECONDITION_FAILED');
      for (const [name, version] of Object.entries(pins)) requirePublished(data, name, version);
      isChanged = !isDeepStrictEqual(device.pins, pins);
      if (!isChanged) return data;
      const desiredVersion = data.desiredVersion + 1;
      return { ...data, desiredVersion, devices: { ...data.devices, [deviceId]: { ...device, pins } } };
    });
    if (isChanged) this.#onDesiredChange();
  }
}

/** @throws DEVICE_UNKNOWN */
export function requireDevice(data: HubData, deviceId: string): StoredDevice {
  const device = own(data.devices, deviceId);
  if (!device) throw new AppError('DEVICE_UNKNOWN', 'there is no device of this name');
  return device;
}
