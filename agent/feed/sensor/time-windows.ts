/** Windows of a fixed time, brought to a fixed rate, whatever the rates of the channels are. Pure: time is passed in. */
import { between, type Loss, type Missing, type Window, type Windowing } from './count-windows.ts';
import type { Reading, Refusal } from './rows.ts';

/** Lengths, rate, and what to do where something is missing. */
export interface TimeOptions {
  readonly channels: number;
  readonly timeMs: number;
  /** From the beginning of a window to that of the next. */
  readonly hopMs: number;
  /** Hz. */
  readonly rate: number;
  readonly missing: Missing;
  readonly joinMs: number;
  readonly lateMs: number;
  /** The longest that a channel may say nothing; undefined: as long as a window. */
  readonly maxGapMs: number | undefined;
  readonly onLoss: (loss: Loss) => void;
}

/** Of one channel that wait for their windows: a sensor of 10 kHz and windows of 6 s. */
const MAX_WAITING = 65_536;
/** Windows that one reading may complete; of more, which a long silence makes, the newest. */
const MAX_DUE = 64;
/** Of a step: clocks tick unevenly, and rounding takes its part. */
const TOLERANCE = 1e-6;
/** With `drop`: a number stands for so many steps, so that a sensor that ticks unevenly loses none. */
const DROP_STEPS = 1.5;

/** Windows by time. Window k begins hop * k after the first reading, and has its rows 1 / rate apart. */
export class TimeWindows implements Windowing {
  readonly #o: TimeOptions;
  readonly #length: number;
  readonly #stepMs: number;
  readonly #maxGapMs: number;
  /** Of each channel, in the order of time: those that the next window needs, with one before it. */
  readonly #waiting: Reading[][];
  /** Beginning of the next window. */
  #startAt: number | undefined;

  constructor(options: TimeOptions) {
    this.#o = options;
    this.#length = Math.max(1, Math.round((options.timeMs * options.rate) / 1_000));
    this.#stepMs = 1_000 / options.rate;
    this.#maxGapMs =
      options.missing === 'drop' ? DROP_STEPS * this.#stepMs : (options.maxGapMs ?? options.timeMs);
    this.#waiting = Array.from({ length: options.channels }, () => []);
  }

  add(reading: Reading): Refusal | undefined {
    this.#startAt ??= reading.at;
    const line = this.#waiting[reading.channel] as Reading[];
    if (reading.at < this.#startAt) {
      if (reading.at <= (line.at(-1)?.at ?? Number.NEGATIVE_INFINITY)) return 'late';
      // Between two windows: the last of these is what the next one begins with.
      line.splice(0, line.length, reading);
      return undefined;
    }
    let index = line.length;
    while (index > 0 && (line[index - 1] as Reading).at > reading.at) index--;
    if (line[index - 1]?.at === reading.at) return 'duplicate';
    line.splice(index, 0, reading);
    if (line.length > MAX_WAITING) {
      line.shift();
      this.#o.onLoss('overflow');
    }
    return undefined;
  }

  take(): Window[] {
    const made: Window[] = [];
    if (this.#startAt === undefined) return made;
    this.#leap();
    while (this.#isDue(this.#startAt)) {
      const window = this.#filled(this.#startAt);
      if (window) made.push(window);
      else this.#o.onLoss('gap');
      this.#startAt += this.#o.hopMs;
      this.#forget(this.#startAt);
    }
    return made;
  }

  #isDue(startAt: number): boolean {
    const { joinMs, lateMs } = this.#o;
    const lastAt = startAt + (this.#length - 1) * this.#stepMs - this.#stepMs * TOLERANCE;
    const newest = this.#waiting.map((line) => line.at(-1)?.at ?? Number.NEGATIVE_INFINITY);
    const most = Math.max(...newest);
    return most >= lastAt + Math.max(joinMs, lateMs) || (lateMs === 0 && newest.every((at) => at >= lastAt));
  }

  /** Over windows of a long silence, instead of trying each. */
  #leap(): void {
    const { hopMs, timeMs, onLoss } = this.#o;
    const startAt = this.#startAt as number;
    const newestAt = Math.max(...this.#waiting.map((line) => line.at(-1)?.at ?? startAt));
    const due = Math.floor((newestAt - timeMs - startAt) / hopMs);
    if (due <= MAX_DUE) return;
    this.#startAt = startAt + (due - MAX_DUE) * hopMs;
    this.#forget(this.#startAt);
    onLoss('gap');
  }

  /** All but the last one at or before the beginning of the next window. */
  #forget(startAt: number): void {
    for (const line of this.#waiting) {
      let count = 0;
      while ((line[count + 1]?.at ?? Number.POSITIVE_INFINITY) <= startAt) count++;
      line.splice(0, count);
    }
  }

  #filled(startAt: number): Window | undefined {
    const rows = Array.from({ length: this.#length }, (): number[] => []);
    for (const line of this.#waiting) {
      let next = 0;
      for (const [index, row] of rows.entries()) {
        const at = startAt + index * this.#stepMs;
        while ((line[next]?.at ?? Number.POSITIVE_INFINITY) <= at + this.#stepMs * TOLERANCE) next++;
        const value = this.#valueAt(at, line[next - 1], line[next]);
        if (value === undefined) return undefined;
        row.push(value);
      }
    }
    const endAt = startAt + (this.#length - 1) * this.#stepMs;
    return { rows, startAt, endAt, rate: this.#o.rate };
  }

  #valueAt(at: number, left: Reading | undefined, right: Reading | undefined): number | undefined {
    const isNear = (one: Reading | undefined): one is Reading =>
      one !== undefined && Math.abs(at - one.at) <= this.#maxGapMs + this.#stepMs * TOLERANCE;
    if (this.#o.missing !== 'linear') return isNear(left) ? left.value : undefined;
    if (isNear(left) && isNear(right)) return at <= left.at ? left.value : between(left, right, at);
    if (isNear(left)) return left.value;
    return isNear(right) ? right.value : undefined;
  }
}
