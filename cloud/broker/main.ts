/** The broker program: its own process, so that a slow hub never stalls the link (docs/architecture.md#processes). */
import { z } from 'zod';
import { CertificateFiles } from '../../shared/runtime/certificate-files.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { checkAll, readFlags } from '../../shared/runtime/flags.ts';
import { lockFolder } from '../../shared/runtime/folder-lock.ts';
import { createLogger } from '../../shared/runtime/logger.ts';
import { runProgram } from '../../shared/runtime/program.ts';
import { EmbeddedBroker } from './broker.ts';

const FLAGS = {
  port: { type: 'string', default: '1883' },
  host: { type: 'string', default: '127.0.0.1' },
  /** MQTT over WebSocket as well; 0: any free port. */
  'ws-port': { type: 'string' },
  /** PEM files: both ports want TLS then. */
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  /** The broker's own folder, in which the hub writes access.json. */
  data: { type: 'string', default: './data/broker' },
  /** Folder for broker.log; stderr, when left out. */
  logs: { type: 'string' },
} as const;

const portNumber = z.coerce.number().int().min(0).max(65_535);
const values = z.object({ port: portNumber, 'ws-port': portNumber.optional() });

await runProgram(async () => {
  const given = readFlags(process.argv.slice(2), FLAGS, 'the broker');
  const { port, 'ws-port': webSocketPort } = checkAll(values, given, 'USAGE', (flag) => `--${flag}`);
  const { host, data, logs, 'tls-cert': certFile, 'tls-key': keyFile } = given;
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new AppError('USAGE', '--tls-cert and --tls-key go together');
  const lock = await lockFolder(data);
  const logger = createLogger({ program: 'broker', ...(logs !== undefined && { folder: logs }) });
  const certificate =
    certFile !== undefined && keyFile !== undefined
      ? await CertificateFiles.open({ certFile, keyFile }, { clock, logger })
      : undefined;
  const broker = new EmbeddedBroker({
    host,
    port,
    ...(webSocketPort !== undefined && { webSocketPort }),
    ...(certificate && { certificate }),
    folder: data,
    logger,
    clock,
  });
  await broker.start();
  certificate?.start();
  const facts = {
    host,
    port: broker.port,
    ...(webSocketPort !== undefined && { webSocketPort: broker.webSocketPort }),
  };
  logger.info('broker.started', { ...facts, isSecure: certificate !== undefined });
  return {
    facts,
    stop: async () => {
      certificate?.stop();
      await broker.stop();
      await lock.unlock();
    },
  };
});
