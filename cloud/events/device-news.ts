/** Tells who watches that something about a device has changed: twice a second at most, however often it reports. */
import type { DeviceRecord } from '../../shared/contract/admin.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { EventSink } from '../ports.ts';

const GATHER_MS = 500;

/** Changes of devices, gathered for half a second. */
export class DeviceNews implements Part {
  readonly #get: (id: string) => DeviceRecord | undefined;
  readonly #events: EventSink;
  readonly #clock: Clock;
  readonly #onNews: () => void;
  readonly #changed = new Set<string>();
  #cancel: (() => void) | undefined;

  constructor(parts: {
    readonly get: (id: string) => DeviceRecord | undefined;
    readonly events: EventSink;
    readonly clock: Clock;
    /** Hears that some have changed, as often as it is told. */
    readonly onNews?: () => void;
  }) {
    this.#get = parts.get;
    this.#events = parts.events;
    this.#clock = parts.clock;
    this.#onNews = parts.onNews ?? (() => undefined);
  }

  stop(): void {
    this.#cancel?.();
  }

  changed(id: string): void {
    this.#changed.add(id);
    this.#cancel ??= this.#clock.after(GATHER_MS, () => this.#tell());
  }

  #tell(): void {
    this.#cancel = undefined;
    const ids = [...this.#changed];
    this.#changed.clear();
    this.#onNews();
    for (const id of ids) {
      const device = this.#get(id);
      this.#events.publish(device ? { type: 'device', device } : { type: 'device-removed', id });
    }
  }
}
