/**
 * The records on disk: lowdb over one JSON file that is replaced atomically, with a backup of the same content beside it.
 * One change at a time; what a reader sees is on disk already, and a change that could not be written has not happened.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type Adapter, Low } from 'lowdb';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import { type HubData, hubData } from './records.ts';
import type { AfterChange, Store, StoreOptions } from './store.ts';

const FILE_NAME = 'hub.json';
/** Hashes only, and still nobody else's business. */
const MODE = 0o600;

/** lowdb's own file adapter has no fsync and one fixed temporary name (docs/design/facts.md 5). */
class DurableFile implements Adapter<HubData> {
  readonly #path: string;
  readonly #backupPath: string;
  readonly #logger: Logger;

  constructor(folder: string, logger: Logger) {
    this.#path = join(folder, FILE_NAME);
    this.#backupPath = `${this.#path}.bak`;
    this.#logger = logger;
  }

  /** @throws DATA_CORRUPT when neither the file nor its backup can be read */
  async read(): Promise<HubData | null> {
    try {
      const data = await readJson(this.#path, hubData);
      if (data) return data;
    } catch (error) {
      if (!isAppError(error, 'DATA_CORRUPT')) throw error;
      const backup = await readJson(this.#backupPath, hubData);
      if (!backup) throw error;
      await rename(this.#path, `${this.#path}.corrupt`);
      this.#logger.failure('registry.backup_used', error);
      return backup;
    }
    return (await readJson(this.#backupPath, hubData)) ?? null;
  }

  async write(data: HubData): Promise<void> {
    await writeJsonAtomic(this.#path, data, MODE);
    try {
      await writeJsonAtomic(this.#backupPath, data, MODE);
    } catch (error) {
      // The change itself is safe; the backup is one change behind.
      this.#logger.failure('registry.backup_failed', error);
    }
  }
}

/** The store in one JSON file. */
export class Database implements Store {
  readonly #low: Low<HubData>;
  readonly #afterChange: AfterChange;
  #committed: HubData;
  readonly #changes = new SerialQueue();

  private constructor(low: Low<HubData>, afterChange: AfterChange) {
    this.#low = low;
    this.#committed = low.data;
    this.#afterChange = afterChange;
  }

  /**
   * Opens the records, made by `createFirst` when there are none.
   *
   * @throws DATA_CORRUPT, DISK_FULL
   */
  static async open(
    options: StoreOptions & { readonly folder: string; readonly logger: Logger },
  ): Promise<Database> {
    const file = new DurableFile(options.folder, options.logger);
    const found = await file.read();
    const low = new Low(file, found ?? (await options.createFirst()));
    const database = new Database(low, options.afterChange);
    // Written in any case: heals a file that was lost to its backup, and derived files that a crash left behind.
    await database.#changes.run(() => database.#write(database.#committed));
    return database;
  }

  /** The records as they are on disk; never to be changed in place. */
  get data(): HubData {
    return this.#committed;
  }

  /**
   * Replaces the records by what `next` makes of them; on disk when it returns.
   *
   * @throws DISK_FULL, or what `next` throws: then nothing has changed
   */
  change(next: (data: HubData) => HubData): Promise<void> {
    return this.#changes.run(() => this.#changeNow(next));
  }

  /** What stays as it is need not be written again: rollouts look at theirs every few seconds. */
  async #changeNow(next: (data: HubData) => HubData): Promise<void> {
    const data = next(this.#committed);
    if (data !== this.#committed) await this.#write(data);
  }

  async #write(data: HubData): Promise<void> {
    this.#low.data = data;
    await this.#low.write();
    this.#committed = this.#low.data;
    await this.#afterChange(this.#committed);
  }
}
