/**
 * The composition root of the hub: flags -> parts -> start -> stop when told. Nothing is decided here;
 * what a request goes through stands in intake/intake.ts.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { Reported } from '../shared/contract/messages.ts';
import { startRunner } from '../shared/inference/runner-process.ts';
import { connectMqtt } from '../shared/mqtt/connect.ts';
import { findModelFolders } from '../shared/release/model-folder.ts';
import { writeJsonAtomic } from '../shared/runtime/atomic-file.ts';
import { systemClock as clock } from '../shared/runtime/clock.ts';
import { AppError } from '../shared/runtime/errors.ts';
import { lockFolder } from '../shared/runtime/folder-lock.ts';
import { Lifecycle } from '../shared/runtime/lifecycle.ts';
import { createLogger, type Logger } from '../shared/runtime/logger.ts';
import { isWildcard, urlHost } from '../shared/runtime/loopback.ts';
import { isChild, runProgram } from '../shared/runtime/program.ts';
import { Supervisor } from '../shared/runtime/supervisor.ts';
import { createHubApi } from './api/api.ts';
import { HubServer } from './api/server.ts';
import { Batcher } from './batcher/batcher.ts';
import { brokerFolder, HUB_HELP, type HubConfig, loadConfig } from './config.ts';
import { LocalEngine } from './engine/local-engine.ts';
import { Intake } from './intake/intake.ts';
import { HubLink } from './intake/link.ts';
import { FileUsageLedger } from './metering/usage-ledger.ts';
import { createHubMetrics } from './metrics.ts';
import { Registry } from './registry/registry.ts';
import { type HubTls, localHost, startTls } from './tls.ts';

/** A runner of a Transformer model. */
const MAX_RUNNER_RSS_BYTES = 4 * 1024 ** 3;
const RUNNER_START_TIMEOUT_MS = 120_000;
const RUNNER_CALL_TIMEOUT_MS = 60_000;

async function run(
  config: HubConfig,
): Promise<{ facts: Record<string, unknown>; stop: () => Promise<void> }> {
  const folder = join(config.dataDir, 'hub');
  const lock = await lockFolder(folder);
  const logger = createLogger({
    program: 'hub',
    folder: join(config.dataDir, 'logs'),
    level: config.logLevel,
  });
  const metrics = createHubMetrics();
  const lifecycle = new Lifecycle((name, error) => logger.failure('hub.stop_failed', error, { part: name }));

  const { isEmbedded } = config.mqtt;
  const registry = await Registry.open({
    folder,
    clock,
    logger,
    ...(isEmbedded && { brokerFolder: brokerFolder(config) }),
  });
  await lifecycle.start('registry', registry);
  await takeInModels(config, registry, logger);

  const tls = await startTls(config, { folder, lifecycle, clock, logger });
  const broker =
    config.mqtt.url === undefined ? await startBroker(config, tls, { lifecycle, logger }) : undefined;
  const mqttUrl = config.mqtt.url ?? broker?.url ?? '';
  const engine = new LocalEngine({
    catalog: registry.models,
    startRunner,
    clock,
    logger,
    maxLoaded: config.maxLoaded,
    runner: {
      threads: config.threads,
      maxRssBytes: MAX_RUNNER_RSS_BYTES,
      startTimeoutMs: RUNNER_START_TIMEOUT_MS,
      callTimeoutMs: RUNNER_CALL_TIMEOUT_MS,
    },
  });
  await lifecycle.start('engine', engine);
  // Devices that will ask soon should not wait for their models to load.
  void engine.preload(cloudModelsOf(registry.devices.list().map((device) => device.reported)));
  const batcher = new Batcher({ engine, clock });
  const usage = new FileUsageLedger({ folder: join(folder, 'usage'), clock, logger });
  await lifecycle.start('usage ledger', usage);

  const link = new HubLink({
    hubId: registry.hubId,
    connect: (will) =>
      connectMqtt({
        url: mqttUrl,
        clientId: registry.hubId,
        username: config.mqtt.username ?? registry.hubId,
        password: config.mqtt.password ?? registry.brokerSecret,
        trust: tls.brokerTrust,
        will,
        logger,
      }),
    devices: {
      isActive: (id) => registry.devices.isActive(id),
      seen: (id, presence) => registry.devices.seen(id, presence),
      reported(id, state) {
        registry.devices.reported(id, state);
        void engine.preload(cloudModelsOf([state]));
      },
    },
    clock,
    logger,
  });
  const intake = new Intake({
    link,
    devices: registry.devices,
    models: registry.models,
    inferencer: batcher,
    usage,
    clock,
    logger,
    metrics,
  });
  await lifecycle.start('intake', intake);
  await lifecycle.start('link', link);

  const app = createHubApi({
    keys: registry.keys,
    devices: registry.devices,
    models: registry.models,
    isLoaded: (name) => engine.loaded(name),
    inferencer: batcher,
    usage,
    hubId: registry.hubId,
    mqttUrl: config.mqtt.publicUrl ?? broker?.publicUrl ?? mqttUrl,
    ...(tls.authority && { authority: tls.authority }),
    ready: () => (link.connected ? undefined : 'the MQTT broker is not connected'),
    metrics,
    clock,
    logger,
  });
  const server = new HubServer({ app, host: config.host, port: config.port, certificate: tls.certificate });
  await lifecycle.start('api', server);
  const scheme = tls.certificate ? 'https' : 'http';
  const url = `${scheme}://${localHost(config.host, tls.certificate)}:${server.port}`;
  // Where the command line finds this hub.
  await writeJsonAtomic(join(folder, 'address.json'), { url });
  metrics.gauge('outrider_queue_requests', 'Requests that wait for a batch', () => batcher.depth);
  metrics.gauge(
    'outrider_queue_oldest_age_seconds',
    'Age of the oldest waiting request',
    () => batcher.oldestAgeMs / 1000,
  );
  metrics.gauge('outrider_usage_lost_lines', 'Usage lines that could not be written', () => usage.dropped);
  metrics.gauge('outrider_link_connected_ratio', '1 while the broker is connected', () =>
    link.connected ? 1 : 0,
  );
  logger.info('hub.started', { url, mqttUrl, hubId: registry.hubId });
  if (!isChild())
    process.stderr.write(
      `hub ${registry.hubId}: ${url}, broker ${mqttUrl}, admin key in ${join(folder, 'admin.key')}\n`,
    );
  return {
    facts: { url },
    stop: async () => {
      // Devices stop sending, what is being worked on is answered, then everything goes.
      await link.sayGoodbye();
      await intake.stop();
      await batcher.stop();
      await lifecycle.stop();
      logger.info('hub.stopped');
      await lock.release();
    },
  };
}

/** Each folder whose digest is not known becomes its name's next version; one that is not valid is told and passed over. */
async function takeInModels(config: HubConfig, registry: Registry, logger: Logger): Promise<void> {
  const folders = await findModelFolders(config.modelsDir, (path, error) =>
    logger.failure('hub.model_invalid', error, { path }),
  );
  for (const folder of folders) {
    const ref = await registry.models.takeIn(folder);
    logger.info('hub.model', { model: ref.name, version: ref.version, digest: ref.digest });
  }
}

/** The cloud models that these devices say they will ask. */
function cloudModelsOf(states: readonly (Reported | null)[]): string[] {
  const names = states.flatMap((state) => state?.pipelines.map(({ cloud }) => cloud) ?? []);
  return [...new Set(names.filter((name) => name !== null))];
}

/** A lone hub has the broker as its child, and they end together. @returns where the hub finds it, and where others do */
async function startBroker(
  config: HubConfig,
  { certificate }: HubTls,
  { lifecycle, logger }: { lifecycle: Lifecycle; logger: Logger },
): Promise<{ url: string; publicUrl: string }> {
  const { host, port, webSocketPort } = config.mqtt;
  let said: unknown;
  const broker = new Supervisor({
    name: 'broker',
    entry: new URL('./broker/main.ts', import.meta.url),
    args: [
      '--host',
      host,
      '--port',
      String(port),
      ...(webSocketPort === undefined ? [] : ['--ws-port', String(webSocketPort)]),
      ...(certificate
        ? ['--tls-cert', certificate.paths.certFile, '--tls-key', certificate.paths.keyFile]
        : []),
      '--data',
      brokerFolder(config),
      '--logs',
      join(config.dataDir, 'logs'),
    ],
    logger,
    clock,
    onReady: (facts) => {
      said = facts;
    },
  });
  await lifecycle.start('broker', broker);
  const parsed = z.object({ port: z.int() }).safeParse(said);
  if (!parsed.success) throw new AppError('INVARIANT_BROKEN', 'the broker came up without saying where');
  const at = (name: string): string =>
    `${certificate ? 'mqtts' : 'mqtt'}://${urlHost(name)}:${parsed.data.port}`;
  return { url: at(isWildcard(host) ? '127.0.0.1' : host), publicUrl: at(host) };
}

await runProgram(async () => {
  const config = loadConfig(process.argv.slice(2));
  if (config === 'help') {
    process.stdout.write(HUB_HELP);
    process.exit(0);
  }
  return run(config);
});
