/** State messages of devices, by channel: presence, reported, telemetry, results. Checked here, and handed to whoever keeps the records. */
import { MAX_STATE_BYTES } from '../../shared/contract/limits.ts';
import { devicePresence, reported, telemetry } from '../../shared/contract/messages.ts';
import { result } from '../../shared/contract/result.ts';
import { hubFilters } from '../../shared/contract/topics.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { DeviceBook } from '../ports.ts';

/** Topic filters of the state messages of all devices. */
export const STATE_FILTERS: readonly string[] = [
  hubFilters.presence,
  hubFilters.reported,
  hubFilters.telemetry,
  hubFilters.results,
];

/** Reads state messages into the records. */
export class DeviceStates {
  readonly #book: DeviceBook;
  readonly #logger: Logger;

  constructor(book: DeviceBook, logger: Logger) {
    this.#book = book;
    this.#logger = logger;
  }

  /** A message of this channel of the device's; one that is no state is nobody's. */
  take(channel: string, deviceId: string, payload: Uint8Array): void {
    const book = this.#book;
    if (channel === 'presence') this.#read(payload, devicePresence, (state) => book.seen(deviceId, state));
    else if (channel === 'reported') this.#read(payload, reported, (state) => book.reported(deviceId, state));
    else if (channel === 'telemetry')
      this.#read(payload, telemetry, (state) => book.counted(deviceId, state));
    else if (channel === 'results') this.#read(payload, result, (one) => book.answered(deviceId, one));
  }

  /** An empty payload is a retained message that has been taken back. */
  #read<T>(
    payload: Uint8Array,
    schema: { safeParse(value: unknown): { success: true; data: T } | { success: false } },
    take: (state: T) => void,
  ): void {
    if (payload.length === 0 || payload.length > MAX_STATE_BYTES) return;
    const parsed = schema.safeParse(tryParseJson(payload));
    if (parsed.success) take(parsed.data);
    else this.#logger.warn('link.bad_state', { bytes: payload.length });
  }
}
