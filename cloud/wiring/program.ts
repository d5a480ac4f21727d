/** The frame of every hub program: a locked folder, log, metrics, TLS, an HTTP server, and its end in the right order. */
import { join } from 'node:path';
import { type Clock, systemClock as clock } from '../../shared/runtime/clock.ts';
import { watchDiskPace } from '../../shared/runtime/disk-pace.ts';
import { EventLoopDelay } from '../../shared/runtime/event-loop-delay.ts';
import { lockFolder } from '../../shared/runtime/folder-lock.ts';
import type { HttpServerOptions } from '../../shared/runtime/http-server.ts';
import { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import { createLogger, type Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { HubServer } from '../api/frame/server.ts';
import { wasRestored } from '../backup/restore.ts';
import type { HubConfig } from '../config.ts';
import { createHubMetrics } from '../metrics.ts';
import { type HubTls, localHost, startTls } from './tls.ts';

/** A program that is up, and how it ends. */
export interface Running {
  /** Told to its parent. */
  readonly facts: Record<string, unknown>;
  readonly stop: () => Promise<void>;
}

/** The frame, as parts are put into it. */
export interface HubProgram {
  readonly config: HubConfig;
  /** The hub's own. */
  readonly folder: string;
  /** It has come back from a backup, or from a copy that somebody says it is. */
  readonly isRestored: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly tls: HubTls;
  /** @returns the address @throws PORT_TAKEN */
  serve(app: HttpServerOptions['app']): Promise<string>;
  /** @param drain what is being worked on is answered first */
  stop(drain: () => Promise<void>): Promise<void>;
}

/** @throws DATA_LOCKED, and what TLS throws */
export async function openProgram(config: HubConfig): Promise<HubProgram> {
  const folder = join(config.dataDir, 'hub');
  const lock = await lockFolder(folder);
  const logger = createLogger({
    program: 'hub',
    folder: join(config.dataDir, 'logs'),
    level: config.logLevel,
  });
  const lifecycle = new Lifecycle((name, error) => logger.failure('hub.stop_failed', error, { part: name }));
  const tls = await startTls(config, { folder, lifecycle, clock, logger });
  const metrics = createHubMetrics();
  watchDiskPace({ logger, metrics });
  const delay = new EventLoopDelay(clock);
  metrics.gauge(
    'outrider_event_loop_delay_max_seconds',
    'How long this process was held up at most since its doors are open, over the last one or two minutes',
    () => delay.maxMs / 1_000,
  );
  return {
    isRestored: config.isRestored || (await wasRestored(folder)),
    ...{ config, folder, clock, logger, metrics, lifecycle, tls },
    async serve(app) {
      const { certificate } = tls;
      // Before it nobody waits: reading models and putting faces together holds up no request.
      await lifecycle.start('event loop delay', delay);
      const server = new HubServer({ app, host: config.host, port: config.port, certificate });
      await lifecycle.start('api', server);
      return `${certificate ? 'https' : 'http'}://${localHost(config.host, certificate)}:${server.port}`;
    },
    async stop(drain) {
      await drain();
      await lifecycle.stop();
      logger.info('hub.stopped');
      await lock.unlock();
    },
  };
}
