/**
 * What pipelines owe that are no longer configured: it waits in the outbox in case they come back, and is given up at its expiry.
 * Nobody else would, and it would count against the outbox’s caps for ever.
 */
import type { Clock } from '../shared/runtime/clock.ts';
import type { Part } from '../shared/runtime/lifecycle.ts';
import type { Logger } from '../shared/runtime/logger.ts';
import type { Metrics } from '../shared/runtime/metrics.ts';
import type { OpenEntry, Outbox } from './ports.ts';

export interface OrphansOptions {
  /** Names of the pipelines that there are. */
  readonly pipelines: ReadonlySet<string>;
  readonly outbox: Pick<Outbox, 'open' | 'close' | 'msUntilExpiry'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const SWEEP_EVERY_MS = 60_000;

export class Orphans implements Part {
  readonly #o: OrphansOptions;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: OrphansOptions) {
    this.#o = options;
  }

  start(): void {
    const entries = this.#all().length;
    if (entries > 0) this.#o.logger.warn('orphans.found', { entries });
    this.#loop = this.#keepSweeping();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  #all(): OpenEntry[] {
    const { outbox, pipelines } = this.#o;
    return [...outbox.open()].filter(({ pipeline }) => !pipelines.has(pipeline));
  }

  async #keepSweeping(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#sweep().catch((error: unknown) => this.#o.logger.failure('orphans.not_closed', error));
      await this.#o.clock.sleep(SWEEP_EVERY_MS, signal).catch(() => undefined);
    }
  }

  async #sweep(): Promise<void> {
    const { outbox, metrics, logger } = this.#o;
    for (const { id, pipeline } of this.#all()) {
      if ((outbox.msUntilExpiry(id) ?? 0) > 0) continue;
      await outbox.close(id);
      metrics.count('outrider_escalations_ended_total', { pipeline, outcome: 'expired' });
      logger.warn('orphans.expired', { requestId: id, pipeline });
    }
  }
}
