/** Labels that an operator gives devices, beside those of their own configurations. */
import type { DeviceLabels } from '../../shared/contract/labels.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { LabelBook } from '../ports.ts';
import { requireDevice } from './pins.ts';
import type { Store } from './store.ts';

/** Records of labels, by device. */
export class LabelRegistry implements LabelBook {
  readonly #store: Store;

  constructor({ store }: { readonly store: Store }) {
    this.#store = store;
  }

  labelsOf(deviceId: string): DeviceLabels {
    return requireDevice(this.#store.data, deviceId).labels;
  }

  label(deviceId: string, labels: DeviceLabels, isExpected: (now: DeviceLabels) => boolean): Promise<void> {
    return this.#store.change((data) => {
      const device = requireDevice(data, deviceId);
      if (!isExpected(device.labels)) throw new AppError('PRECONDITION_FAILED');
      return { ...data, devices: { ...data.devices, [deviceId]: { ...device, labels } } };
    });
  }
}
