/** Windows of a fixed number of rows, with what is missing in them filled in as the configuration says. Pure: time is passed in. */
import { type Reading, type Refusal, type Row, Rows } from './rows.ts';

/** What is done where a channel says nothing. */
export type Missing = 'hold' | 'linear' | 'drop';

/** Window of numbers, whole. */
export interface Window {
  /** f64[T][C], oldest first. */
  readonly rows: readonly (readonly number[])[];
  /** Of its first and last row. */
  readonly startAt: number;
  readonly endAt: number;
  /** Hz, where the rows are that far apart. */
  readonly rate: number | undefined;
}

/** Why a row, a window or readings were given up: a channel said nothing for too long, or too much came at once. */
export type Loss = 'incomplete' | 'gap' | 'overflow';

/** What makes windows of readings. */
export interface Windowing {
  /** @returns why it was not taken */
  add(reading: Reading): Refusal | undefined;
  /** Windows that are whole now, the oldest first. */
  take(): Window[];
}

/** Lengths, and what to do where something is missing. */
export interface CountOptions {
  readonly channels: number;
  readonly count: number;
  /** Rows from the beginning of a window to that of the next. */
  readonly hop: number;
  readonly missing: Missing;
  readonly joinMs: number;
  readonly lateMs: number;
  /** The longest that a channel may say nothing; undefined: as long as a window. */
  readonly maxGapMs: number | undefined;
  readonly onLoss: (loss: Loss) => void;
}

/** A number and when it was said. */
interface Said {
  readonly at: number;
  readonly value: number;
}

/** Windows by count. */
export class CountWindows implements Windowing {
  readonly #o: CountOptions;
  readonly #rows: Rows;
  readonly #kept: Row[] = [];
  /** What each channel said last before the rows that are kept. */
  readonly #before: (Said | undefined)[];
  /** Rows to pass over before the next window, where the hop is longer than a window. */
  #skip = 0;

  constructor(options: CountOptions) {
    this.#o = options;
    this.#rows = new Rows(options);
    this.#before = Array.from({ length: options.channels }, () => undefined);
  }

  add(reading: Reading): Refusal | undefined {
    return this.#rows.add(reading);
  }

  take(): Window[] {
    return this.#rows.take().flatMap((row) => this.#next(row) ?? []);
  }

  #next(row: Row): Window | undefined {
    const { count, hop, maxGapMs, missing, onLoss } = this.#o;
    const newest = this.#kept.at(-1);
    if (newest && maxGapMs !== undefined && row.at - newest.at > maxGapMs) {
      for (const old of this.#kept.splice(0)) this.#forget(old);
      onLoss('gap');
    }
    if (this.#skip > 0) {
      this.#skip--;
      this.#forget(row);
      return undefined;
    }
    const isWhole = row.values.every((value) => value !== undefined);
    const isBegun =
      this.#kept.length > 0 || row.values.every((value, at) => (value ?? this.#before[at]) !== undefined);
    if (!isWhole && (missing === 'drop' || !isBegun)) {
      this.#forget(row);
      onLoss('incomplete');
      return undefined;
    }
    this.#kept.push(row);
    if (this.#kept.length < count) return undefined;
    const made = this.#filled();
    for (const old of this.#kept.splice(0, hop)) this.#forget(old);
    this.#skip = Math.max(0, hop - count);
    if (!made) onLoss('gap');
    return made;
  }

  #forget({ at, values }: Row): void {
    for (const [channel, value] of values.entries())
      if (value !== undefined) this.#before[channel] = { at, value };
  }

  #filled(): Window | undefined {
    const rows = this.#kept.map((): number[] => []);
    for (let channel = 0; channel < this.#o.channels; channel++) {
      const column = this.#column(channel);
      if (!column) return undefined;
      for (const [index, value] of column.entries()) (rows[index] as number[])[channel] = value;
    }
    const [first, last] = [this.#kept[0], this.#kept.at(-1)] as [Row, Row];
    return { rows, startAt: first.at, endAt: last.at, rate: undefined };
  }

  /** @returns undefined where a channel said nothing for too long */
  #column(channel: number): number[] | undefined {
    const { missing, maxGapMs } = this.#o;
    const said = this.#kept.map(({ values }) => values[channel]);
    // Without a limit of time a window is the limit.
    if (maxGapMs === undefined && said.every((value) => value === undefined)) return undefined;
    const column: number[] = [];
    let left = this.#before[channel];
    for (const [index, value] of said.entries()) {
      const { at } = this.#kept[index] as Row;
      if (value !== undefined) left = { at, value };
      const isHeld = value !== undefined || missing === 'hold';
      const right = isHeld ? undefined : this.#after(channel, index);
      if (!left || at - left.at > (maxGapMs ?? Number.POSITIVE_INFINITY)) return undefined;
      column.push(right ? between(left, right, at) : left.value);
    }
    return column;
  }

  #after(channel: number, from: number): Said | undefined {
    for (let index = from; index < this.#kept.length; index++) {
      const { at, values } = this.#kept[index] as Row;
      const value = values[channel];
      if (value !== undefined) return { at, value };
    }
    return undefined;
  }
}

/** On the straight line between two. */
export const between = (left: Said, right: Said, at: number): number =>
  right.at === left.at
    ? right.value
    : left.value + ((right.value - left.value) * (at - left.at)) / (right.at - left.at);
