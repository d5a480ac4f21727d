/** Runs the feeds beside each other, one input of a feed at a time; a feed that fails is started again later. */
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, toAppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { within } from '../../shared/runtime/within.ts';
import type { Feed, FeedItem } from '../ports.ts';

/** Feed with the pipeline that takes its inputs. */
export interface FeedRun {
  readonly name: string;
  readonly feed: Feed;
  /** @param signal aborts at the stop: the input must be safe when this resolves, its answer may be still to come */
  readonly take: (item: FeedItem, signal: AbortSignal) => Promise<ErrorCode | undefined>;
}

/** A folder that is there again is found soon: one look costs next to nothing. */
const RETRY = { firstMs: 1_000, maxMs: 10_000 };
/** A program that stops has 15 s, and parts behind this one. */
const STOP_WITHIN_MS = 8_000;

/** Runner of all feeds, which restarts one that fails. */
export class FeedRunner implements Part {
  readonly #runs: readonly FeedRun[];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  /** By name: why the feed is not up. */
  readonly #down = new Map<string, AppError>();
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

  /** The input under way is taken first, unless that takes too long; nobody waits for what the cloud owes. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const ended = await within(
      this.#clock,
      STOP_WITHIN_MS,
      this.#running.then(() => true),
    );
    if (!ended) throw new AppError('STOPPING', `a feed has not ended within ${STOP_WITHIN_MS / 1000} s`);
  }

  /** Which feeds have no source now, with the reason. */
  get down(): ReadonlyMap<string, AppError> {
    return this.#down;
  }

  /** Of each feed, whether its source is there. */
  get names(): readonly string[] {
    return this.#runs.map(({ name }) => name);
  }

  /** Resolves when every feed has come to its end; endless ones never do. */
  async ended(): Promise<void> {
    await this.#running;
  }

  async #keepRunning({ name, feed, take }: FeedRun): Promise<void> {
    const { signal } = this.#stopping;
    let attempt = 0;
    const onUp = (): void => {
      if (this.#down.delete(name)) this.#logger.info('feed.up', { pipeline: name });
      attempt = 0;
    };
    while (!signal.aborted) {
      try {
        await feed.run((item) => take(item, signal), signal, onUp);
        this.#down.delete(name);
        return;
      } catch (error) {
        this.#failed(name, toAppError(error));
        await this.#clock.sleep(backoffDelayMs(attempt++, RETRY), signal).catch(() => undefined);
      }
    }
  }

  /** Told once while it stays the same. */
  #failed(name: string, error: AppError): void {
    const before = this.#down.get(name);
    this.#down.set(name, error);
    if (before?.message === error.message) this.#logger.debug('feed.still_failing', { pipeline: name });
    else this.#logger.failure('feed.failed', error, { pipeline: name });
  }
}
