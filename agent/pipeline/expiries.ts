/**
 * Gives up what has passed its expiry: each request by its pipeline, and here those of pipelines that are no longer
 * configured, which wait in the outbox in case they come back, and for which nobody else would care.
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import { ERRORS } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { Outbox } from '../ports.ts';

/** Outbox to sweep, and the pipelines that expire their own requests. */
export interface ExpiriesOptions {
  readonly pipelines: ReadonlyMap<string, { expire(id: string): void }>;
  readonly outbox: Pick<Outbox, 'open' | 'bury'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const SWEEP_EVERY_MS = 1_000;
const EXPIRED = { code: 'EXPIRED', message: ERRORS.EXPIRED.meaning } as const;

/** Sweeper of the outbox: each request past its expiry is given up, with or without its pipeline. */
export class Expiries implements Part {
  readonly #o: ExpiriesOptions;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: ExpiriesOptions) {
    this.#o = options;
  }

  start(): void {
    let orphans = 0;
    for (const { pipeline } of this.#o.outbox.open()) if (!this.#o.pipelines.has(pipeline)) orphans++;
    if (orphans > 0) this.#o.logger.warn('expiries.orphans_found', { entries: orphans });
    this.#loop = this.#keepSweeping();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #keepSweeping(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#sweep().catch((error: unknown) => this.#o.logger.failure('expiries.not_closed', error));
      await this.#o.clock.sleep(SWEEP_EVERY_MS, signal).catch(() => undefined);
    }
  }

  async #sweep(): Promise<void> {
    const { outbox, pipelines } = this.#o;
    const over = [...outbox.open()].filter(({ answered, expiresMs }) => !answered && expiresMs <= 0);
    for (const { id, pipeline } of over) {
      const owner = pipelines.get(pipeline);
      if (owner) owner.expire(id);
      else await this.#giveUpOrphan(id, pipeline);
    }
  }

  async #giveUpOrphan(id: string, pipeline: string): Promise<void> {
    await this.#o.outbox.bury(id, EXPIRED);
    this.#o.metrics.count('outrider_escalations_ended_total', { pipeline, outcome: 'expired' });
    this.#o.logger.warn('expiries.orphan_expired', { requestId: id, pipeline });
  }
}
