/** What lines become: numbers of channels for windows, or an input each. */
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { AppError } from '../../../shared/runtime/errors.ts';
import type { FeedItem } from '../../ports.ts';
import type { LineReader } from './line-reader.ts';
import type { Sampler } from './sampler.ts';
import { Silence } from './silence.ts';

/** What a line becomes. */
export interface LineTaker {
  /** @returns the inputs that are whole by it */
  line(line: string): FeedItem[];
  refuse(reason: string, why: string): void;
  listen(): void;
  readonly stalled: AppError | undefined;
}

/** Lines whose numbers become windows. */
export class SampledLines implements LineTaker {
  readonly #reader: LineReader;
  readonly #sampler: Sampler;
  readonly #channels: number;

  /** @param channels of the reader's places; a place behind them is the time */
  constructor(reader: LineReader, sampler: Sampler, channels: number) {
    this.#reader = reader;
    this.#sampler = sampler;
    this.#channels = channels;
  }

  line(line: string): FeedItem[] {
    const read = this.#reader.read(line);
    if (read === 'header') return [];
    if ('refused' in read) {
      this.refuse(read.refused, WHY[read.refused]);
      return [];
    }
    const values = read.values.slice(0, this.#channels).map((value, channel) => ({ channel, value }));
    return this.#sampler.take({ values, time: read.values[this.#channels] });
  }

  refuse(reason: string, why: string): void {
    this.#sampler.refuse(reason, why);
  }

  listen(): void {
    this.#sampler.listen();
  }

  get stalled(): AppError | undefined {
    return this.#sampler.stalled;
  }
}

const WHY = {
  'not-csv': 'a line was no CSV',
  'not-json': 'a line was no JSON',
  'no-header': 'no line named the columns',
};

/** Where lines come from, and what their inputs are. */
export interface WholeLinesOptions {
  /** Its one place is the input; undefined: the whole line. */
  readonly reader: LineReader | undefined;
  readonly contentType: string;
  /** For people. */
  readonly source: string;
  readonly stalledAfterMs: number;
  readonly clock: Clock;
  readonly onDropped: (reason: string) => void;
}

/** Lines that are an input each. */
export class WholeLines implements LineTaker {
  readonly #o: WholeLinesOptions;
  readonly #silence: Silence;

  constructor(options: WholeLinesOptions) {
    this.#o = options;
    this.#silence = new Silence(options);
  }

  line(line: string): FeedItem[] {
    const { reader, contentType, source } = this.#o;
    const read = reader?.read(line) ?? { values: [line] };
    if (read === 'header') return [];
    if ('refused' in read) {
      this.refuse(read.refused);
      return [];
    }
    const [value] = read.values;
    const body = Buffer.from(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
    if (body.length === 0) {
      this.refuse('no-value');
      return [];
    }
    this.#silence.heard();
    return [{ input: { contentType, body }, label: source }];
  }

  refuse(reason: string): void {
    this.#o.onDropped(reason);
  }

  listen(): void {
    this.#silence.heard();
  }

  get stalled(): AppError | undefined {
    return this.#silence.after(`line of ${this.#o.source}`);
  }
}
