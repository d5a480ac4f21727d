/** Opens the outbox with the running time that its expiries count, and shows how much waits in it. */
import { join } from 'node:path';
import type { AgentConfig } from '../config.ts';
import type { DiskKeeper } from '../disk/keeper.ts';
import { DEFAULT_DEAD_LETTER_LIMITS } from '../outbox/dead-letters.ts';
import { DEFAULT_LIMITS, DiskOutbox } from '../outbox/outbox.ts';
import { StoredRunningTime } from '../outbox/running-time.ts';
import type { AgentProgram } from './program.ts';

/** @throws DATA_CORRUPT, DISK_FULL */
export async function openOutbox(
  { outbox: caps }: AgentConfig,
  program: AgentProgram,
  disk: DiskKeeper,
): Promise<DiskOutbox> {
  const { dataDir, clock, logger, metrics, lifecycle } = program;
  const time = new StoredRunningTime({ path: join(dataDir, 'running-time.json'), clock, logger });
  await lifecycle.start('running time', time);
  const limits = {
    ...DEFAULT_LIMITS,
    ...(caps.maxBytes !== undefined && { maxBytes: caps.maxBytes }),
    ...(caps.maxEntries !== undefined && { maxEntries: caps.maxEntries }),
    deadLetters: {
      ...DEFAULT_DEAD_LETTER_LIMITS,
      ...(caps.deadLetterBytes !== undefined && { maxBytes: caps.deadLetterBytes }),
    },
  };
  const folder = join(dataDir, 'outbox');
  const outbox = new DiskOutbox({ folder, time, clock, logger, metrics, limits, disk });
  time.isNeeded = () => outbox.depth.entries > 0;
  await lifecycle.start('outbox', outbox);
  disk.add(outbox.kept);
  showDepth(outbox, program);
  return outbox;
}

function showDepth(outbox: DiskOutbox, { metrics, clock }: AgentProgram): void {
  metrics.gauge('outrider_outbox_entries', 'Requests that wait for the cloud', () => outbox.depth.entries);
  metrics.gauge(
    'outrider_outbox_bytes',
    'Bytes of requests that wait for the cloud',
    () => outbox.depth.bytes,
  );
  metrics.gauge(
    'outrider_outbox_dead_letters',
    'Requests that were given up and are kept',
    () => outbox.depth.deadLetters,
  );
  metrics.gauge('outrider_outbox_oldest_age_seconds', 'Age of the oldest waiting request', () => {
    const { oldestAtMs } = outbox.depth;
    // The clock may have been set back since.
    return oldestAtMs === null ? 0 : Math.max(0, clock.nowAtMs() - oldestAtMs) / 1000;
  });
}
