/** The models: a name and immutable versions, numbered by the hub. The same digest is the same version, wherever its folder lies. */
import { isDeepStrictEqual } from 'node:util';
import type { ModelRecord } from '../../shared/contract/admin.ts';
import type { PictureNeed } from '../../shared/contract/messages.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { TaskName } from '../../shared/contract/tasks.ts';
import type { ModelFolder } from '../../shared/release/model-folder.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { ModelCatalog, ModelShelf } from '../ports.ts';
import { type Database, own } from './database.ts';
import type { HubData, StoredVersion } from './records.ts';

export class ModelRegistry implements ModelCatalog, ModelShelf {
  readonly #database: Database;
  readonly #clock: Clock;
  /** `name digest` of the folders that have been checked since the start: what is only remembered may be gone. */
  readonly #present = new Set<string>();

  constructor({ database, clock }: { database: Database; clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  /**
   * Takes a checked folder in: a known digest keeps its number, an unknown one gets the next.
   *
   * @param picture what pictures its task can use; null for other tasks
   * @throws MODEL_INVALID (the name), DISK_FULL
   */
  async takeIn(folder: ModelFolder, picture: PictureNeed | null = null): Promise<ModelRef> {
    const { spec, digest, bytes, path } = folder;
    const { name, task } = spec;
    if (name === '__proto__') throw new AppError('MODEL_INVALID', 'this model name is reserved');
    await this.#database.change((data) => {
      const versions = own(data.models, name) ?? [];
      const known = versions.find((one) => one.digest === digest);
      if (known?.folder === path && isDeepStrictEqual(known.picture, picture)) return data;
      const next = known
        ? versions.map((one) => (one === known ? { ...one, folder: path, picture } : one))
        : [
            ...versions,
            {
              version: nextVersion(versions),
              digest,
              bytes,
              folder: path,
              task,
              picture,
              createdAtMs: this.#clock.nowAtMs(),
            },
          ];
      const desiredVersion = data.desiredVersion + 1;
      return { ...data, desiredVersion, models: { ...data.models, [name]: next } };
    });
    this.#present.add(`${name} ${digest}`);
    const { version } = this.#versionOf(name, digest);
    return { name, version, digest };
  }

  resolve(name: string): {
    folder: string;
    ref: ModelRef;
    task: TaskName;
    picture: PictureNeed | null;
  } {
    const newest = this.#presentVersions(name).at(-1);
    if (!newest) throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
    const { version, digest, folder, task, picture } = newest;
    return { folder, ref: { name, version, digest }, task, picture };
  }

  list(): Omit<ModelRecord, 'loaded'>[] {
    return Object.keys(this.#database.data.models)
      .sort()
      .flatMap((name) => {
        const present = this.#presentVersions(name);
        const newest = present.at(-1);
        if (!newest) return [];
        const { version, digest, bytes, task } = newest;
        const versions = present.map((one) => ({
          version: one.version,
          digest: one.digest,
          bytes: one.bytes,
          createdAtMs: one.createdAtMs,
          published: false,
        }));
        const policy = 'manual' as const;
        return [{ name, task, version, digest, bytes, policy, deployed: null, versions: versions.reverse() }];
      });
  }

  /** Oldest first. */
  #presentVersions(name: string): StoredVersion[] {
    const versions = own<HubData['models'][string]>(this.#database.data.models, name) ?? [];
    return versions.filter(({ digest }) => this.#present.has(`${name} ${digest}`));
  }

  #versionOf(name: string, digest: string): StoredVersion {
    const found = this.#presentVersions(name).find((one) => one.digest === digest);
    if (!found) throw new AppError('INVARIANT_BROKEN', `version ${digest} of ${name} is not recorded`);
    return found;
  }
}

/** Versions are whole numbers from 1, in strings; "0" is for what no hub has named. */
function nextVersion(versions: readonly StoredVersion[]): string {
  return String(Math.max(0, ...versions.map(({ version }) => Number(version))) + 1);
}
