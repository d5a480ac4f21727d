/**
 * The models: a name and immutable versions, numbered by the hub, and which of them devices are told to run. The same digest is the
 * same version, wherever its folder lies.
 */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type {
  DeployPolicy,
  ModelChange,
  ModelLoad,
  ModelRecord,
  VersionFile,
} from '../../shared/contract/admin.ts';
import type { EngineRecord } from '../../shared/contract/engines.ts';
import type { PictureNeed } from '../../shared/contract/messages.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import { AGENT_NAME } from '../../shared/contract/releases.ts';
import { classifierConfig, labelsInOrder, readModelJson } from '../../shared/release/folder/model-files.ts';
import { type ModelFolder, readSpec } from '../../shared/release/folder/model-folder.ts';
import { type ModelSpec, modelSpec } from '../../shared/release/folder/model-spec.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import type { ModelCatalog, ModelDescriptions, ModelShelf, VersionBook, VersionFacts } from '../ports.ts';
import { requirePublishedAgent } from './agent-releases.ts';
import type { HubData, StoredDeployment, StoredEngine, StoredServing, StoredVersion } from './records.ts';
import { heldVersion, supersede } from './rollout-records.ts';
import { own, type Store } from './store.ts';
import type { ModelChoice } from './wanted-version.ts';

/** A model as people see it; whether one is loaded, the pool of runners knows. */
export type ShelvedModel = Omit<ModelRecord, keyof ModelLoad>;

/** Store of the models, and who hears when one of them changes. */
export interface ModelRegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Holds `{name}/{version}`: the hub's own copies. */
  readonly folder: string;
  /** Of models that are new. */
  readonly policy: DeployPolicy;
  /** Something that devices are told may have changed. */
  readonly onDesiredChange: () => void;
  readonly onModelChange: (model: ShelvedModel) => void;
  /** The highest number under which a device has had a version of the model. */
  readonly versionSeen: (name: string) => number;
}

/** Records of models, and where their folders are now. */
export class ModelRegistry implements ModelCatalog, ModelShelf, ModelDescriptions, VersionBook {
  readonly #o: ModelRegistryOptions;
  readonly #store: Store;
  /** `name digest` -> the folder that has been checked since the start: what is only remembered may be gone. */
  readonly #present = new Map<string, string>();

  constructor(options: ModelRegistryOptions) {
    this.#o = options;
    this.#store = options.store;
  }

  async takeIn(folder: Omit<ModelFolder, 'digests'>, facts: VersionFacts = {}): Promise<ModelRef> {
    const { spec, digest, bytes, path } = folder;
    const { name, task } = spec;
    if (name === '__proto__' || name === AGENT_NAME)
      throw new AppError('MODEL_INVALID', `no model may be called ${name}: the name is taken`);
    if (own<StoredEngine>(this.#store.data.engines, name)?.runs === 'task')
      throw new AppError(
        'MODEL_INVALID',
        `${name} runs on another server: take that away first (outrider models rm ${name})`,
      );
    let isChanged = false;
    await this.#store.change((data) => {
      const versions = own(data.models, name) ?? [];
      const known = versions.find((one) => one.digest === digest);
      // Facts of a version that have been found stay: only where it lies, and what was not known, is new.
      const { picture = null, files = known?.files ?? [], test = null } = facts;
      const next: StoredVersion = known
        ? { ...known, folder: path, picture, files, removedAtMs: null }
        : {
            version: nextVersion(versions, this.#o.versionSeen(name)),
            ...{ digest, bytes, folder: path, task, picture, files, test },
            published: false,
            removedAtMs: null,
            createdAtMs: this.#o.clock.nowAtMs(),
          };
      isChanged = !isDeepStrictEqual(known, next);
      if (!isChanged) return data;
      const all = known ? versions.map((one) => (one === known ? next : one)) : [...versions, next];
      const removed = (own(data.removed, name) ?? []).filter((one) => one !== digest);
      return withVersions({ ...data, removed: { ...data.removed, [name]: removed } }, name, all);
    });
    if (!facts.files) this.#present.set(`${name} ${digest}`, path);
    const ref = this.find(name, digest);
    if (!ref) throw new AppError('INVARIANT_BROKEN', `version ${digest} of ${name} is not recorded`);
    if (isChanged) this.#changed(name);
    return ref;
  }

  addFiles({ name, version }: ModelRef, files: readonly VersionFile[]): Promise<void> {
    return this.#store.change((data) =>
      withVersions(
        data,
        name,
        versionsOf(data, name).map((one) => (one.version === version ? { ...one, files: [...files] } : one)),
      ),
    );
  }

  find(name: string, digest: string): ModelRef | undefined {
    const version = versionsOf(this.#store.data, name).find(
      (one) => one.digest === digest && one.removedAtMs === null,
    )?.version;
    return version === undefined ? undefined : { name, version, digest };
  }

  stored({ name, version }: Pick<ModelRef, 'name' | 'version'>): StoredVersion | undefined {
    return versionsOf(this.#store.data, name).find((one) => one.version === version);
  }

  all(): ModelRef[] {
    return Object.entries(this.#store.data.models).flatMap(([name, versions]) =>
      versions
        .filter(({ removedAtMs }) => removedAtMs === null)
        .map(({ version, digest }) => ({ name, version, digest })),
    );
  }

  /** It was removed: people see it no more, and nobody is answered with it. */
  unshelve({ name, digest }: ModelRef): void {
    if (this.#present.delete(`${name} ${digest}`)) this.#changed(name);
  }

  folderOf({ name, version }: Pick<ModelRef, 'name' | 'version'>): string {
    // `org/name` is one folder: else it could lie in a version of a model that is called `org`.
    return join(this.#o.folder, encodeURIComponent(name), version);
  }

  shelved(ref: ModelRef): void {
    const key = `${ref.name} ${ref.digest}`;
    const isNew = !this.#present.has(key);
    this.#present.set(key, this.folderOf(ref));
    if (isNew) this.#tell(ref.name);
  }

  async published({ name, version }: ModelRef): Promise<boolean> {
    let isChanged = false;
    await this.#store.change((data) => {
      const versions = versionsOf(data, name);
      const found = versions.find((one) => one.version === version);
      if (!found) throw new AppError('INVARIANT_BROKEN', `version ${version} of ${name} is not recorded`);
      isChanged = !found.published;
      if (!isChanged) return data;
      const before = this.#deploymentOf(data, name);
      const { policy, deployed } = before;
      const isNext = deployed === null || (policy === 'auto' && Number(version) > Number(deployed));
      const deployment = { ...before, deployed: isNext ? version : deployed };
      return {
        ...withVersions(
          data,
          name,
          versions.map((one) => (one === found ? { ...one, published: true } : one)),
        ),
        deployments: { ...data.deployments, [name]: deployment },
      };
    });
    if (isChanged) this.#changed(name);
    return this.#deploymentOf(this.#store.data, name).deployed === version;
  }

  async change(
    name: string,
    { policy, plan, deployed, keepLoaded, maxQueue }: ModelChange,
    isExpected: (now: ShelvedModel) => boolean,
    by: string | null = null,
  ): Promise<void> {
    let isChanged = false;
    let isDesiredChanged = false;
    await this.#store.change((data) => {
      const now = this.#describe(data, name);
      if (!now) throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
      if (!isExpected(now)) throw new AppError('PRECONDITION_FAILED');
      if (deployed !== undefined) requirePublished(data, name, deployed);
      const before = this.#deploymentOf(data, name);
      const next = {
        policy: policy ?? before.policy,
        deployed: deployed ?? before.deployed,
        plan: plan === undefined ? before.plan : plan,
      };
      const served = servingOf(data, name);
      const serving = {
        keepLoaded: keepLoaded ?? served.keepLoaded,
        maxQueue: maxQueue === undefined ? served.maxQueue : maxQueue,
      };
      const isServedAsBefore = isDeepStrictEqual(served, serving);
      const changed = isServedAsBefore ? data : { ...data, serving: { ...data.serving, [name]: serving } };
      const atMs = this.#o.clock.nowAtMs();
      const rollouts =
        deployed === undefined
          ? data.rollouts
          : supersede(data.rollouts, name, { atMs, by, detail: `version ${deployed} was deployed by hand` });
      isDesiredChanged = !isDeepStrictEqual(before, next) || !isDeepStrictEqual(rollouts, data.rollouts);
      isChanged = isDesiredChanged || !isServedAsBefore;
      if (!isDesiredChanged) return changed;
      const desiredVersion = data.desiredVersion + 1;
      return { ...changed, desiredVersion, rollouts, deployments: { ...data.deployments, [name]: next } };
    });
    if (isDesiredChanged) this.#changed(name);
    else if (isChanged) this.#tell(name);
  }

  serving(name: string): StoredServing {
    return servingOf(this.#store.data, name);
  }

  /** Deployment, rollout and versions, of which one is chosen for a device. */
  choiceOf(name: string, deviceId: string): ModelChoice {
    const { data } = this.#store;
    return {
      name,
      deployment: this.#deploymentOf(data, name),
      held: heldVersion(data.rollouts, name, deviceId),
      versions: versionsOf(data, name),
    };
  }

  resolve(name: string): {
    folder: string;
    ref: ModelRef;
    task: TaskName;
    picture: PictureNeed | null;
    bytes: number;
  } {
    const newest = this.#presentVersions(this.#store.data, name).findLast(({ test }) => test !== 'forced');
    const engine = own<StoredEngine>(this.#store.data.engines, name);
    if (engine?.runs === 'task')
      return { folder: '', ref: refOf(name, engine), task: engine.task, picture: null, bytes: 0 };
    const folder = newest && this.#present.get(`${name} ${newest.digest}`);
    if (folder === undefined) throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
    const { version, digest, task, picture, bytes } = newest as StoredVersion;
    return { folder, ref: { name, version, digest }, task, picture, bytes };
  }

  async spec(name: string): Promise<ModelSpec> {
    const { folder, task } = this.resolve(name);
    // Of a model that runs elsewhere nothing but its task is known.
    if (folder === '')
      return modelSpec.parse({ schema: 1, name, task, model: 'model', precision: 'float32', files: {} });
    return readSpec(folder);
  }

  async labels(name: string): Promise<readonly string[] | undefined> {
    const { folder } = this.resolve(name);
    if (folder === '') return undefined;
    try {
      return labelsInOrder(folder, await readModelJson(folder, 'config.json', classifierConfig));
    } catch (error) {
      if (isAppError(error, 'MODEL_INVALID')) return undefined;
      throw error;
    }
  }

  list(): ShelvedModel[] {
    const { data } = this.#store;
    return [...new Set([...Object.keys(data.models), ...Object.keys(data.engines)])]
      .sort()
      .flatMap((name) => this.#describe(data, name) ?? []);
  }

  #describe(data: HubData, name: string): ShelvedModel | undefined {
    const engine = own<StoredEngine>(data.engines, name);
    if (engine?.runs === 'task') return describeElsewhere(name, engine);
    const present = this.#presentVersions(data, name);
    const newest = present.at(-1);
    if (!newest) return undefined;
    const { version, digest, bytes, task } = newest;
    const versions = present.map((one) => ({
      version: one.version,
      digest: one.digest,
      bytes: one.bytes,
      createdAtMs: one.createdAtMs,
      published: one.published,
      test: one.test,
    }));
    const { policy, deployed, plan } = this.#deploymentOf(data, name);
    const { keepLoaded, maxQueue } = servingOf(data, name);
    const files = new Map(present.flatMap((one) => one.files.map((file) => [file.sha256, file.bytes])));
    return {
      ...{ name, task, version, digest, bytes, policy, plan, deployed, keepLoaded, maxQueue },
      storedBytes: [...files.values()].reduce((sum, one) => sum + one, 0),
      versions: versions.reverse(),
      engine: engine ? shownEngine(engine) : null,
    };
  }

  /** What the newest folder of this name does; undefined: there is none. */
  folderTask(name: string): TaskName | undefined {
    return this.#presentVersions(this.#store.data, name).findLast(({ test }) => test !== 'forced')?.task;
  }

  /** Where the model runs has changed. */
  engineChanged(name: string): void {
    this.#changed(name);
  }

  /** Another version of it is deployed, or rolled out to other devices. */
  deploymentChanged(name: string): void {
    this.#changed(name);
  }

  #deploymentOf(data: HubData, name: string): StoredDeployment {
    return own(data.deployments, name) ?? { policy: this.#o.policy, deployed: null, plan: null };
  }

  /** Oldest first. */
  #presentVersions(data: HubData, name: string): StoredVersion[] {
    return versionsOf(data, name).filter(
      ({ digest, removedAtMs }) => removedAtMs === null && this.#present.has(`${name} ${digest}`),
    );
  }

  #changed(name: string): void {
    this.#o.onDesiredChange();
    this.#tell(name);
  }

  #tell(name: string): void {
    const model = this.#describe(this.#store.data, name);
    if (model) this.#o.onModelChange(model);
  }
}

/** @throws MODEL_UNKNOWN, UPDATE_NOT_LISTED: devices would refuse it */
export function requirePublished(data: HubData, name: string, version: string): void {
  if (name === AGENT_NAME) {
    requirePublishedAgent(data, version);
    return;
  }
  const versions = versionsOf(data, name);
  if (versions.length === 0) throw new AppError('MODEL_UNKNOWN', `there is no model ${name}`);
  if (!versions.some((one) => one.version === version && one.published))
    throw new AppError('UPDATE_NOT_LISTED', `${name} has no published version ${version}`);
}

const servingOf = (data: HubData, name: string): StoredServing =>
  own(data.serving, name) ?? { keepLoaded: false, maxQueue: null };
/** A model that has no folder here: what is known of it is where it runs. */
function describeElsewhere(name: string, engine: StoredEngine): ShelvedModel {
  const { version, digest } = refOf(name, engine);
  const { createdAtMs } = engine;
  return {
    ...{ name, task: engine.task, version, digest, bytes: 0, policy: 'manual', deployed: null },
    ...{ plan: null, keepLoaded: false, maxQueue: null, storedBytes: 0 },
    versions: [{ version, digest, bytes: 0, createdAtMs, published: false, test: null }],
    engine: shownEngine(engine),
  };
}

/** Another place, another model there: another digest, so that what devices have learned of the old one does not count. */
function refOf(name: string, { kind, url, remoteName, version, number }: StoredEngine): ModelRef {
  return {
    ...{ name, version: String(number) },
    digest: sha256Hex(JSON.stringify([kind, url, remoteName, version])),
  };
}

const shownEngine = (engine: StoredEngine): EngineRecord => ({
  ...{
    kind: engine.kind,
    url: engine.url,
    remoteName: engine.remoteName,
    version: engine.version,
    runs: engine.runs,
  },
  ...{ hasKey: engine.hasKey, hasCa: engine.ca !== null, timeoutSeconds: engine.timeoutMs / 1000 },
  ...{ fallback: engine.fallback, batch: engine.batch },
});

const versionsOf = (data: HubData, name: string): StoredVersion[] =>
  own<HubData['models'][string]>(data.models, name) ?? [];

const withVersions = (data: HubData, name: string, versions: StoredVersion[]): HubData => ({
  ...data,
  desiredVersion: data.desiredVersion + 1,
  models: { ...data.models, [name]: versions },
});

/**
 * Versions are whole numbers from 1, in strings; "0" is for what no hub has named.
 *
 * @param seen on devices: more than is known where the hub has come back from a backup
 */
function nextVersion(versions: readonly StoredVersion[], seen: number): string {
  return String(Math.max(seen, ...versions.map(({ version }) => Number(version))) + 1);
}
