/** Records in memory, as the registries see them: passes the contract of a `Store`, and forgets everything. */
import type { HubData } from '../../cloud/registry/records.ts';
import type { Store, StoreOptions } from '../../cloud/registry/store.ts';

export class MemoryStore implements Store {
  #data: HubData;
  #tail: Promise<unknown> = Promise.resolve();
  readonly #afterChange: StoreOptions['afterChange'];
  /** Another process is always faster: each change is made anew of what that has left. */
  readonly #isContested: boolean;

  private constructor(data: HubData, { afterChange }: StoreOptions, isContested: boolean) {
    this.#data = data;
    this.#afterChange = afterChange;
    this.#isContested = isContested;
  }

  static async open(
    options: StoreOptions,
    { isContested = false, found }: { isContested?: boolean; found?: HubData } = {},
  ): Promise<MemoryStore> {
    const store = new MemoryStore(found ?? (await options.createFirst()), options, isContested);
    await store.change((data) => data);
    return store;
  }

  get data(): HubData {
    return this.#data;
  }

  change(next: (data: HubData) => HubData): Promise<void> {
    const done = this.#tail.then(async () => {
      if (this.#isContested) {
        next(this.#data);
        this.#data = { ...this.#data, desiredVersion: this.#data.desiredVersion + 1 };
      }
      this.#data = next(this.#data);
      await this.#afterChange(this.#data);
    });
    this.#tail = done.catch(() => undefined);
    return done;
  }
}
