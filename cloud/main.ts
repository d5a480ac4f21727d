/**
 * The composition root of the hub: flags -> parts -> start -> stop when told. Nothing is decided here;
 * what a request goes through stands in intake/intake.ts.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { Reported } from '../shared/contract/messages.ts';
import { connectMqtt } from '../shared/mqtt/connect.ts';
import { writeJsonAtomic } from '../shared/runtime/atomic-file.ts';
import { systemClock as clock } from '../shared/runtime/clock.ts';
import { colors } from '../shared/runtime/colors.ts';
import { AppError } from '../shared/runtime/errors.ts';
import { programFile } from '../shared/runtime/installation.ts';
import type { Lifecycle } from '../shared/runtime/lifecycle.ts';
import type { Logger } from '../shared/runtime/logger.ts';
import { isWildcard, urlHost } from '../shared/runtime/loopback.ts';
import { isChild, runProgram } from '../shared/runtime/program.ts';
import { Supervisor } from '../shared/runtime/supervisor.ts';
import { createHubApi } from './api/api.ts';
import { SignIns } from './api/frame/sign-in.ts';
import { ADMITS_EVERY_KEY } from './asking/admission.ts';
import { HttpAsking } from './asking/asking.ts';
import { Board } from './board/board.ts';
import { ThumbnailMaker } from './board/thumbnails.ts';
import { DynsecAccess, type DynsecAccessOptions } from './broker/dynsec.ts';
import { brokerFolder, HUB_HELP, type HubConfig, loadConfig } from './config.ts';
import type { LocalRunnerPool } from './engine/runner-pool.ts';
import { DeviceNews } from './events/device-news.ts';
import { EventFeed } from './events/event-feed.ts';
import type { HubLink } from './link/link.ts';
import { showDeviceRoutes } from './metrics.ts';
import type { DeviceBook } from './ports.ts';
import { Registry } from './registry/registry.ts';
import { type Answering, startAnswering } from './wiring/answering.ts';
import { runIntakeOnly } from './wiring/intake-only.ts';
import { openProgram } from './wiring/program.ts';
import { startPublishing } from './wiring/publishing.ts';
import type { HubTls } from './wiring/tls.ts';

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
  const events = new EventFeed(clock);
  await lifecycle.start('events', events);
  const news = new DeviceNews({ get: (id) => registry.devices.get(id), events, clock });
  await lifecycle.start('device news', news);
  let tellDevices = (): void => undefined;
  let isLoaded = (_name: string): boolean => false;
  const registry: Registry = await Registry.open({
    folder,
    policy: config.deploy,
    onDesiredChange: () => tellDevices(),
    onDeviceRevoked: (id) => news.changed(id),
    onModelChange: (model) =>
      events.publish({ type: 'model', model: { ...model, loaded: isLoaded(model.name) } }),
    clock,
    logger,
    ...(access === 'embedded' && { brokerFolder: brokerFolder(config) }),
    ...(access === 'dynsec' && { createAccess }),
    ...(config.credentialLifeMs !== undefined && { credentialLifeMs: config.credentialLifeMs }),
  });
  await lifecycle.start('registry', registry);
  if (dynsec) await lifecycle.start('broker access', dynsec);
  const { updates, blobs, publisher } = await startPublishing({
    config,
    folder,
    registry,
    events,
    lifecycle,
    clock,
    logger,
  });

  const broker =
    config.mqtt.url === undefined ? await startBroker(config, tls, { lifecycle, logger }) : undefined;
  const mqttUrl = config.mqtt.url ?? broker?.url ?? '';
  const board = new Board({
    devices: registry.devices,
    thumbnails: new ThumbnailMaker({ lease: (model) => answering.pool.lease(model), logger }),
    events,
  });
  const answering: Answering = await startAnswering(
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
    (pool, link) => bookOf({ registry, board, news, pool, link }),
  );
  const { pool, inferencer, usage, link } = answering;
  isLoaded = (name) => pool.loaded(name);
  tellDevices = () => {
    for (const { id } of registry.devices.list()) {
      const wanted = registry.desired.of(id);
      if (wanted) link.want(id, wanted);
    }
  };
  // Devices that will ask soon should not wait for their models to load.
  void pool.preload(cloudModelsOf(registry.devices.list().map((device) => device.reported)));

  const signIns = new SignIns(clock);
  const app = createHubApi({
    keys: registry.keys,
    devices: registry.devices,
    models: registry.models,
    isLoaded,
    asking: new HttpAsking({
      ...{ admission: ADMITS_EVERY_KEY, models: registry.models, inferencer, usage, clock },
    }),
    desired: registry.desired,
    pins: registry.pins,
    publisher,
    blobs,
    signedUpdates: updates,
    events,
    board,
    signIns,
    hubId: registry.hubId,
    mqttUrl: config.mqtt.publicUrl ?? broker?.publicUrl ?? mqttUrl,
    ...(tls.authority && { authority: tls.authority }),
    ready: () => (link.connected ? undefined : 'the MQTT broker is not connected'),
    metrics,
    clock,
    logger,
  });
  showDeviceRoutes(metrics, () => registry.devices.list());
  const url = await program.serve(app);
  // Where the command line finds this hub.
  await writeJsonAtomic(join(folder, 'address.json'), { url, mqttUrl });
  logger.info('hub.started', { url, mqttUrl, hubId: registry.hubId });
  if (!isChild()) introduce(registry.hubId, { url, mqttUrl, folder, isDevelopment: updates.isDevelopment });
  // A secret, good once: on the terminal of who asked for it, and in no log of ours.
  if (config.printsSignIn)
    process.stderr.write(`sign in once, within ten minutes: ${url}${signIns.createPath()}\n`);
  return {
    facts: { url, hasDevelopmentKeys: updates.isDevelopment },
    stop: () => program.stop(() => answering.drain()),
  };
}

/** What who has started it by hand should know. */
function introduce(
  hubId: string,
  at: {
    readonly url: string;
    readonly mqttUrl: string;
    readonly folder: string;
    readonly isDevelopment: boolean;
  },
): void {
  const { url, mqttUrl, folder, isDevelopment } = at;
  process.stderr.write(
    `hub ${hubId}: ${url}, broker ${mqttUrl}, admin key in ${join(folder, 'admin.key')}\n`,
  );
  if (!isDevelopment) return;
  const warning = `development signing keys made by this hub in ${join(folder, 'tuf', 'keys')}: whoever takes this machine can sign updates`;
  process.stderr.write(`${process.stderr.isTTY ? colors.red(warning) : warning}\n`);
}

/** What devices say goes to the registry; their models are loaded before they ask, and they are told what is wanted of them. */
function bookOf(parts: {
  readonly registry: Registry;
  readonly board: Board;
  readonly news: DeviceNews;
  readonly pool: LocalRunnerPool;
  readonly link: () => HubLink;
}): DeviceBook {
  const { board, news, pool, link } = parts;
  const { devices, desired } = parts.registry;
  return {
    isActive: (id) => devices.isActive(id),
    seen(id, presence) {
      devices.seen(id, presence);
      news.changed(id);
    },
    counted(id, counters) {
      devices.counted(id, counters);
      news.changed(id);
    },
    answered: (id, result) => board.answered(id, result),
    inputShared: (input) => board.inputShared(input),
    reported(id, state) {
      devices.reported(id, state);
      news.changed(id);
      void pool.preload(cloudModelsOf([state]));
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
    entry: programFile('broker'),
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
