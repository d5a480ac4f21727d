/** Lines of a text file, one input each; blank lines are passed over. Once, or again and again at a gentle pace. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Feed, FeedItem } from '../ports.ts';

export interface TextLinesFeedOptions {
  readonly path: string;
  /** Start again when the end is reached, with this wait between two inputs; undefined: end there. */
  readonly repeatPaceMs: number | undefined;
  readonly once: boolean;
  readonly clock: Clock;
}

/** Enough of a line to know it by. */
const LABEL_CHARACTERS = 60;

export class TextLinesFeed implements Feed {
  readonly #o: TextLinesFeedOptions;

  constructor(options: TextLinesFeedOptions) {
    this.#o = options;
  }

  async run(take: (item: FeedItem) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { repeatPaceMs, once, clock } = this.#o;
    await this.#pass(take, signal, 0);
    if (once || repeatPaceMs === undefined) return;
    while (!signal.aborted) {
      await clock.sleep(repeatPaceMs, signal).catch(() => undefined);
      await this.#pass(take, signal, repeatPaceMs);
    }
  }

  async #pass(take: (item: FeedItem) => Promise<void>, signal: AbortSignal, paceMs: number): Promise<void> {
    const stream = createReadStream(this.#o.path);
    try {
      for await (const line of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
        if (signal.aborted) return;
        const text = line.trim();
        if (text === '') continue;
        await take({
          input: { contentType: 'text/plain; charset=utf-8', body: Buffer.from(text, 'utf8') },
          label: labelOf(text),
        });
        if (paceMs > 0) await this.#o.clock.sleep(paceMs, signal).catch(() => undefined);
      }
    } catch (error) {
      throw error instanceof AppError
        ? error
        : new AppError('FILE_UNREADABLE', `the feed’s file ${this.#o.path} cannot be read`, { cause: error });
    } finally {
      stream.destroy();
    }
  }
}

const labelOf = (text: string): string =>
  text.length > LABEL_CHARACTERS ? `${text.slice(0, LABEL_CHARACTERS - 1)}…` : text;
