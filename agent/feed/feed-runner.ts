/** Runs the feeds beside each other, one input of a feed at a time; a feed that fails is started again later. */
import { setMaxListeners } from 'node:events';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, toAppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import { within } from '../../shared/runtime/within.ts';
import type { Feed, FeedItem, TakeInput, TellFeed } from '../ports.ts';
import type { FeedStates } from './feed-states.ts';

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
  readonly #states: FeedStates;
  readonly #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: {
    readonly runs: readonly FeedRun[];
    readonly states: FeedStates;
    readonly clock: Clock;
  }) {
    this.#runs = options.runs;
    // Each feed listens to it, some more than once: that many are no leak.
    setMaxListeners(0, this.#stopping.signal);
    this.#states = options.states;
    this.#clock = options.clock;
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

  /** Resolves when every feed has come to its end; endless ones never do. */
  async ended(): Promise<void> {
    await this.#running;
  }

  async #keepRunning({ name, feed, take }: FeedRun): Promise<void> {
    const { signal } = this.#stopping;
    let attempt = 0;
    const tell: TellFeed = (state, reason) => {
      this.#states.set(name, state, reason);
      if (state !== 'stalled') attempt = 0;
    };
    const counted: TakeInput = async (item) => {
      const failure = await take(item, signal);
      this.#states.taken(name);
      return failure;
    };
    this.#states.set(name, 'starting');
    while (!signal.aborted) {
      try {
        await feed.run(counted, signal, tell);
        if (!signal.aborted) this.#states.set(name, 'ended');
        return;
      } catch (error) {
        this.#states.set(name, 'failed', toAppError(error));
        await this.#clock.sleep(backoffDelayMs(attempt++, RETRY), signal).catch(() => undefined);
      }
    }
  }
}
