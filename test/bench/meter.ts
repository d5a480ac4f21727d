/** The agent's byte ledger without a cap: counting is part of what a link costs. */
import { join } from 'node:path';
import type { Outbox } from '../../agent/ports.ts';
import { StoredLinkMeter } from '../../agent/uplink/link-meter.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { silentLogger as logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';

export const uncappedMeter = (options: {
  readonly folder: string;
  readonly outbox: Pick<Outbox, 'waiting'>;
  readonly wireBytes?: () => { readonly up: number; readonly down: number } | undefined;
  readonly metrics: Metrics;
}): StoredLinkMeter =>
  new StoredLinkMeter({
    path: join(options.folder, 'link-use.json'),
    capBytes: undefined,
    pipelineCapBytes: new Map(),
    waitingBytes: (pipeline) => options.outbox.waiting(pipeline).bytes,
    wireBytes: options.wireBytes ?? (() => undefined),
    clock,
    logger,
    metrics: options.metrics,
  });
