/**
 * Joins what several channels say at about the same time into rows, in the order of time. A row is closed when every channel has said
 * something, or has said something later already, or when nothing can join it any more. Pure: time is passed in.
 */

/** One number of one channel. */
export interface Reading {
  readonly channel: number;
  /** Milliseconds, on one clock for all. */
  readonly at: number;
  readonly value: number;
}

/** What the channels said at about one time. */
export interface Row {
  readonly at: number;
  /** Of each channel; undefined: it said nothing. */
  readonly values: readonly (number | undefined)[];
}

/** Why a reading was passed over. */
export type Refusal = 'late' | 'duplicate';

/** Rows that wait for a channel; more only come with a wait that is far too long for its sensors. */
const MAX_OPEN = 1_024;

interface OpenRow {
  readonly at: number;
  readonly values: (number | undefined)[];
  missing: number;
}

/** Readings in, rows out. */
export class Rows {
  readonly #o: { readonly channels: number; readonly joinMs: number; readonly lateMs: number };
  /** In the order of time. */
  #open: OpenRow[] = [];
  #closedAt = Number.NEGATIVE_INFINITY;
  #newest = Number.NEGATIVE_INFINITY;
  /** Of each channel. */
  #newestOf: number[];

  /**
   * @param options.joinMs readings this near belong together
   * @param options.lateMs how long a row waits for readings that come late
   */
  constructor(options: { readonly channels: number; readonly joinMs: number; readonly lateMs: number }) {
    this.#o = options;
    this.#newestOf = Array.from({ length: options.channels }, () => Number.NEGATIVE_INFINITY);
  }

  /** @returns why it was not taken */
  add({ channel, at, value }: Reading): Refusal | undefined {
    if (at <= this.#closedAt) return 'late';
    const near = this.#nearest(channel, at);
    if (near === 'duplicate') return near;
    const row = near ?? this.#insert(at);
    row.values[channel] = value;
    row.missing--;
    this.#newest = Math.max(this.#newest, at);
    this.#newestOf[channel] = Math.max(this.#newestOf[channel] as number, at);
    return undefined;
  }

  /** Rows that are closed now, the oldest first. */
  take(): Row[] {
    let count = 0;
    while (count < this.#open.length && this.#isDone(this.#open[count] as OpenRow, count)) count++;
    const done = this.#open.splice(0, count);
    const last = done.at(-1);
    if (last) this.#closedAt = last.at;
    return done;
  }

  #nearest(channel: number, at: number): OpenRow | 'duplicate' | undefined {
    let best: OpenRow | undefined;
    for (let index = this.#open.length - 1; index >= 0; index--) {
      const row = this.#open[index] as OpenRow;
      // From here on they are further and further away.
      if (row.at < at - this.#o.joinMs) break;
      const distance = Math.abs(row.at - at);
      if (row.values[channel] !== undefined) {
        if (distance === 0) return 'duplicate';
        continue;
      }
      if (distance <= this.#o.joinMs && distance <= Math.abs((best?.at ?? Number.POSITIVE_INFINITY) - at))
        best = row;
    }
    return best;
  }

  #insert(at: number): OpenRow {
    const values = Array.from({ length: this.#o.channels }, () => undefined);
    const row: OpenRow = { at, values, missing: this.#o.channels };
    let index = this.#open.length;
    while (index > 0 && (this.#open[index - 1] as OpenRow).at > at) index--;
    this.#open.splice(index, 0, row);
    return row;
  }

  #isDone({ at, values, missing }: OpenRow, before: number): boolean {
    const { joinMs, lateMs } = this.#o;
    if (this.#open.length - before > MAX_OPEN) return true;
    const waited = this.#newest - at;
    if (waited < lateMs) return false;
    if (missing === 0 || waited > Math.max(joinMs, lateMs)) return true;
    return values.every((value, channel) => value !== undefined || (this.#newestOf[channel] as number) > at);
  }
}
