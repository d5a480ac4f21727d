/**
 * The composition root of the hub: flags -> parts -> start -> stop when told. Nothing is decided here;
 * what a request goes through stands in intake/intake.ts.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { Reported } from '../shared/contract/messages.ts';
import { pictureNeedOf } from '../shared/inference/picture-need.ts';
import { connectMqtt } from '../shared/mqtt/connect.ts';
import { findModelFolders } from '../shared/release/model-folder.ts';
import { writeJsonAtomic } from '../shared/runtime/atomic-file.ts';
import { systemClock as clock } from '../shared/runtime/clock.ts';
import { AppError } from '../shared/runtime/errors.ts';
import type { Lifecycle } from '../shared/runtime/lifecycle.ts';
import type { Logger } from '../shared/runtime/logger.ts';
import { isWildcard, urlHost } from '../shared/runtime/loopback.ts';
import { isChild, runProgram } from '../shared/runtime/program.ts';
import { Supervisor } from '../shared/runtime/supervisor.ts';
import { startAnswering } from './answering.ts';
import { createHubApi, type HubApiOptions } from './api/api.ts';
import { EventFeed } from './api/event-feed.ts';
import { DynsecAccess, type DynsecAccessOptions } from './broker-access/dynsec.ts';
import { brokerFolder, HUB_HELP, type HubConfig, loadConfig } from './config.ts';
import type { LocalEngine } from './engine/local-engine.ts';
import type { HubLink } from './intake/link.ts';
import { runIntakeOnly } from './intake-only.ts';
import type { DeviceBook } from './ports.ts';
import { openProgram } from './program.ts';
import { Registry } from './registry/registry.ts';
import type { HubTls } from './tls.ts';

async function run(
  config: HubConfig,
): Promise<{ facts: Record<string, unknown>; stop: () => Promise<void> }> {
  const program = await openProgram(config);
  const { folder, logger, metrics, lifecycle, tls } = program;
  const { access } = config.mqtt;
  let dynsec: DynsecAccess | undefined;
  const createAccess = (hubId: string, hubSecret: string): DynsecAccess => {
    dynsec = createDynsecAccess(config, {
      hubId,
      hubSecret,
      trust: tls.brokerTrust,
      logger,
      onReady: () => registry.devices.reconcile(),
    });
    return dynsec;
  };
  const registry: Registry = await Registry.open({
    folder,
    clock,
    logger,
    ...(access === 'embedded' && { brokerFolder: brokerFolder(config) }),
    ...(access === 'dynsec' && { createAccess }),
    ...(config.credentialLifeMs !== undefined && { credentialLifeMs: config.credentialLifeMs }),
  });
  await lifecycle.start('registry', registry);
  if (dynsec) await lifecycle.start('broker access', dynsec);
  await takeInModels(config, registry, logger);

  const broker =
    config.mqtt.url === undefined ? await startBroker(config, tls, { lifecycle, logger }) : undefined;
  const mqttUrl = config.mqtt.url ?? broker?.url ?? '';
  const answering = await startAnswering(
    {
      config,
      folder,
      hubId: registry.hubId,
      mqtt: {
        url: mqttUrl,
        // With dynsec the hub has made itself an account that may do less than the plugin's admin.
        username: (access === 'external' ? config.mqtt.username : undefined) ?? registry.hubId,
        password: (access === 'external' ? config.mqtt.password : undefined) ?? registry.brokerSecret,
        trust: tls.brokerTrust,
      },
      models: registry.models,
      devices: registry.devices,
      lifecycle,
      clock,
      logger,
      metrics,
    },
    (engine, link) => bookOf(registry, engine, link),
  );
  const { engine, batcher, usage, link } = answering;
  // Devices that will ask soon should not wait for their models to load.
  void engine.preload(cloudModelsOf(registry.devices.list().map((device) => device.reported)));

  const events = new EventFeed(clock);
  await lifecycle.start('events', events);
  const app = createHubApi({
    ...NOT_PLUGGED_YET,
    events,
    keys: registry.keys,
    devices: registry.devices,
    models: registry.models,
    isLoaded: (name) => engine.loaded(name),
    inferencer: batcher,
    usage,
    desired: registry.desired,
    hubId: registry.hubId,
    mqttUrl: config.mqtt.publicUrl ?? broker?.publicUrl ?? mqttUrl,
    ...(tls.authority && { authority: tls.authority }),
    ready: () => (link.connected ? undefined : 'the MQTT broker is not connected'),
    metrics,
    clock,
    logger,
  });
  const url = await program.serve(app);
  // Where the command line finds this hub.
  await writeJsonAtomic(join(folder, 'address.json'), { url });
  logger.info('hub.started', { url, mqttUrl, hubId: registry.hubId });
  if (!isChild())
    process.stderr.write(
      `hub ${registry.hubId}: ${url}, broker ${mqttUrl}, admin key in ${join(folder, 'admin.key')}\n`,
    );
  return {
    facts: { url },
    stop: () => program.stop(() => answering.drain()),
  };
}

/** Addresses that need one of these answer INVARIANT_BROKEN until it is there. */
const NOT_PLUGGED_YET = {} as Pick<HubApiOptions, 'pins' | 'publisher' | 'blobs' | 'signedUpdates' | 'board'>;

/** What devices say goes to the registry; their models are loaded before they ask, and they are told what is wanted of them. */
function bookOf(registry: Registry, engine: LocalEngine, link: () => HubLink): DeviceBook {
  const { devices, desired } = registry;
  return {
    isActive: (id) => devices.isActive(id),
    seen: (id, presence) => devices.seen(id, presence),
    counted: (id, counters) => devices.counted(id, counters),
    reported(id, state) {
      devices.reported(id, state);
      void engine.preload(cloudModelsOf([state]));
      const wanted = desired.of(id);
      if (wanted) link().want(id, wanted);
    },
  };
}

/** The hub as the admin of Mosquitto's dynamic-security plugin. */
function createDynsecAccess(
  { mqtt: { url = '', username = '', password = '' } }: HubConfig,
  {
    trust,
    ...parts
  }: Pick<DynsecAccessOptions, 'hubId' | 'hubSecret' | 'onReady' | 'logger'> & {
    readonly trust: HubTls['brokerTrust'];
  },
): DynsecAccess {
  const clientId = `${parts.hubId}-access`;
  return new DynsecAccess({
    ...parts,
    connect: () => connectMqtt({ url, clientId, username, password, trust, logger: parts.logger }),
    clock,
  });
}

/** Each folder whose digest is not known becomes its name's next version; one that is not valid is told and passed over. */
async function takeInModels(config: HubConfig, registry: Registry, logger: Logger): Promise<void> {
  const folders = await findModelFolders(config.modelsDir, (path, error) =>
    logger.failure('hub.model_invalid', error, { path }),
  );
  for (const folder of folders) {
    const ref = await registry.models.takeIn(folder, await pictureNeedOf(folder));
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
  return config.intakeOnly ? runIntakeOnly(config) : run(config);
});
