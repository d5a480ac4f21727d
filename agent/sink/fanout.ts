/**
 * Gives each Result to every sink of its pipeline, in order, tries again with backoff, and dead-letters what a sink won't take,
 * so that one dead sink holds up neither the others nor the outbox for ever.
 */

import type { Result } from '../../shared/contract/result.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import type { Sink, TellSink } from '../ports.ts';

/** Sinks of a pipeline, and where a Result goes that one of them does not take. */
export interface FanoutOptions {
  readonly sinks: readonly Sink[];
  /** Hears what becomes of the Results of a sink; called once for each, with how many wait for it. */
  readonly watch?: (sink: Sink, waiting: () => number) => TellSink;
  /** Takes what a sink did not; the last resort is the log. */
  readonly deadLetter: (sink: string, result: Result) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** About two minutes in all: longer outages are for the dead letters, which wait on disk. */
const ATTEMPTS = 10;
const RETRY = { firstMs: 200, maxMs: 30_000 };
/** Behind a Result that its sink refuses; more would only fill the memory. */
const MAX_WAITING = 1_000;
/** No sink takes so long over one Result: a disk or a runner that hangs. */
const PUT_TIMEOUT_MS = 60_000;
/** At a stop a sink that hangs is waited for so long, with all that it still gets. */
const STOP_WITHIN_MS = 3_000;

/** What goes to one sink. */
interface Line {
  readonly tell: TellSink | undefined;
  /** Deliveries that have not ended. */
  readonly queue: SerialQueue;
  /** The sink did not take what it was last given. */
  isRefusing: boolean;
}

/** Delivery of Results to every sink, each with a line of its own. */
export class Fanout implements Part {
  readonly #o: FanoutOptions;
  readonly #lines = new Map<Sink, Line>();
  readonly #stopping = new AbortController();
  /** End the waits for what sinks are taking. */
  readonly #putting = new Set<() => void>();
  #isOver = false;

  constructor(options: FanoutOptions) {
    this.#o = options;
    for (const sink of options.sinks) {
      const queue = new SerialQueue();
      const tell = sink.tell ? undefined : options.watch?.(sink, () => queue.length);
      this.#lines.set(sink, { tell, queue, isRefusing: false });
    }
  }

  /** Waiting retries end at once: into the dead letters, or back to the outbox that still holds them. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const cancel = this.#o.clock.after(STOP_WITHIN_MS, () => {
      this.#isOver = true;
      for (const giveUp of this.#putting) giveUp();
    });
    await Promise.all([...this.#lines.values()].map(({ queue }) => queue.settled()));
    cancel();
  }

  /**
   * Resolves when every sink has taken the Result or it is among the dead letters.
   *
   * @param isOwed the outbox holds the Result until this resolves, and gives it again after a restart
   * @throws STOPPING for an owed Result that a sink has not taken by the stop
   */
  async deliver(result: Result, isOwed: boolean): Promise<void> {
    const givenTo = [...this.#lines].filter(([sink]) => sink.wants?.(result) ?? true);
    await Promise.all(givenTo.map(([sink, line]) => this.#queue(sink, line, result, isOwed)));
  }

  #queue(sink: Sink, line: Line, result: Result, isOwed: boolean): Promise<void> {
    if (line.isRefusing && line.queue.length >= MAX_WAITING) return this.#giveUp(sink, line, result);
    return line.queue.run(() => this.#deliverTo(sink, line, result, isOwed));
  }

  async #deliverTo(sink: Sink, line: Line, result: Result, isOwed: boolean): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        await this.#put(sink, result);
        line.isRefusing = false;
        line.tell?.delivered();
        return;
      } catch (error) {
        line.isRefusing = true;
        line.tell?.refused(toAppError(error));
        this.#o.logger.failure('sink.refused', error, { sink: sink.name, requestId: result.id, attempt });
        const delayMs = backoffDelayMs(attempt, RETRY);
        const goOn = await this.#o.clock.sleep(delayMs, this.#stopping.signal).then(
          () => true,
          () => false,
        );
        if (!goOn) break;
      }
    }
    if (isOwed && this.#stopping.signal.aborted) throw new AppError('STOPPING');
    await this.#giveUp(sink, line, result);
  }

  /** @throws SINK_STALLED, or what the sink does */
  async #put(sink: Sink, result: Result): Promise<void> {
    let giveUp = (): void => undefined;
    const late = new Promise<'late'>((resolve) => {
      giveUp = () => resolve('late');
    });
    if (this.#isOver) giveUp();
    const cancel = this.#o.clock.after(PUT_TIMEOUT_MS, giveUp);
    this.#putting.add(giveUp);
    try {
      if ((await Promise.race([late, sink.put(result)])) === 'late')
        throw new AppError('SINK_STALLED', `${sink.name} does not say whether it has taken a Result`);
    } finally {
      cancel();
      this.#putting.delete(giveUp);
    }
  }

  /** Counted as what it is: kept for people, or lost. */
  async #giveUp(sink: Sink, line: Line, result: Result): Promise<void> {
    const { deadLetter, logger, metrics } = this.#o;
    try {
      await deadLetter(sink.name, result);
      metrics.count('outrider_sink_dead_letters_total', { sink: sink.name });
      (line.tell ?? sink.tell)?.dropped('dead-lettered');
    } catch (error) {
      metrics.count('outrider_sink_lost_total', { sink: sink.name, reason: toAppError(error).code });
      (line.tell ?? sink.tell)?.dropped('lost');
      logger.failure('sink.dead_letter_lost', error, { sink: sink.name, requestId: result.id });
    }
  }
}
