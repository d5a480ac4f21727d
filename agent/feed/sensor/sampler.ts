/** From what messages or lines say of each channel to windows that a task takes, with every number that could not be used counted. */
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { FeedItem } from '../../ports.ts';
import type { CountOptions, Window } from './count-windows.ts';
import { isPlausible, numberOf, timeOf } from './reading.ts';
import type { Reading } from './rows.ts';
import type { TimeOptions } from './time-windows.ts';
import { Windower } from './windower.ts';

/** A channel of a window. */
interface Channel {
  /** For people: topic and path, or column. */
  readonly name: string;
  /** A number becomes number * scale + offset. */
  readonly scale: number;
  readonly offset: number;
}

/** What one message or line says. */
export interface Said {
  /** Index of the channel, with what stood in its place; undefined: nothing. */
  readonly values: readonly { readonly channel: number; readonly value: unknown }[];
  /** When, where the device says it. */
  readonly time?: unknown;
}

/** Windows to make, of which channels. */
export interface SamplerOptions {
  readonly channels: readonly Channel[];
  readonly windows: Omit<CountOptions, 'channels' | 'onLoss'> | Omit<TimeOptions, 'channels' | 'onLoss'>;
  /** Whether the time is what the device says, instead of when it was heard. */
  readonly isTimed: boolean;
  /** For people: where it all comes from. */
  readonly source: string;
  /** Without a number of a channel for so long the feed is stalled. */
  readonly stalledAfterMs: number;
  readonly clock: Clock;
  readonly onDropped: (reason: string) => void;
}

/** Numbers as float32 has them, with a digit to spare. */
const DIGITS = 8;

/** Maker of windows. */
export class Sampler {
  readonly #o: SamplerOptions;
  readonly #windower: Windower;
  /** Of each channel, on the monotonic clock. */
  readonly #heardMonoMs: number[];
  #arrivedMonoMs = 0;
  /** Why the last message that gave nothing did so. */
  #lastProblem: string | undefined;

  constructor(options: SamplerOptions) {
    this.#o = options;
    const { channels, windows, onDropped } = options;
    this.#heardMonoMs = channels.map(() => 0);
    this.#windower = new Windower({ ...windows, channels: channels.length, onLoss: onDropped }, onDropped);
    this.listen();
  }

  /** Silence counts from now on. */
  listen(): void {
    this.#heardMonoMs.fill(this.#o.clock.nowMonoMs());
  }

  /** @returns the windows that are whole by it, the oldest first */
  take({ values, time }: Said): FeedItem[] {
    const { clock, isTimed } = this.#o;
    const at = isTimed ? this.#saidAt(time) : this.#arrivedAt();
    if (at === undefined) return [];
    const readings = values.flatMap(({ channel, value }): Reading[] => {
      if (value === undefined || value === null) return [];
      const number = numberOf(value);
      if (number === undefined) {
        this.#drop('not-a-number', 'what stood there was not a number');
        return [];
      }
      const { scale, offset } = this.#o.channels[channel] as Channel;
      const scaled = number * scale + offset;
      if (!Number.isFinite(Math.fround(scaled))) {
        this.#drop('not-a-number', 'the number was beyond those of float32');
        return [];
      }
      this.#heardMonoMs[channel] = clock.nowMonoMs();
      return [{ channel, at, value: scaled }];
    });
    if (values.every(({ value }) => value === undefined || value === null))
      this.#drop('no-value', 'nothing stood there');
    return this.#windower.add(readings).map((window) => this.#itemOf(window));
  }

  /** Something came that could not be read. */
  refuse(reason: string, why: string): void {
    this.#drop(reason, why);
  }

  /** Why it is stalled; undefined: every channel is heard of. */
  get stalled(): AppError | undefined {
    const { channels, clock, stalledAfterMs } = this.#o;
    const silent = channels.filter(
      (_, index) => clock.nowMonoMs() - (this.#heardMonoMs[index] as number) >= stalledAfterMs,
    );
    const [first, ...others] = silent;
    if (!first) return undefined;
    const more = others.length > 0 ? ` and ${others.length} more` : '';
    const why = this.#lastProblem === undefined ? '' : `; of what came last ${this.#lastProblem}`;
    return new AppError(
      'FEED_SILENT',
      `no number of ${first.name}${more} for ${stalledAfterMs / 1_000} s${why}`,
    );
  }

  #drop(reason: string, why: string): void {
    this.#lastProblem = why;
    this.#o.onDropped(reason);
  }

  #saidAt(time: unknown): number | undefined {
    const at = timeOf(time);
    if (at === undefined) this.#drop('no-time', 'the time could not be read');
    else if (isPlausible(at, this.#o.clock.nowAtMs())) return at;
    else this.#drop('wrong-time', `the time was ${new Date(at).toISOString().slice(0, 10)}`);
    return undefined;
  }

  /** Each message has a time of its own, however fast they come. */
  #arrivedAt(): number {
    this.#arrivedMonoMs = Math.max(this.#o.clock.nowMonoMs(), this.#arrivedMonoMs + 0.001);
    return this.#arrivedMonoMs;
  }

  #itemOf({ rows, startAt, endAt, rate }: Window): FeedItem {
    const { clock, isTimed, source } = this.#o;
    const values = rows.map((row) => row.map((value) => Number(value.toPrecision(DIGITS))));
    const startAtMs = isTimed ? startAt : clock.nowAtMs() - (clock.nowMonoMs() - startAt);
    const start = new Date(startAtMs).toISOString().slice(0, 19);
    const body = Buffer.from(JSON.stringify({ values, ...(rate !== undefined && { rate }) }));
    return {
      input: { contentType: 'application/json', body },
      label: `${source}, ${start}Z, ${((endAt - startAt) / 1_000).toFixed(1)} s`,
    };
  }
}
