/**
 * Removed versions in the records. First a version is marked, in one step with the look at who holds it: from then on nobody is told of it;
 * once nothing lists it and its files are gone, it is forgotten. Its number is never given again, and a folder of `--models` that is
 * still there does not bring it back.
 */
import type { Reported } from '../../shared/contract/messages.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { RemovalBook } from '../ports.ts';
import { type HoldFacts, holdsModel, holdsVersion } from './holds.ts';
import type { ModelRegistry } from './models.ts';
import type { HubData, StoredVersion } from './records.ts';
import { own, type Store, without } from './store.ts';

/** Records, and what devices have said. */
export interface RemovalRegistryOptions {
  readonly store: Store;
  readonly models: Pick<ModelRegistry, 'unshelve'>;
  readonly reportOf: (deviceId: string) => Reported | null | undefined;
  readonly clock: Clock;
}

/** Folders whose version was removed, by model: remembered so many. */
const MAX_REMEMBERED = 1_000;

/** Records of what was removed. */
export class RemovalRegistry implements RemovalBook {
  readonly #o: RemovalRegistryOptions;

  constructor(options: RemovalRegistryOptions) {
    this.#o = options;
  }

  async mark(name: string, version?: string): Promise<ModelRef[]> {
    let marked: ModelRef[] = [];
    await this.#o.store.change((data) => {
      const all = versionsOf(data, name);
      const wanted = version === undefined ? all : all.filter((one) => one.version === version);
      if (wanted.length === 0)
        throw version === undefined || all.length === 0
          ? new AppError('MODEL_UNKNOWN', `there is no model ${name} in this hub`)
          : new AppError('NOT_FOUND', `${name} has no version ${version}`);
      marked = wanted.map((one) => ({ name, version: one.version, digest: one.digest }));
      const fresh = wanted.filter(({ removedAtMs }) => removedAtMs === null);
      if (fresh.length === 0) return data;
      const facts = this.#factsOf(data);
      const held = version === undefined ? holdsModel(name, facts) : holdsVersion(name, version, facts);
      if (held !== undefined) throw new AppError('MODEL_IN_USE', held);
      const removedAtMs = this.#o.clock.nowAtMs();
      const next = all.map((one) => (fresh.includes(one) ? { ...one, published: false, removedAtMs } : one));
      return {
        ...{ ...data, desiredVersion: data.desiredVersion + 1 },
        models: { ...data.models, [name]: next },
        ...(version === undefined && { deployments: without(data.deployments, name) }),
      };
    });
    for (const ref of marked) this.#o.models.unshelve(ref);
    return marked;
  }

  marked(): ModelRef[] {
    return Object.entries(this.#o.store.data.models).flatMap(([name, versions]) =>
      versions
        .filter(({ removedAtMs }) => removedAtMs !== null)
        .map(({ version, digest }) => ({ name, version, digest })),
    );
  }

  filesOf({ name, version }: ModelRef): StoredVersion['files'] {
    return versionsOf(this.#o.store.data, name).find((one) => one.version === version)?.files ?? [];
  }

  filesElsewhere(refs: readonly ModelRef[]): Set<string> {
    const isOne = (name: string, version: string): boolean =>
      refs.some((ref) => ref.name === name && ref.version === version);
    return new Set(
      Object.entries(this.#o.store.data.models).flatMap(([name, versions]) =>
        versions
          .filter(({ version }) => !isOne(name, version))
          .flatMap(({ files }) => files.map(({ sha256 }) => sha256)),
      ),
    );
  }

  excess(name: string, keep: number): ModelRef[] {
    const { data } = this.#o.store;
    const facts = this.#factsOf(data);
    const there = versionsOf(data, name).filter(({ removedAtMs }) => removedAtMs === null);
    return there
      .slice(0, Math.max(0, there.length - keep))
      .filter(({ version }) => holdsVersion(name, version, facts) === undefined)
      .map(({ version, digest }) => ({ name, version, digest }));
  }

  async forget({ name, version, digest }: ModelRef): Promise<void> {
    await this.#o.store.change((data) => {
      const all = versionsOf(data, name);
      const gone = all.find((one) => one.version === version && one.removedAtMs !== null);
      if (!gone) return data;
      const left = all.filter((one) => one !== gone);
      const seen = Math.max(own(data.versionsSeen, name) ?? 0, Number(version));
      const removed = [...(own(data.removed, name) ?? []), digest].slice(-MAX_REMEMBERED);
      return {
        ...data,
        models: left.length > 0 ? { ...data.models, [name]: left } : without(data.models, name),
        ...(left.length === 0 && { serving: without(data.serving, name) }),
        versionsSeen: { ...data.versionsSeen, [name]: seen },
        removed: { ...data.removed, [name]: removed },
      };
    });
  }

  isRemoved(name: string, digest: string): boolean {
    const { data } = this.#o.store;
    return (
      own(data.removed, name)?.includes(digest) === true ||
      versionsOf(data, name).some((one) => one.digest === digest && one.removedAtMs !== null)
    );
  }

  #factsOf(data: HubData): HoldFacts {
    const ids = Object.keys(data.devices);
    const reports = new Map(ids.map((id) => [id, this.#o.reportOf(id) ?? null]));
    return { data, reports };
  }
}

const versionsOf = (data: HubData, name: string): StoredVersion[] =>
  own<HubData['models'][string]>(data.models, name) ?? [];
