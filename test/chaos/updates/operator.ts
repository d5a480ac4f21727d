/**
 * Who works with the hub meanwhile, one for each model: makes versions, pushes them from the command line, rolls them out, pauses, resumes,
 * ends and takes back rollouts, and writes down what was asked for and what was confirmed. One draw of luck decides it all.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { modelVersions } from '../../../shared/contract/admin.ts';
import {
  isUnderWay,
  type RolloutAction,
  type RolloutRecord,
  type RolloutRequest,
  rolloutList,
  rolloutRecord,
} from '../../../shared/contract/rollouts.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { newId } from '../../../shared/runtime/ids.ts';
import type { Random } from '../../../shared/runtime/random.ts';
import { mislabelled, nudged } from '../../support/model-variants.ts';
import { outrider } from '../place.ts';
import type { Ledger } from './judge.ts';
import type { UpdatedPlace } from './place.ts';

const PUSH_LIMIT_MS = 120_000;
const AGAIN_MS = 500;
const LOOK_MS = { from: 700, to: 3_000 };
const BAD_SHARE = 0.2;
const OLDER_SHARE = 0.25;
/** What is under way for longer is ended. */
const PATIENCE_MS = 45_000;

/** What is done to a rollout at a look; mostly nothing. */
const ORDERS: Readonly<Partial<Record<RolloutRecord['state'], Partial<Record<Order, number>>>>> = {
  running: { pause: 0.12, abort: 0.03, 'roll-back': 0.03, another: 0.08 },
  paused: { resume: 0.4, 'roll-back': 0.05, another: 0.05 },
  halted: { resume: 0.1, pause: 0.1, abort: 0.1, 'roll-back': 0.2 },
  waiting: { abort: 0.05 },
};
type Order = RolloutAction | 'another';
/** Of those that are done. */
const REGRET_SHARE = 0.2;

/** Place, model and luck of an operator. */
export interface OperatorOptions {
  readonly place: UpdatedPlace;
  readonly model: string;
  /** Where the versions are made. */
  readonly folder: string;
  readonly random: Random;
  readonly ledger: Ledger;
  /** Hears of each version before anybody else does. */
  readonly onMade: (digest: string) => void;
}

export class Operator {
  /** A push is under way. */
  isPushing = false;
  pushes = 0;
  readonly #o: OperatorOptions;
  readonly #stopping = new AbortController();
  /** Versions that the hub has, by digest. */
  readonly #published = new Map<string, string>();
  /** Since when each rollout was seen, and whether nothing more is done to it. */
  readonly #looked = new Map<string, { readonly sinceMonoMs: number; isOver: boolean }>();
  #made = 0;
  #bad: string | undefined;
  #push: ChildProcess | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(options: OperatorOptions) {
    this.#o = options;
  }

  get versions(): number {
    return this.#published.size;
  }

  start(): void {
    this.#work = this.#goOn();
  }

  /** What is under way may be left so. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  /** SIGKILL to the command that pushes. @returns false when none does */
  killPush(): boolean {
    return this.isPushing && this.#push?.kill('SIGKILL') === true;
  }

  /** Nothing is killed any more: another version is brought to all. @returns its digest */
  async finish(): Promise<string> {
    for (const { id, state } of await this.#rollouts())
      if (isUnderWay(state)) await this.#order(id, 'roll-back');
    const digest = await this.#publish(await this.#newVersion());
    await this.#begin(this.#published.get(digest) ?? '', {
      stages: [{ share: 1, minMinutes: 0, minAnswers: 0 }],
    });
    return digest;
  }

  async #goOn(): Promise<void> {
    const { random } = this.#o;
    while (await this.#pause(random.between(LOOK_MS.from, LOOK_MS.to))) {
      const all = await this.#rollouts().catch(() => undefined);
      if (!all) continue;
      for (const one of all) await this.#lookAt(one);
      if (!all.some(({ state }) => isUnderWay(state))) await this.#something();
    }
  }

  /** A version is rolled out: a new one, one that was there before, or one that each device refuses. */
  async #something(): Promise<void> {
    const { random } = this.#o;
    const isBad = random.chance(BAD_SHARE);
    const isOlder = random.chance(OLDER_SHARE);
    const older = [...this.#published.values()];
    const version =
      isOlder && older.length > 2 ? random.pick(older) : await this.#pushed(await this.#folderOf(isBad));
    if (version === undefined) return;
    const plan = isBad
      ? { crashes: { maxShare: 0 }, onFailure: random.pick(['hold', 'roll-back'] as const) }
      : {};
    await this.#begin(version, plan);
  }

  /** Something is done to it now and then. */
  async #lookAt({ id, state }: RolloutRecord): Promise<void> {
    const { random } = this.#o;
    const known = this.#looked.get(id) ?? { sinceMonoMs: performance.now(), isOver: false };
    this.#looked.set(id, known);
    if (known.isOver) return;
    if (!isUnderWay(state)) {
      known.isOver = true;
      if (state === 'done' && random.chance(REGRET_SHARE)) await this.#order(id, 'roll-back');
      return;
    }
    // One that waits for a device which has refused it would wait for ever.
    const isLate = performance.now() - known.sinceMonoMs > PATIENCE_MS;
    const order = isLate ? random.pick(['roll-back', 'abort'] as const) : this.#drawn(state);
    if (order === 'another') await this.#another();
    else if (order !== undefined) await this.#order(id, order);
  }

  #drawn(state: RolloutRecord['state']): Order | undefined {
    let left = this.#o.random.next();
    for (const [order, share] of Object.entries(ORDERS[state] ?? {})) {
      left -= share;
      if (left < 0) return order as Order;
    }
    return undefined;
  }

  /** A second rollout of the model, which waits or takes the place of the one under way. */
  async #another(): Promise<void> {
    const { random } = this.#o;
    const ifBusy = random.pick(['wait', 'replace'] as const);
    await this.#begin(random.pick([...this.#published.values()]), { ifBusy });
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

  /** @returns its number, undefined when it is over before the hub has it */
  async #pushed(folder: string): Promise<string | undefined> {
    const digest = await this.#publish(folder, this.#stopping.signal);
    return this.#published.get(digest);
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

  /** Starts one, and again while the hub does not say what became of it. @returns its id; undefined: the hub does not want it, or it is over */
  async #begin(
    version: string,
    {
      crashes = null,
      ifBusy = 'refuse',
      ...plan
    }: Partial<RolloutRequest> & { readonly crashes?: { readonly maxShare: number } | null },
  ): Promise<string | undefined> {
    const { model, place, ledger } = this.#o;
    const note = newId();
    const stage = { minMinutes: 0, minAnswers: 20 };
    const request: RolloutRequest = {
      ...{ model, version, note, ifBusy, stages: [{ devices: 1 }, { share: 0.6 }, { share: 1 }] },
      ...plan,
      gates: { agreement: null, escalation: null, errors: null, latencyP95: null, crashes, memory: null },
    };
    const stages = request.stages?.map((one) => ({ ...stage, ...one }));
    const started = { note, model, replaces: ifBusy === 'replace', confirmed: false };
    ledger.started.push(started);
    do {
      try {
        const { id } = await place.client.post('/api/v1/rollouts', { ...request, stages }, rolloutRecord);
        started.confirmed = true;
        return id;
      } catch (error) {
        if (wasRefused(error)) return undefined;
      }
      const found = await this.#rollouts().catch(() => []);
      const id = found.find((one) => one.note === note)?.id;
      if (id !== undefined) return id;
    } while (await this.#pause(AGAIN_MS));
    return undefined;
  }

  /** Once: whether it was done is written down as far as it is known. */
  async #order(rollout: string, action: RolloutAction): Promise<void> {
    const { place, ledger } = this.#o;
    const path = `/api/v1/rollouts/${rollout}`;
    const read = await place.client.getTagged(path, rolloutRecord).catch(() => undefined);
    if (!read) return;
    try {
      const how = { etag: read.etag, body: {}, schema: rolloutRecord };
      await place.client.change('POST', `${path}/${action}`, how);
      ledger.ordered.push({ rollout, action, confirmed: true });
    } catch (error) {
      if (!wasRefused(error)) ledger.ordered.push({ rollout, action, confirmed: false });
    }
  }

  async #rollouts(): Promise<RolloutRecord[]> {
    const { place, model } = this.#o;
    const all = await place.client.getAll('/api/v1/rollouts', rolloutList, 'rollouts');
    return all.filter((one) => one.model === model);
  }

  /** @returns false when it is over */
  async #pause(ms: number): Promise<boolean> {
    const { signal } = this.#stopping;
    await delay(ms, undefined, { signal }).catch(() => undefined);
    return !signal.aborted;
  }
}

/** By a hub that has read it; anything else may have been done or not. */
const wasRefused = (error: unknown): boolean =>
  isAppError(error, 'CONFLICT') ||
  isAppError(error, 'PRECONDITION_FAILED') ||
  isAppError(error, 'UPDATE_NOT_LISTED');
