/** The keys of the HTTP API: shown once, kept as hashes, with scopes and an expiry. */
import type { CreatedKey, KeyRecord, KeyRequest } from '../../shared/contract/admin.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { newId, newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import type { KeyBook, KeyHolder } from '../ports.ts';
import type { HubData, StoredKey } from './records.ts';
import { own, type Store, without } from './store.ts';

/** Tells people and secret scanners whose key it is. */
const PREFIX = 'outrider_';
/** Enough for every program of an operator; bounds the file. */
const MAX_KEYS = 10_000;

/** A new key with its hash. */
export function newKey(): { key: string; sha256: string } {
  const key = `${PREFIX}${newSecret()}`;
  return { key, sha256: sha256Hex(key) };
}

/** Records of keys. */
export class KeyRegistry implements KeyBook {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor({ store, clock }: { store: Store; clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** The hash is looked up, not compared: nothing about a 256-bit key can be learned from the time that takes. */
  identify(key: string): KeyHolder | undefined {
    const found = own(this.#store.data.keys, sha256Hex(key));
    return found && this.#isValid(found) ? { id: found.id, scopes: found.scopes } : undefined;
  }

  list(): KeyRecord[] {
    return Object.values(this.#store.data.keys).filter((key) => this.#isValid(key));
  }

  async create({ name, scopes, expiresMs }: KeyRequest): Promise<CreatedKey> {
    const { key, sha256 } = newKey();
    const createdAtMs = this.#clock.nowAtMs();
    const record: StoredKey = {
      id: newId(),
      name,
      scopes: [...new Set(scopes)],
      createdAtMs,
      expiresAtMs: expiresMs === undefined ? null : createdAtMs + expiresMs,
    };
    await this.#store.change((data) => {
      const keys = this.#withoutExpired(data);
      if (Object.keys(keys).length >= MAX_KEYS)
        throw new AppError('CONFLICT', `there are ${MAX_KEYS} keys already; revoke one first`);
      return { ...data, keys: { ...keys, [sha256]: record } };
    });
    return { ...record, key };
  }

  async revoke(id: string): Promise<void> {
    await this.#store.change((data) => {
      const keys = this.#withoutExpired(data);
      const found = Object.entries(keys).find(([, key]) => key.id === id);
      if (!found) throw new AppError('NOT_FOUND', 'there is no key of this id');
      const rest = without(keys, found[0]);
      const mayStillAdminister = Object.values(rest).some(
        ({ scopes, expiresAtMs }) => scopes.includes('admin') && expiresAtMs === null,
      );
      if (!mayStillAdminister)
        throw new AppError('CONFLICT', 'this is the last admin key without an expiry; create another first');
      return { ...data, keys: rest };
    });
  }

  #isValid({ expiresAtMs }: StoredKey): boolean {
    return expiresAtMs === null || expiresAtMs > this.#clock.nowAtMs();
  }

  #withoutExpired({ keys }: HubData): HubData['keys'] {
    return Object.fromEntries(Object.entries(keys).filter(([, key]) => this.#isValid(key)));
  }
}
