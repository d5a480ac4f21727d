/**
 * Sightings of the devices on the link: presence, reports, two programs with one id. It changes all the time and is written
 * now and then.
 */
import type { DevicePresence, Reported, Telemetry } from '../../shared/contract/messages.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { Contest } from './contest.ts';
import type { HubData, StoredDevice } from './records.ts';
import { own, type Store } from './store.ts';

/** Presence and reports are on the broker too: losing the last half minute of them costs nothing. */
const SAVE_EVERY_MS = 30_000;

/** A device that says to have seen more than so many versions that this hub does not know is not believed. */
const MAX_UNKNOWN_VERSIONS = 1_000;

/** State heard since the last writing. */
interface Heard {
  readonly online: boolean;
  readonly lastSeenAtMs: number;
  readonly reported: Reported | null;
  readonly contest: Contest;
  /** Not kept over a restart: the next comes within a minute. */
  readonly telemetry: Telemetry | null;
}

/** State of one device, heard or recorded. */
export interface Sighting {
  readonly online: boolean;
  readonly lastSeenAtMs: number | null;
  readonly contestedAtMs: number | null;
  readonly reported: Reported | null;
  readonly telemetry: Telemetry | null;
}

/** Sightings by device, saved every half minute. */
export class Sightings {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #heard = new Map<string, Heard>();
  /** By model name: the highest number under which a device has said to have a version. */
  readonly #versions = new Map<string, number>();
  #isDirty = false;
  #cancelSave = () => {};

  constructor({ store, clock, logger }: { store: Store; clock: Clock; logger: Logger }) {
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
  }

  start(): void {
    this.#cancelSave = this.#clock.after(SAVE_EVERY_MS, () => {
      void this.#save().then(() => this.start());
    });
  }

  async stop(): Promise<void> {
    this.#cancelSave();
    await this.#save();
  }

  seen(deviceId: string, { online, instance }: DevicePresence): void {
    const contest = this.#hear(deviceId, { online })?.contest;
    if (!online || instance === undefined) return;
    if (contest?.born(instance)) this.#logger.warn('registry.contested', { deviceId });
  }

  reported(deviceId: string, state: Reported): void {
    if (this.#hear(deviceId, { reported: state })) this.#noteVersions(state);
  }

  /** The highest number under which a device has said to have a version of the model; 0: none has. */
  versionSeen(model: string): number {
    return Math.max(this.#versions.get(model) ?? 0, own(this.#store.data.versionsSeen, model) ?? 0);
  }

  #noteVersions({ pipelines, updates = [] }: Reported): void {
    for (const ref of [...pipelines.map(({ edge }) => edge), ...updates.map(({ model }) => model)]) {
      // Bounds the map: only models that exist.
      const versions = ref && own<HubData['models'][string]>(this.#store.data.models, ref.name);
      if (!ref || !versions) continue;
      const [number, seen] = [Number(ref.version), this.versionSeen(ref.name)];
      const known = Math.max(0, ...versions.map(({ version }) => Number(version)));
      if (number > seen && number <= known + MAX_UNKNOWN_VERSIONS) this.#versions.set(ref.name, number);
    }
  }

  /** Without what is for other devices, which is kept elsewhere. */
  counted(deviceId: string, { pairs: _elsewhere, ...counters }: Telemetry): void {
    this.#hear(deviceId, { telemetry: counters });
  }

  of(id: string, stored: StoredDevice): Sighting {
    const heard = this.#heard.get(id);
    return {
      online: heard?.online ?? false,
      lastSeenAtMs: heard?.lastSeenAtMs ?? stored.lastSeenAtMs,
      contestedAtMs: heard?.contest.noticedAtMs ?? null,
      reported: heard?.reported ?? stored.reported,
      telemetry: heard?.telemetry ?? null,
    };
  }

  forget(id: string): void {
    this.#heard.delete(id);
  }

  #hear(deviceId: string, news: Partial<Heard>): Heard | undefined {
    const stored = own(this.#store.data.devices, deviceId);
    // Bounds the map: only devices that exist can be heard.
    if (!stored) return undefined;
    const before = this.#heard.get(deviceId) ?? {
      online: false,
      reported: stored.reported,
      contest: new Contest(this.#clock),
      telemetry: null,
    };
    const heard = { ...before, ...news, lastSeenAtMs: this.#clock.nowAtMs() };
    this.#heard.set(deviceId, heard);
    this.#isDirty = true;
    return heard;
  }

  async #save(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    try {
      await this.#store.change((data) => ({
        ...data,
        devices: this.#withHeard(data.devices),
        versionsSeen: { ...data.versionsSeen, ...Object.fromEntries(this.#versions) },
      }));
    } catch (error) {
      this.#isDirty = true;
      this.#logger.failure('registry.save_failed', error);
    }
  }

  #withHeard(devices: HubData['devices']): HubData['devices'] {
    return Object.fromEntries(
      Object.entries(devices).map(([id, stored]) => {
        const heard = this.#heard.get(id);
        return [
          id,
          heard ? { ...stored, lastSeenAtMs: heard.lastSeenAtMs, reported: heard.reported } : stored,
        ];
      }),
    );
  }
}
