/** Versions of a model, made of the one that comes along and pushed from the command line, as often as it takes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { modelVersions } from '../../../shared/contract/admin.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { mislabelled, nudged } from '../../support/model-variants.ts';
import { outrider } from '../place.ts';
import type { UpdatedPlace } from './place.ts';
import type { Versions } from './versions.ts';

const PUSH_LIMIT_MS = 120_000;
const AGAIN_MS = 500;

/** Where versions are made, and who is told. */
export interface ModelVersionsOptions {
  readonly place: UpdatedPlace;
  readonly model: string;
  readonly folder: string;
  /** Hears of each version before anybody else does. */
  readonly onMade: (digest: string) => void;
}

export class ModelVersions implements Versions {
  /** A push is under way. */
  isPushing = false;
  pushes = 0;
  readonly #o: ModelVersionsOptions;
  /** Versions that the hub has, by digest. */
  readonly #published = new Map<string, string>();
  #made = 0;
  #bad: string | undefined;
  #push: ChildProcess | undefined;

  constructor(options: ModelVersionsOptions) {
    this.#o = options;
  }

  get published(): string[] {
    return [...this.#published.values()];
  }

  async next(isBad: boolean, signal: AbortSignal): Promise<string | undefined> {
    return this.#published.get(await this.#publish(await this.#folderOf(isBad), signal));
  }

  async last(): Promise<{ readonly version: string; readonly digest: string }> {
    const digest = await this.#publish(await this.#newVersion());
    return { version: this.#published.get(digest) ?? '', digest };
  }

  /** SIGKILL to the command that pushes. @returns false when none does */
  killPush(): boolean {
    return this.isPushing && this.#push?.kill('SIGKILL') === true;
  }

  /** @returns a folder with a version that the hub may not have yet */
  async #folderOf(isBad: boolean): Promise<string> {
    if (!isBad) return this.#newVersion();
    const { folder, model } = this.#o;
    // It does not answer its golden inputs: each device refuses it.
    this.#bad ??= await mislabelled(model, join(folder, `${model}-bad`));
    return this.#bad;
  }

  #newVersion(): Promise<string> {
    const { folder, model } = this.#o;
    this.#made++;
    return nudged(model, join(folder, `${model}-${this.#made}`), this.#made);
  }

  /** Pushes until the hub has it. @returns its digest */
  async #publish(folder: string, signal?: AbortSignal): Promise<string> {
    const { digest } = await openModelFolder(folder);
    this.#o.onMade(digest);
    while (!this.#published.has(digest) && signal?.aborted !== true) {
      await this.#pushOnce(folder);
      for (const one of await this.#listed().catch(() => [])) this.#published.set(one.digest, one.version);
      if (!this.#published.has(digest)) await delay(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
    return digest;
  }

  async #pushOnce(folder: string): Promise<void> {
    const { hubData, client } = this.#o.place;
    const [file, ...args] = outrider(
      ...['models', 'push', folder, '--no-wait', '--force', '--data', hubData, '--hub', client.url],
    );
    const push = spawn(file, args, { stdio: 'ignore', env: { ...process.env, XDG_STATE_HOME: '/dev/null' } });
    [this.#push, this.isPushing] = [push, true];
    this.pushes++;
    const timer = setTimeout(() => push.kill('SIGKILL'), PUSH_LIMIT_MS);
    await once(push, 'exit');
    clearTimeout(timer);
    this.isPushing = false;
  }

  async #listed(): Promise<{ readonly version: string; readonly digest: string }[]> {
    const { place, model } = this.#o;
    const all = await place.client.getAll(`/api/v1/models/${model}/versions`, modelVersions, 'versions');
    return all.filter(({ published }) => published);
  }
}
