/** Runs the feeds beside each other, one input of a feed at a time; a feed that fails is started again later. */
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Feed, FeedItem } from '../ports.ts';

/** Feed with the pipeline that takes its inputs. */
export interface FeedRun {
  readonly name: string;
  readonly feed: Feed;
  /** @param signal aborts at the stop: the input must be safe when this resolves, its answer may be still to come */
  readonly take: (item: FeedItem, signal: AbortSignal) => Promise<unknown>;
}

const RETRY = { firstMs: 1_000, maxMs: 60_000 };

/** Runner of all feeds, which restarts one that fails. */
export class FeedRunner implements Part {
  readonly #runs: readonly FeedRun[];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: {
    readonly runs: readonly FeedRun[];
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#runs = options.runs;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  start(): void {
    this.#running = Promise.all(this.#runs.map((run) => this.#keepRunning(run)));
  }

  /** The input under way is taken first; nobody waits for what the cloud owes. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Resolves when every feed has come to its end; endless ones never do. */
  async ended(): Promise<void> {
    await this.#running;
  }

  async #keepRunning({ name, feed, take }: FeedRun): Promise<void> {
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await feed.run(async (item) => void (await take(item, signal)), signal);
        return;
      } catch (error) {
        this.#logger.failure('feed.failed', error, { pipeline: name });
        await this.#clock.sleep(backoffDelayMs(attempt, RETRY), signal).catch(() => undefined);
      }
    }
  }
}
