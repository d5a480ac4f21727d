/**
 * What the hub wants of this device: comes as a retained message, and is read again over HTTP at each sync, so that neither a
 * lost message nor a broker that has forgotten matters. Over HTTP the hub has the last word; a message may be an old one.
 */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Desired, desired } from '../../shared/contract/messages.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

/** Where the desired state is kept, and how the hub is asked for it. */
export interface DesiredStateOptions {
  readonly folder: string;
  /** Asks the hub; undefined when there is none to ask, or no credential yet. @throws HUB_UNREACHABLE … */
  readonly fetch: () => Promise<Desired | undefined>;
  readonly logger: Logger;
}

/** Newest desired state that the hub has told, on disk and passed on to its followers. */
export class DesiredState implements Part {
  readonly #o: DesiredStateOptions;
  readonly #path: string;
  readonly #followers: ((wanted: Desired) => void)[] = [];
  #current: Desired | undefined;
  #storing: Promise<void> = Promise.resolve();

  constructor(options: DesiredStateOptions) {
    this.#o = options;
    this.#path = join(options.folder, 'desired.json');
  }

  /** Of what was taken last; null before the first. */
  get version(): number | null {
    return this.#current?.version ?? null;
  }

  get current(): Desired | undefined {
    return this.#current;
  }

  /** Called with what is wanted now, where that is known, and with each change of it. */
  follow(take: (wanted: Desired) => void): void {
    if (this.#current) take(this.#current);
    this.#followers.push(take);
  }

  /** What was known before the restart holds until the hub says otherwise. */
  async start(): Promise<void> {
    const stored = await readJson(this.#path, desired).catch((error: unknown) => {
      this.#o.logger.failure('desired.unreadable', error);
      return undefined;
    });
    if (stored) this.#set(stored);
  }

  async stop(): Promise<void> {
    await this.#storing;
  }

  /** From the broker: an older one than ours is a message that was left behind. */
  onMessage(wanted: Desired): void {
    if (wanted.version >= (this.version ?? 0)) this.#take(wanted);
  }

  /** Reads it again. A hub that cannot be reached is told in the log only: the next sync comes. */
  async sync(): Promise<void> {
    try {
      const wanted = await this.#o.fetch();
      if (wanted) this.#take(wanted);
    } catch (error) {
      this.#o.logger.failure('desired.not_synced', error);
    }
  }

  #take(wanted: Desired): void {
    if (isDeepStrictEqual(wanted, this.#current)) return;
    this.#o.logger.info('desired.taken', { version: wanted.version });
    this.#set(wanted);
    this.#storing = this.#storing
      .then(() => writeJsonAtomic(this.#path, wanted))
      .catch((error: unknown) => this.#o.logger.failure('desired.not_stored', error));
  }

  #set(wanted: Desired): void {
    this.#current = wanted;
    for (const take of this.#followers) take(wanted);
  }
}
