/** What each sink is doing, and what became of its Results: kept by those who deliver, read by page, metrics and `doctor`. */
import type { SinkState, SinkStatus, SinkType } from '../../shared/contract/sink-status.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { type AppError, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { TellSink } from '../ports.ts';

/** Which sink of which pipeline. */
export interface SinkId {
  readonly pipeline: string;
  readonly name: string;
  readonly type: SinkType;
}

interface Entry {
  status: Omit<SinkStatus, 'waiting'>;
  readonly waiting: () => number;
}

/** States of all sinks of a device, by pipeline. */
export class SinkStates {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #all = new Map<string, Entry[]>();

  constructor(options: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
  }

  /** The sinks of a pipeline, in the order of its configuration. */
  of(pipeline: string): SinkStatus[] {
    return (this.#all.get(pipeline) ?? []).map(({ status, waiting }) => ({ ...status, waiting: waiting() }));
  }

  /** Puts them into the order of these names. */
  arrange(pipeline: string, names: readonly string[]): void {
    const placeOf = ({ status }: Entry): number => names.indexOf(status.name);
    const known = this.#all.get(pipeline) ?? [];
    this.#all.set(
      pipeline,
      [...known].sort((one, other) => placeOf(one) - placeOf(other)),
    );
  }

  all(): (readonly [pipeline: string, status: SinkStatus])[] {
    return [...this.#all.keys()].flatMap((pipeline) =>
      this.of(pipeline).map((status) => [pipeline, status] as const),
    );
  }

  /** @param waiting how many Results wait for it @returns how it says what it does */
  add({ pipeline, name, type }: SinkId, waiting: () => number): TellSink {
    const fresh = { name, type, state: 'ready' as const, reason: null, delivered: 0, dropped: 0 };
    const entry: Entry = { status: { ...fresh, sinceAtMs: this.#clock.nowAtMs() }, waiting };
    this.#all.set(pipeline, [...(this.#all.get(pipeline) ?? []), entry]);
    const count = (outcome: string, by = 1): void =>
      this.#metrics.count('outrider_sink_results_total', { pipeline, sink: name, type, outcome }, by);
    const set = (state: SinkState, why?: AppError): void => this.#set(entry, pipeline, state, why);
    return {
      delivered: () => {
        count('delivered');
        entry.status = { ...entry.status, delivered: entry.status.delivered + 1 };
        set('ready');
      },
      refused: (why) => {
        count('refused');
        set('refusing', why);
      },
      dropped: (outcome, by = 1) => {
        count(outcome, by);
        entry.status = { ...entry.status, dropped: entry.status.dropped + by };
      },
      disabled: (why) => set('disabled', why),
    };
  }

  /** Logged once while it stays the same. */
  #set(entry: Entry, pipeline: string, state: SinkState, why?: AppError): void {
    const { status } = entry;
    const reason = why ? toErrorBody(why) : null;
    const isNew = status.state !== state;
    if (!isNew && status.reason?.message === reason?.message) return;
    const sinceAtMs = isNew ? this.#clock.nowAtMs() : status.sinceAtMs;
    entry.status = { ...status, state, reason, sinceAtMs };
    if (why) this.#logger.failure(`sink.${state}`, why, { pipeline, sink: status.name });
    else this.#logger.info('sink.changed', { pipeline, sink: status.name, state });
  }
}
