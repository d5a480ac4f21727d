/**
 * Where the registries keep their records: a snapshot to read, and changes in one step each. One JSON file by default (database.ts);
 * a database that several hubs share has its door here.
 */
import type { HubData } from './records.ts';

/** Follows each change, still inside it: derived files never run ahead of or behind each other. */
export type AfterChange = (data: HubData) => Promise<void>;

/** Records that are read as a snapshot and changed in one step. */
export interface Store {
  /** The newest committed records that this process knows; a snapshot, never to be changed in place. */
  readonly data: HubData;
  /**
   * Replaces the records by what `next` makes of them. Changes follow one another, each on what the one before has left; what `next`
   * returns is committed, and followed by `AfterChange`, when the call returns.
   *
   * @param next of the newest records, whoever has changed them last; may be called again where another process was faster
   * @throws DISK_FULL, or what `next` throws: then nothing has changed
   */
  change(next: (data: HubData) => HubData): Promise<void>;
}

/** First records of a hub, and what is done after each change. */
export interface StoreOptions {
  /** The records of a hub that has none yet. */
  readonly createFirst: () => Promise<HubData>;
  readonly afterChange: AfterChange;
}

/** Opens the records, and has `afterChange` follow them once. @throws DATA_CORRUPT, DISK_FULL */
export type OpenStore = (options: StoreOptions) => Promise<Store>;

/** A copy of the record without this name. */
export function without<T>(record: Record<string, T>, name: string): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => key !== name));
}

/** The own value of a name that came from outside: `__proto__` is nobody. */
export function own<T>(record: Record<string, T>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
