/** What each feed is doing, and what it has given: kept by those who run feeds, read by pages, metrics, `/readyz` and the link. */
import type { FeedState, FeedStatus } from '../../shared/contract/feed-status.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { type AppError, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

/** States in which a device does not get all of its inputs. */
const DOWN: readonly FeedState[] = ['stalled', 'failed'];

const isSeeing = (state: FeedState | undefined): boolean => state === 'live' || state === 'still';

/** States of all feeds of a device, by the names of their pipelines. */
export class FeedStates {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onChange: () => void;
  readonly #all = new Map<string, FeedStatus>();
  readonly #abouts = new Map<string, () => string | undefined>();

  /** @param options.onChange one of them has come into another state, or there for another reason; movement before a camera is none */
  constructor(options: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly onChange?: (() => void) | undefined;
  }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onChange = options.onChange ?? (() => undefined);
  }

  /** Of a pipeline without a feed: undefined. */
  of(name: string): FeedStatus | undefined {
    const status = this.#all.get(name);
    const about = this.#abouts.get(name)?.();
    return status && about !== undefined ? { ...status, about } : status;
  }

  /** What a feed reads, asked for whenever somebody wants to know. */
  describe(name: string, about: () => string | undefined): void {
    this.#abouts.set(name, about);
  }

  all(): IterableIterator<readonly [string, FeedStatus]> {
    return this.#all.entries();
  }

  /** The first feed that gives nothing, with the reason; undefined when all do what they should. */
  get down(): { readonly name: string; readonly status: FeedStatus } | undefined {
    for (const [name, status] of this.#all) if (DOWN.includes(status.state)) return { name, status };
    return undefined;
  }

  /** Logged once while it stays the same. */
  set(name: string, state: FeedState, why?: AppError): void {
    const before = this.#all.get(name);
    const reason = why ? toErrorBody(why) : null;
    if (before?.state === state && before.reason?.message === reason?.message) {
      if (why) this.#logger.debug('feed.still_failing', { pipeline: name });
      return;
    }
    const { inputs = 0, dropped = 0 } = before ?? {};
    const isNew = before?.state !== state;
    const sinceAtMs = isNew ? this.#clock.nowAtMs() : (before?.sinceAtMs ?? 0);
    this.#all.set(name, { state, reason, sinceAtMs, inputs, dropped });
    if (why) this.#logger.failure(`feed.${state}`, why, { pipeline: name });
    else if (isNew && before !== undefined) this.#logger.info('feed.changed', { pipeline: name, state });
    if (!isNew || !isSeeing(state) || !isSeeing(before?.state)) this.#onChange();
  }

  /** Its pipeline has taken an input. */
  taken(name: string): void {
    this.#count(name, 'inputs');
  }

  /** An input was passed over. */
  dropped(name: string): void {
    this.#count(name, 'dropped');
  }

  #count(name: string, what: 'inputs' | 'dropped'): void {
    const status = this.#all.get(name);
    if (status) this.#all.set(name, { ...status, [what]: status[what] + 1 });
  }
}
