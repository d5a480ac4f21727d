/** Lines of a text file, one input each; blank lines are passed over. Once, or again and again at a gentle pace. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Feed, FeedItem } from '../ports.ts';
import { type Passes, rest, runPasses } from './passes.ts';

/** Text file to read, and the pace of its passes. */
export interface TextLinesFeedOptions extends Passes {
  readonly path: string;
}

/** Enough of a line to know it by. */
const LABEL_CHARACTERS = 60;

/** Feed of a text file’s lines. */
export class TextLinesFeed implements Feed {
  readonly #o: TextLinesFeedOptions;

  constructor(options: TextLinesFeedOptions) {
    this.#o = options;
  }

  async run(take: (item: FeedItem) => Promise<void>, signal: AbortSignal): Promise<void> {
    await runPasses(this.#o, signal, (paceMs) => this.#pass(take, signal, paceMs));
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
        await rest(this.#o.clock, paceMs, signal);
      }
    } catch (error) {
      throw stream.errored
        ? new AppError('FILE_UNREADABLE', `the feed’s file ${this.#o.path} cannot be read`, { cause: error })
        : error;
    } finally {
      stream.destroy();
    }
  }
}

const labelOf = (text: string): string =>
  text.length > LABEL_CHARACTERS ? `${text.slice(0, LABEL_CHARACTERS - 1)}…` : text;
