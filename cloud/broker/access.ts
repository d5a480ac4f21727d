/**
 * Access list: who may connect, as the hub wrote it to `access.json`. The file is read again when it changes, and at once for an unknown
 * id or a wrong secret, so that a device that has just been enrolled gets in and a revoked one is out within a moment.
 * Devices stay connected while the hub is down: nothing here asks it, and credentials end by this program's own alarm.
 */
import { type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';
import { ACCESS_FILE_NAME, accessFile, type Principal } from '../../shared/contract/access.ts';
import { Alarm } from '../../shared/runtime/alarm.ts';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { secretMatches } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

/** Folder in which the hub writes the access list. */
export interface AccessOptions {
  readonly folder: string;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** With which secret somebody was let in. */
export interface Admission extends Pick<Principal, 'id' | 'role' | 'secretSha256'> {}

/** Ids whose connections may have lost their right. */
export interface AccessChange {
  readonly ids: ReadonlySet<string>;
  /** Those of them that are nobody any more, or somebody else: what is kept for them goes, too. */
  readonly gone: ReadonlySet<string>;
}

/** Some file systems report no changes: then this is how long a revoked device stays at most. */
const POLL_MS = 5_000;
/** Wrong secrets cost a reading of the file at most this often, however many come. */
const MIN_REREAD_MS = 250;

/** The access list in force. */
export class AccessBook implements Part {
  readonly #options: AccessOptions;
  readonly #path: string;
  readonly #onChange: ((change: AccessChange) => void)[] = [];
  readonly #ends: Alarm;
  #principals = new Map<string, Principal>();
  /** SHA-256 of renewed secrets that have been used here, by id: the ones before them are worth nothing, whatever the file says. */
  readonly #used = new Map<string, string>();
  #watcher: FSWatcher | undefined;
  #cancelPoll = () => {};
  #reading: Promise<void> | undefined;
  #readingNext: Promise<void> | undefined;
  #readAtMonoMs = Number.NEGATIVE_INFINITY;
  #isStopped = false;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#path = join(options.folder, ACCESS_FILE_NAME);
    this.#ends = new Alarm(options.clock, () => this.#onEnd());
  }

  /** Called when a credential has vanished, changed or ended. */
  onChange(run: (change: AccessChange) => void): void {
    this.#onChange.push(run);
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
    this.#ends.cancel();
  }

  /** Whether somebody who has been let in would be so now. */
  holds({ id, role, secretSha256 }: Admission): boolean {
    const now = this.#principals.get(id);
    return now?.role === role && this.#secretsOf(now).includes(secretSha256);
  }

  /** Whether the list has somebody of this id. */
  knows(id: string): boolean {
    return this.#principals.has(id);
  }

  /** Whether there is a hub of this id. */
  isHub(id: string): boolean {
    return this.#principals.get(id)?.role === 'hub';
  }

  /** Principal with this secret, or undefined when nobody with that secret is known. */
  async identify(id: string, secret: string): Promise<Admission | undefined> {
    const known = this.#match(id, secret);
    if (known) return known;
    await this.#rereadForStranger();
    return this.#match(id, secret);
  }

  #match(id: string, secret: string): Admission | undefined {
    const found = this.#principals.get(id);
    const secretSha256 = found && this.#secretsOf(found).find((one) => secretMatches(secret, one));
    if (!found || secretSha256 === undefined) return undefined;
    if (found.before && secretSha256 === found.secretSha256) this.#retireOld(found);
    return { id, role: found.role, secretSha256 };
  }

  /** Hashes of the secrets that are good now. */
  #secretsOf({ secretSha256, expiresAtMs, before }: Principal): string[] {
    const nowAtMs = this.#options.clock.nowAtMs();
    return [
      ...(expiresAtMs === undefined || nowAtMs < expiresAtMs ? [secretSha256] : []),
      ...(before && nowAtMs < before.untilAtMs ? [before.secretSha256] : []),
    ];
  }

  /** The new secret of a renewal has been used: whoever is connected with the old one is out. */
  #retireOld({ before: _old, ...renewed }: Principal): void {
    this.#used.set(renewed.id, renewed.secretSha256);
    this.#principals.set(renewed.id, renewed);
    this.#tell({ ids: new Set([renewed.id]), gone: new Set() });
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
      // The list that was known stays in force: a torn file must not throw a fleet out, nor let a stranger in.
      this.#options.logger.failure('broker.access_unreadable', error);
    }
  }

  #take(principals: readonly Principal[]): void {
    const next = new Map(principals.map((one) => [one.id, this.#withoutRetired(one)]));
    for (const [id, secretSha256] of this.#used)
      if (next.get(id)?.secretSha256 !== secretSha256) this.#used.delete(id);
    const ids = new Set<string>();
    const gone = new Set<string>();
    for (const [id, before] of this.#principals) {
      const now = next.get(id);
      if (isSame(before, now)) continue;
      ids.add(id);
      if (!isSuccessor(before, now)) gone.add(id);
    }
    this.#principals = next;
    // Also those that the alarm has not seen, since the clock was set.
    for (const id of this.#ended()) ids.add(id);
    this.#watchEnds();
    if (ids.size > 0) this.#tell({ ids, gone });
  }

  #withoutRetired(principal: Principal): Principal {
    if (this.#used.get(principal.id) !== principal.secretSha256) return principal;
    const { before: _old, ...rest } = principal;
    return rest;
  }

  #tell(change: AccessChange): void {
    for (const run of this.#onChange) run(change);
  }

  #watchEnds(): void {
    const nowAtMs = this.#options.clock.nowAtMs();
    let nextAtMs = Number.POSITIVE_INFINITY;
    for (const principal of this.#principals.values())
      for (const end of endsOf(principal)) if (end > nowAtMs) nextAtMs = Math.min(nextAtMs, end);
    this.#ends.set(Number.isFinite(nextAtMs) ? nextAtMs : undefined);
  }

  #onEnd(): void {
    this.#watchEnds();
    this.#tell({ ids: new Set(this.#ended()), gone: new Set() });
  }

  /** Ids one of whose secrets has ended, now or long ago. */
  #ended(): string[] {
    const nowAtMs = this.#options.clock.nowAtMs();
    const ended = [...this.#principals.values()].filter((one) => endsOf(one).some((end) => end <= nowAtMs));
    return ended.map(({ id }) => id);
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

const endsOf = ({ expiresAtMs, before }: Principal): number[] =>
  [expiresAtMs, before?.untilAtMs].filter((end) => end !== undefined);

function isSame(one: Principal, other: Principal | undefined): boolean {
  return (
    one.secretSha256 === other?.secretSha256 &&
    one.role === other.role &&
    one.expiresAtMs === other.expiresAtMs &&
    one.before?.secretSha256 === other.before?.secretSha256 &&
    one.before?.untilAtMs === other.before?.untilAtMs
  );
}

/** The same device, its secret renewed or not: they have a secret in common. */
function isSuccessor(one: Principal, other: Principal | undefined): boolean {
  if (one.role !== other?.role) return false;
  const known = [one.secretSha256, one.before?.secretSha256];
  return [other.secretSha256, other.before?.secretSha256].some(
    (secret) => secret !== undefined && known.includes(secret),
  );
}
