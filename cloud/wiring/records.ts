/** Puts together what the hub knows and tells: registry, the accounts at a foreign broker, the feed of events, news of devices. */
import type { ModelLoad } from '../../shared/contract/admin.ts';
import { deviceId as hubId } from '../../shared/contract/names.ts';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import { DynsecAccess } from '../broker/dynsec.ts';
import { brokerFolder } from '../config.ts';
import type { LocalRunnerPool } from '../engine/runner-pool.ts';
import { DeviceNews } from '../events/device-news.ts';
import { EventFeed } from '../events/event-feed.ts';
import { FleetEvidence } from '../fleet/fleet-evidence.ts';
import type { HubLink } from '../link/hub-link.ts';
import { Registry } from '../registry/registry.ts';
import { Evidence } from '../rollout/evidence.ts';
import type { HubProgram } from './program.ts';

/** The parts that others need of it. */
export interface Records {
  readonly registry: Registry;
  readonly events: EventFeed;
  readonly news: DeviceNews;
  /** Who hears that a device has told something, or that a model has changed. */
  onNews(hear: () => void): void;
  /** What devices have counted of each version. */
  readonly evidence: Evidence;
  /** What devices have seen of pairs of models. */
  readonly fleet: FleetEvidence;
  /** From here on devices are told what changes, and whoever watches hears whether a model is loaded. */
  attach(answering: {
    readonly pool: Pick<LocalRunnerPool, 'preload'>;
    readonly loadOf: (model: string) => ModelLoad;
    readonly link: Pick<HubLink, 'want' | 'forget'>;
  }): void;
}

const NOT_LOADED: ModelLoad = { loaded: false, provider: null, memoryBytes: null, waiting: 0 };

/** @throws DATA_CORRUPT, DISK_FULL, BROKER_UNREACHABLE, CONFIG_INVALID */
export async function startRecords(program: HubProgram): Promise<Records> {
  const { config, folder, lifecycle, clock, logger } = program;
  const { access } = config.mqtt;
  const newHubId = hubId.safeParse(config.mqtt.username);
  let dynsec: DynsecAccess | undefined;
  const createAccess = (hubId: string, hubSecret: string): DynsecAccess => {
    const onReady = (): Promise<void> => registry.devices.reconcile();
    dynsec = createDynsecAccess(program, { hubId, hubSecret, onReady });
    return dynsec;
  };
  const events = new EventFeed(clock);
  await lifecycle.start('events', events);
  const news = new DeviceNews({ get: (id) => registry.devices.get(id), events, clock, onNews: () => hear() });
  await lifecycle.start('device news', news);
  const evidence = new Evidence({ folder, clock, logger });
  await lifecycle.start('evidence', evidence);
  let attached: Parameters<Records['attach']>[0] | undefined;
  let hear = (): void => undefined;
  const tellDevices = (): void => {
    if (!attached) return;
    for (const { id } of registry.devices.list()) {
      const wanted = registry.desired.of(id);
      if (wanted) attached.link.want(id, wanted);
    }
  };
  const fleet = new FleetEvidence({
    folder,
    isActive: (id) => registry.devices.isActive(id),
    onNews: tellDevices,
    clock,
    logger,
  });
  await lifecycle.start('fleet evidence', fleet);
  const registry: Registry = await Registry.open({
    folder,
    policy: config.deploy,
    isRestored: program.isRestored,
    onDesiredChange: tellDevices,
    onDeviceRevoked: (id) => {
      news.changed(id);
      evidence.forget(id);
      fleet.forget(id);
      attached?.link.forget(id);
    },
    onModelChange: (model) => {
      hear();
      events.publish({
        type: 'model',
        model: { ...model, ...(attached?.loadOf(model.name) ?? NOT_LOADED) },
      });
      if (model.keepLoaded) void attached?.pool.preload([model.name]);
    },
    fleet,
    clock,
    logger,
    ...(access === 'embedded' && { brokerFolder: brokerFolder(config) }),
    ...(access === 'dynsec' && { createAccess }),
    ...(access === 'external' && newHubId.success && { newHubId: newHubId.data }),
    ...(config.credentialLifeMs !== undefined && { credentialLifeMs: config.credentialLifeMs }),
  });
  await lifecycle.start('registry', registry);
  if (dynsec) await lifecycle.start('broker access', dynsec);
  return {
    registry,
    events,
    news,
    onNews: (hearer) => {
      hear = hearer;
    },
    evidence,
    fleet,
    attach: (answering) => {
      attached = answering;
    },
  };
}

/** The hub as the admin of Mosquitto's dynamic-security plugin. */
function createDynsecAccess(
  { config, tls, clock, logger }: HubProgram,
  parts: { readonly hubId: string; readonly hubSecret: string; readonly onReady: () => Promise<void> },
): DynsecAccess {
  const { url = '', username = '', password = '' } = config.mqtt;
  const clientId = `${parts.hubId}-access`;
  return new DynsecAccess({
    ...parts,
    otherHubs: config.mqtt.otherHubs,
    connect: () => connectMqtt({ url, clientId, username, password, trust: tls.brokerTrust, logger }),
    clock,
    logger,
  });
}
