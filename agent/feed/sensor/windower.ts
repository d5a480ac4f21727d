/** From readings to windows: by count or by time, and anew where a device's clock has gone back. Pure: time is passed in. */
import { type CountOptions, CountWindows, type Window, type Windowing } from './count-windows.ts';
import type { Reading, Refusal } from './rows.ts';
import { type TimeOptions, TimeWindows } from './time-windows.ts';

/** Of windows by count, or by time. */
export type WindowOptions = CountOptions | TimeOptions;

/** So many late readings in a row are no stragglers: the clock that they are of has gone back. */
const CLOCK_BACK_AFTER = 20;

/** Readings in, windows out. */
export class Windower {
  readonly #o: WindowOptions;
  readonly #onRefused: (why: Refusal | 'clock') => void;
  #windows: Windowing;
  #lateInARow = 0;

  /** @param onRefused a reading was passed over; `clock`: everything before it was, and windows begin anew */
  constructor(options: WindowOptions, onRefused: (why: Refusal | 'clock') => void) {
    this.#o = options;
    this.#onRefused = onRefused;
    this.#windows = windowsOf(options);
  }

  /** @param readings of one message @returns windows that are whole now, the oldest first */
  add(readings: readonly Reading[]): Window[] {
    for (const reading of readings) {
      const why = this.#windows.add(reading);
      this.#lateInARow = why === 'late' ? this.#lateInARow + 1 : 0;
      if (why !== undefined) this.#onRefused(why);
      if (this.#lateInARow >= CLOCK_BACK_AFTER) this.#begin(reading);
    }
    return this.#windows.take();
  }

  #begin(reading: Reading): void {
    this.#windows = windowsOf(this.#o);
    this.#lateInARow = 0;
    this.#onRefused('clock');
    this.#windows.add(reading);
  }
}

const windowsOf = (options: WindowOptions): Windowing =>
  'count' in options ? new CountWindows(options) : new TimeWindows(options);
