/**
 * Records of the hub: its devices, keys and models, behind one store with one writer. Writes `access.json` for the broker
 * after each change, so that a device is in, or out, when the call that asked for it returns.
 */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ACCESS_FILE_NAME, type AccessFile } from '../../shared/contract/access.ts';
import type { DeployPolicy } from '../../shared/contract/admin.ts';
import { writeFileAtomic, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import type { BrokerAccess, FleetStarts } from '../ports.ts';
import { AgentReleaseRegistry } from './agent-releases.ts';
import { principalOf } from './credential.ts';
import { Database } from './database.ts';
import { DesiredRegistry } from './desired.ts';
import { DeviceRegistry } from './devices.ts';
import { EngineRegistry } from './engines.ts';
import { KeyRegistry, newKey } from './keys.ts';
import { LabelRegistry } from './labels.ts';
import { ModelRegistry, type ShelvedModel } from './models.ts';
import { PinRegistry } from './pins.ts';
import type { HubData } from './records.ts';
import { RemovalRegistry } from './removal.ts';
import { paused } from './rollout-records.ts';
import { RolloutRegistry } from './rollouts.ts';
import type { OpenStore, Store, StoreOptions } from './store.ts';

/** Data folder of the hub, its broker’s accounts, and who hears of changes. */
export interface RegistryOptions {
  /** The hub's data folder: hub.json, admin.key, broker.secret, models/. */
  readonly folder: string;
  /** Where the embedded broker looks for access.json; left out with a broker of somebody else. */
  readonly brokerFolder?: string;
  /** The accounts at such a broker, when they are made here; the hub's own id and secret come in. */
  readonly createAccess?: (hubId: string, secret: string) => BrokerAccess;
  /** Id of a hub that has no records yet: its account's name at a broker of somebody else, whose rights name it; made up, when left out. */
  readonly newHubId?: string;
  /** How long a device's credential is good; for ever, when left out. */
  readonly credentialLifeMs?: number;
  /** Of models that are new; `manual`, when left out. */
  readonly policy?: DeployPolicy;
  /** The folder has come back from a copy: what devices are told from here on is newer than anything that they may have heard. */
  readonly isRestored?: boolean;
  /** Something that devices are told may have changed. */
  readonly onDesiredChange?: () => void;
  /** What the fleet gives a device to start from. */
  readonly fleet?: FleetStarts;
  readonly onDeviceRevoked?: (id: string) => void;
  readonly onModelChange?: (model: ShelvedModel) => void;
  /** Keeps the records; one JSON file in `folder`, when left out. */
  readonly openStore?: OpenStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

const ADMIN_KEY_FILE_NAME = 'admin.key';
const BROKER_SECRET_FILE_NAME = 'broker.secret';
const MODELS_FOLDER_NAME = 'models';
const ENGINE_KEYS_FOLDER_NAME = 'engine-keys';
/** For secrets: nobody but the hub's own user. */
const PRIVATE = 0o600;

/** All registries over one store. */
export class Registry implements Part {
  readonly hubId: string;
  /** The hub's own secret on the broker; its user name is `hubId`. */
  readonly brokerSecret: string;
  readonly devices: DeviceRegistry;
  readonly keys: KeyRegistry;
  readonly models: ModelRegistry;
  readonly engines: EngineRegistry;
  readonly pins: PinRegistry;
  readonly labels: LabelRegistry;
  readonly rollouts: RolloutRegistry;
  readonly removal: RemovalRegistry;
  readonly desired: DesiredRegistry;
  readonly agentReleases: AgentReleaseRegistry;

  private constructor(store: Store, brokerSecret: string, options: RegistryOptions) {
    const { clock, logger, credentialLifeMs, policy = 'manual' } = options;
    const { onDesiredChange = () => undefined, onModelChange = () => undefined } = options;
    const folder = join(options.folder, MODELS_FOLDER_NAME);
    const access = options.createAccess?.(store.data.hubId, brokerSecret);
    this.hubId = store.data.hubId;
    this.brokerSecret = brokerSecret;
    this.devices = new DeviceRegistry({
      store,
      clock,
      logger,
      access,
      credentialLifeMs,
      ...(options.onDeviceRevoked && { onRevoked: options.onDeviceRevoked }),
    });
    this.keys = new KeyRegistry({ store, clock });
    this.models = new ModelRegistry({
      ...{ store, clock, folder, policy, onDesiredChange, onModelChange },
      versionSeen: (name) => this.devices.versionSeen(name),
    });
    this.engines = new EngineRegistry({
      ...{ store, clock, models: this.models },
      folder: join(options.folder, ENGINE_KEYS_FOLDER_NAME),
    });
    this.pins = new PinRegistry({ store, onDesiredChange });
    this.labels = new LabelRegistry({ store });
    this.rollouts = new RolloutRegistry({
      store,
      onDesiredChange: (model) => this.models.deploymentChanged(model),
    });
    this.removal = new RemovalRegistry({
      ...{ store, clock, models: this.models },
      reportOf: (id) => this.devices.reportOf(id),
    });
    this.agentReleases = new AgentReleaseRegistry({ store, clock, onDesiredChange });
    this.desired = new DesiredRegistry({
      ...{ store, devices: this.devices, models: this.models },
      fleet: options.fleet,
    });
  }

  /**
   * Reads what is there; on the first start makes the hub's id and an admin key.
   *
   * @throws DATA_CORRUPT, DISK_FULL
   */
  static async open(options: RegistryOptions): Promise<Registry> {
    const { folder, brokerFolder, logger, clock } = options;
    const brokerSecret = await brokerSecretIn(folder);
    const openStore =
      options.openStore ?? ((parts: StoreOptions) => Database.open({ ...parts, folder, logger }));
    const store = await openStore({
      createFirst: () => firstData(folder, clock, options.newHubId),
      afterChange: async (data) => {
        if (brokerFolder === undefined) return;
        await writeJsonAtomic(join(brokerFolder, ACCESS_FILE_NAME), accessOf(data, brokerSecret), PRIVATE);
      },
    });
    if (options.isRestored) await store.change((data) => goneOn(data, clock.nowAtMs()));
    return new Registry(store, brokerSecret, options);
  }

  start(): void {
    this.devices.start();
  }

  stop(): Promise<void> {
    return this.devices.stop();
  }
}

/**
 * Records that come from a backup. Seconds since 1970 are more than anybody has counted up to; a token that was used since then would
 * be good once more.
 */
const goneOn = (data: HubData, nowAtMs: number): HubData => ({
  ...data,
  desiredVersion: Math.max(data.desiredVersion + 1, Math.floor(nowAtMs / 1_000)),
  tokens: {},
  // What devices have done since the copy nobody knows here: a person looks first.
  rollouts: paused(data.rollouts, nowAtMs),
});

function accessOf(data: HubData, brokerSecret: string): AccessFile {
  const devices = Object.entries(data.devices).map(([id, device]) => principalOf(id, device));
  const hub = { id: data.hubId, secretSha256: sha256Hex(brokerSecret), role: 'hub' as const };
  return { version: 1, principals: [hub, ...devices] };
}

/** The key is on disk before its hash is: a crash in between makes a new one, never a hub without a key. */
async function firstData(folder: string, clock: Clock, hubId?: string): Promise<HubData> {
  const { key, sha256 } = newKey();
  await writeFileAtomic(join(folder, ADMIN_KEY_FILE_NAME), `${key}\n`, PRIVATE);
  const admin = {
    id: 'admin',
    name: 'made at the first start',
    scopes: ['admin' as const],
    createdAtMs: clock.nowAtMs(),
    expiresAtMs: null,
  };
  return {
    schema: 1,
    hubId: hubId ?? `hub-${randomBytes(6).toString('hex')}`,
    desiredVersion: 1,
    devices: {},
    tokens: {},
    keys: { [sha256]: admin },
    models: {},
    deployments: {},
    serving: {},
    versionsSeen: {},
    removed: {},
    engines: {},
    rollouts: {},
    agentReleases: {},
  };
}

async function brokerSecretIn(folder: string): Promise<string> {
  const path = join(folder, BROKER_SECRET_FILE_NAME);
  const known = (await readIfThere(path))?.toString('utf8').trim();
  if (known) return known;
  const secret = newSecret();
  await writeFileAtomic(path, `${secret}\n`, PRIVATE);
  return secret;
}
