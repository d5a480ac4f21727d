/** Where the broker is: the one that is named, or the embedded one, which a lone hub starts as its child. */
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../shared/runtime/errors.ts';
import { programFile } from '../../shared/runtime/installation.ts';
import { isWildcard, urlHost } from '../../shared/runtime/loopback.ts';
import { Supervisor } from '../../shared/runtime/supervisor.ts';
import { brokerFolder, type HubConfig } from '../config.ts';
import type { HubProgram } from './program.ts';
import type { HubTls } from './tls.ts';

/** URLs of the broker. */
export interface BrokerAddress {
  /** Where the hub finds it. */
  readonly url: string;
  /** Where devices do, as they are told at enrolment. */
  readonly publicUrl: string;
}

/** @throws CHILD_FAILED, PORT_TAKEN */
export async function startBroker(program: HubProgram): Promise<BrokerAddress> {
  const { url, publicUrl } = program.config.mqtt;
  const found = url === undefined ? await startEmbedded(program) : { url, publicUrl: url };
  return { url: found.url, publicUrl: publicUrl ?? found.publicUrl };
}

/** A lone hub has the broker as its child, and they end together. */
async function startEmbedded({
  config,
  tls: { certificate },
  lifecycle,
  logger,
  clock,
}: HubProgram): Promise<BrokerAddress> {
  let said: unknown;
  const broker = new Supervisor({
    name: 'broker',
    entry: programFile('broker'),
    args: argumentsOf(config, certificate),
    logger,
    clock,
    onReady: (facts) => {
      said = facts;
    },
  });
  await lifecycle.start('broker', broker);
  const parsed = z.object({ port: z.int() }).safeParse(said);
  if (!parsed.success) throw new AppError('INVARIANT_BROKEN', 'the broker came up without saying where');
  const { host } = config.mqtt;
  const at = (name: string): string =>
    `${certificate ? 'mqtts' : 'mqtt'}://${urlHost(name)}:${parsed.data.port}`;
  return { url: at(isWildcard(host) ? '127.0.0.1' : host), publicUrl: at(host) };
}

function argumentsOf(config: HubConfig, certificate: HubTls['certificate']): string[] {
  const { host, port, webSocketPort } = config.mqtt;
  return [
    ...['--host', host, '--port', String(port)],
    ...(webSocketPort === undefined ? [] : ['--ws-port', String(webSocketPort)]),
    ...(certificate
      ? ['--tls-cert', certificate.paths.certFile, '--tls-key', certificate.paths.keyFile]
      : []),
    ...['--data', brokerFolder(config), '--logs', join(config.dataDir, 'logs')],
  ];
}
