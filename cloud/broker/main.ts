/** The broker program: its own process, so that a slow hub never stalls the link (DESIGN.md 4). */
import { z } from 'zod';
import { systemClock } from '../../shared/runtime/clock.ts';
import { checkAll, readFlags } from '../../shared/runtime/flags.ts';
import { lockFolder } from '../../shared/runtime/folder-lock.ts';
import { createLogger } from '../../shared/runtime/logger.ts';
import { runProgram } from '../../shared/runtime/program.ts';
import { EmbeddedBroker } from './broker.ts';

const FLAGS = {
  port: { type: 'string', default: '1883' },
  host: { type: 'string', default: '127.0.0.1' },
  /** The broker's own folder, in which the hub writes access.json. */
  data: { type: 'string', default: './data/broker' },
  /** Folder for broker.log; stderr, when left out. */
  logs: { type: 'string' },
} as const;

const values = z.object({ port: z.coerce.number().int().min(0).max(65_535) });

await runProgram(async () => {
  const given = readFlags(process.argv.slice(2), FLAGS, 'the broker');
  const { port } = checkAll(values, given, 'USAGE', (flag) => `--${flag}`);
  const { host, data, logs } = given;
  const lock = await lockFolder(data);
  const logger = createLogger({ program: 'broker', ...(logs !== undefined && { folder: logs }) });
  const broker = new EmbeddedBroker({ host, port, folder: data, logger, clock: systemClock });
  await broker.start();
  logger.info('broker.started', { host, port: broker.port });
  return {
    facts: { host, port: broker.port },
    stop: async () => {
      await broker.stop();
      await lock.release();
    },
  };
});
