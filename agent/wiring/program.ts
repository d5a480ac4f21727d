/** What surrounds the agent's parts: its locked folder, log, metrics, and their end in the right order. */
import { join } from 'node:path';
import { type Clock, systemClock } from '../../shared/runtime/clock.ts';
import { checkDataFormat } from '../../shared/runtime/data-format.ts';
import { lockFolder } from '../../shared/runtime/folder-lock.ts';
import { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import { createLogger, type Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { AgentConfig } from '../config.ts';
import { createAgentMetrics } from '../metrics.ts';

/** Running agent around its parts: folder, log, metrics, and the order of its stop. */
export interface AgentProgram {
  /** The agent's own folder. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  /** Stops every part, then frees the folder. */
  stop(): Promise<void>;
}

/** @throws DATA_LOCKED, DATA_NEWER, DATA_CORRUPT, DISK_FULL */
export async function openProgram(config: AgentConfig): Promise<AgentProgram> {
  const dataDir = join(config.dataDir, 'agent');
  const lock = await lockFolder(dataDir);
  await checkDataFormat(dataDir);
  const logger = createLogger({
    program: 'agent',
    folder: join(config.dataDir, 'logs'),
    level: config.logLevel,
  }).child({ deviceId: config.device });
  const lifecycle = new Lifecycle((name, error) =>
    logger.failure('agent.stop_failed', error, { part: name }),
  );
  return {
    dataDir,
    clock: systemClock,
    logger,
    metrics: createAgentMetrics(),
    lifecycle,
    async stop() {
      await lifecycle.stop();
      logger.info('agent.stopped');
      await lock.unlock();
    },
  };
}
