/** The device's own HTTP API on its port. */
import { statfsSync } from 'node:fs';
import { CertificateFiles } from '../../shared/runtime/certificate-files.ts';
import { toAppError } from '../../shared/runtime/errors.ts';
import { isWildcard, urlHost } from '../../shared/runtime/loopback.ts';
import { createAgentApi } from '../api/api.ts';
import type { ResultStore } from '../api/result-store.ts';
import { ApiServer } from '../api/server.ts';
import type { AgentConfig } from '../config.ts';
import type { DiskKeeper } from '../disk/keeper.ts';
import type { FeedStates } from '../feed/feed-states.ts';
import type { Outbox, PipelineFace } from '../ports.ts';
import type { SentLog } from '../sent/sent-log.ts';
import type { SinkStates } from '../sink/sink-states.ts';
import { connectionsOf } from './connections.ts';
import type { Link } from './link.ts';
import type { AgentProgram } from './program.ts';
import type { SelfUpdate } from './self-update.ts';
import { notReady, type Versions } from './versions.ts';

/** @returns its address @throws PORT_TAKEN */
export async function startApi(
  config: AgentConfig,
  { clock, logger, metrics, lifecycle }: AgentProgram,
  parts: {
    readonly pipelines: ReadonlyMap<string, PipelineFace>;
    readonly feeds: Pick<FeedStates, 'of'>;
    readonly sinks: Pick<SinkStates, 'of'>;
    readonly results: ResultStore;
    readonly outbox: Outbox;
    readonly link: Link;
    readonly versions: Versions;
    readonly self: SelfUpdate;
    readonly disk: Pick<DiskKeeper, 'problem' | 'status'>;
    readonly sent: Pick<SentLog, 'read'>;
    /** Why the device is not ready, beside its models. */
    readonly notReady: () => string | undefined;
  },
): Promise<string> {
  const { pipelines, results, outbox, versions, disk } = parts;
  const { uplink, meter, problem } = parts.link;
  const app = createAgentApi({
    deviceId: config.device,
    pipelines,
    feedOf: (name) => parts.feeds.of(name),
    sinksOf: (name) => parts.sinks.of(name),
    results,
    outbox,
    hurry: (id) => uplink.hurry(id),
    meter,
    updates: () => versions.updater.updates,
    agent: () => parts.self.told(),
    allowMetered: () => {
      versions.updater.allowMetered();
      parts.self.updater.allowMetered();
    },
    disk: () => disk.status(),
    connections: () => connectionsOf(config, parts.link.brokerUrl()),
    sent: (query) => parts.sent.read(query),
    ready: () => notReady(versions) ?? parts.notReady() ?? disk.problem?.message ?? diskFull(config.dataDir),
    link: () => ({
      ...{ online: uplink.online, hub: config.hubUrl ?? null },
      ...{ problem: problem(), outbox: outbox.depth },
    }),
    key: config.key,
    metrics,
    clock,
    logger,
  });
  const certificate =
    config.certificate && (await CertificateFiles.open(config.certificate, { clock, logger }));
  if (certificate) await lifecycle.start('certificate', certificate);
  const server = new ApiServer({ app, host: config.host, port: config.port, certificate });
  await lifecycle.start('api', server);
  return `${certificate ? 'https' : 'http'}://${urlHost(isWildcard(config.host) ? '127.0.0.1' : config.host)}:${server.port}`;
}

/** Less than this holds no request: nothing more can be accepted for the cloud. */
const MIN_FREE_BYTES = 1024 * 1024;

function diskFull(folder: string): string | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < MIN_FREE_BYTES ? `the disk of ${folder} is full` : undefined;
  } catch (error) {
    return toAppError(error).message;
  }
}
