/** The broker program: its own process, so that a slow hub never stalls the link (DESIGN.md 4). */
import { parseArgs } from 'node:util';
import { systemClock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
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

interface Flags {
  readonly port: number;
  readonly host: string;
  readonly data: string;
  readonly logs: string | undefined;
}

/** @throws USAGE */
function readFlags(): Flags {
  let values: { port: string; host: string; data: string; logs?: string };
  try {
    values = parseArgs({ options: FLAGS }).values;
  } catch (error) {
    throw new AppError('USAGE', error instanceof Error ? error.message : String(error), { cause: error });
  }
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new AppError('USAGE', `--port must be a whole number from 0 to 65535, not ${values.port}`);
  return { port, host: values.host, data: values.data, logs: values.logs };
}

await runProgram(async () => {
  const { port, host, data, logs } = readFlags();
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
