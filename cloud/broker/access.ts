/**
 * Who may connect, as the hub wrote it to `access.json`. The file is read again when it changes, and at once for an unknown
 * id or a wrong secret, so that a device that has just been enrolled gets in and a revoked one is out within a moment.
 * Devices stay connected while the hub is down: nothing here asks it.
 */
import { type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';
import { ACCESS_FILE_NAME, accessFile, type Principal } from '../../shared/contract/access.ts';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { secretMatches } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

export interface AccessOptions {
  readonly folder: string;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Some file systems report no changes: then this is how long a revoked device stays at most. */
const POLL_MS = 5_000;
/** Wrong secrets cost a reading of the file at most this often, however many come. */
const MIN_REREAD_MS = 250;

export class AccessBook implements Part {
  readonly #options: AccessOptions;
  readonly #path: string;
  readonly #onRevoked: ((ids: ReadonlySet<string>) => void)[] = [];
  #principals = new Map<string, Principal>();
  #watcher: FSWatcher | undefined;
  #cancelPoll = () => {};
  #reading: Promise<void> | undefined;
  #readingNext: Promise<void> | undefined;
  #readAtMonoMs = Number.NEGATIVE_INFINITY;
  #isStopped = false;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#path = join(options.folder, ACCESS_FILE_NAME);
  }

  /** Called with the ids whose credential has vanished or changed. */
  onRevoked(run: (ids: ReadonlySet<string>) => void): void {
    this.#onRevoked.push(run);
  }

  /** @throws DATA_CORRUPT; a file that is not there yet lets nobody in */
  async start(): Promise<void> {
    this.#take((await readJson(this.#path, accessFile))?.principals ?? []);
    this.#watch();
    this.#poll();
  }

  stop(): void {
    this.#isStopped = true;
    this.#watcher?.close();
    this.#cancelPoll();
  }

  /** Who this is, or undefined when nobody with that secret is known. */
  async identify(id: string, secret: string): Promise<Principal | undefined> {
    const known = this.#match(id, secret);
    if (known) return known;
    await this.#rereadForStranger();
    return this.#match(id, secret);
  }

  #match(id: string, secret: string): Principal | undefined {
    const found = this.#principals.get(id);
    return found && secretMatches(secret, found.secretSha256) ? found : undefined;
  }

  async #rereadForStranger(): Promise<void> {
    const waitMs = this.#readAtMonoMs + MIN_REREAD_MS - this.#options.clock.nowMonoMs();
    // Waiting instead of refusing: the file may have changed since the last reading.
    if (waitMs > 0) await this.#options.clock.sleep(waitMs);
    await this.#reread();
  }

  /** One reading that starts after this call, shared by all who wait: the one under way may have seen the old file. */
  #reread(): Promise<void> {
    if (this.#reading) {
      this.#readingNext ??= this.#reading.then(() => {
        this.#readingNext = undefined;
        return this.#reread();
      });
      return this.#readingNext;
    }
    this.#reading = this.#readOnce().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    this.#readAtMonoMs = this.#options.clock.nowMonoMs();
    try {
      const file = await readJson(this.#path, accessFile);
      if (file) this.#take(file.principals);
    } catch (error) {
      // What was known stays in force: a torn file must not throw a fleet out, nor let a stranger in.
      this.#options.logger.failure('broker.access_unreadable', error);
    }
  }

  #take(principals: readonly Principal[]): void {
    const next = new Map(principals.map((one) => [one.id, one]));
    const revoked = new Set<string>();
    for (const [id, before] of this.#principals) {
      const now = next.get(id);
      if (now?.secretSha256 !== before.secretSha256 || now.role !== before.role) revoked.add(id);
    }
    this.#principals = next;
    if (revoked.size > 0) for (const run of this.#onRevoked) run(revoked);
  }

  /** Watches the folder: the file itself is replaced at each change. */
  #watch(): void {
    try {
      this.#watcher = watch(this.#options.folder, { persistent: false }, (_event, name) => {
        if (name === null || name === ACCESS_FILE_NAME) void this.#reread();
      });
      this.#watcher.on('error', (error) => {
        this.#options.logger.warn('broker.watch_lost', { reason: error.message });
        this.#watcher?.close();
      });
    } catch (error) {
      this.#options.logger.warn('broker.watch_unavailable', { reason: String(error) });
    }
  }

  #poll(): void {
    this.#cancelPoll = this.#options.clock.after(POLL_MS, () => {
      void this.#reread().then(() => {
        if (!this.#isStopped) this.#poll();
      });
    });
  }
}
