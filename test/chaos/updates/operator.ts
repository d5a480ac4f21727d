/**
 * Who works with the hub meanwhile, one for each model or for the agent: rolls versions out, pauses, resumes, ends and takes back rollouts,
 * and writes down what was asked for and what was confirmed. One draw of luck decides it all.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { HubClient } from '../../../cli/hub-client.ts';
import {
  isUnderWay,
  type RolloutAction,
  type RolloutRecord,
  type RolloutRequest,
  rolloutList,
  rolloutRecord,
} from '../../../shared/contract/rollouts.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { newId } from '../../../shared/runtime/ids.ts';
import type { Random } from '../../../shared/runtime/random.ts';
import type { Ledger } from './judge.ts';
import type { Versions } from './versions.ts';

const AGAIN_MS = 500;
const LOOK_MS = { from: 700, to: 3_000 };
const BAD_SHARE = 0.2;
const OLDER_SHARE = 0.25;

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

/** Hub, model and luck of an operator. */
export interface OperatorOptions {
  readonly client: HubClient;
  /** What is rolled out: a model, or the agent. */
  readonly model: string;
  readonly versions: Versions;
  /** All that there are for it: those without a say are null, and `crashes` is asked about a bad version. */
  readonly gates: NonNullable<RolloutRequest['gates']>;
  /** Each stage waits for so many answers. */
  readonly minAnswers: number;
  /** What is under way for longer is ended. */
  readonly patienceMs: number;
  readonly random: Random;
  readonly ledger: Ledger;
}

export class Operator {
  readonly #o: OperatorOptions;
  readonly #stopping = new AbortController();
  /** Since when each rollout was seen, and whether nothing more is done to it. */
  readonly #looked = new Map<string, { readonly sinceMonoMs: number; isOver: boolean }>();
  #work: Promise<void> = Promise.resolve();

  constructor(options: OperatorOptions) {
    this.#o = options;
  }

  start(): void {
    this.#work = this.#goOn();
  }

  /** What is under way may be left so. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  /** Nothing is killed any more: another version is brought to all. @returns its digest */
  async finish(): Promise<string> {
    for (const { id, state } of await this.#rollouts())
      if (isUnderWay(state)) await this.#order(id, 'roll-back');
    const { version, digest } = await this.#o.versions.last();
    await this.#begin(version, { stages: [{ share: 1, minMinutes: 0, minAnswers: 0 }] });
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
    const { published } = this.#o.versions;
    const version =
      isOlder && published.length > 2
        ? random.pick(published)
        : await this.#o.versions.next(isBad, this.#stopping.signal);
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
    const isLate = performance.now() - known.sinceMonoMs > this.#o.patienceMs;
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
    const { random, versions } = this.#o;
    const ifBusy = random.pick(['wait', 'replace'] as const);
    await this.#begin(random.pick(versions.published), { ifBusy });
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
    const { model, client, ledger, gates, minAnswers } = this.#o;
    const note = newId();
    const stage = { minMinutes: 0, minAnswers };
    const request: RolloutRequest = {
      ...{ model, version, note, ifBusy, stages: [{ devices: 1 }, { share: 0.6 }, { share: 1 }] },
      ...plan,
      gates: { ...gates, crashes },
    };
    const stages = request.stages?.map((one) => ({ ...stage, ...one }));
    const started = { note, model, replaces: ifBusy === 'replace', confirmed: false };
    ledger.started.push(started);
    do {
      try {
        const { id } = await client.post('/api/v1/rollouts', { ...request, stages }, rolloutRecord);
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
    const { client, ledger } = this.#o;
    const path = `/api/v1/rollouts/${rollout}`;
    const read = await client.getTagged(path, rolloutRecord).catch(() => undefined);
    if (!read) return;
    try {
      const how = { etag: read.etag, body: {}, schema: rolloutRecord };
      await client.change('POST', `${path}/${action}`, how);
      ledger.ordered.push({ rollout, action, confirmed: true });
    } catch (error) {
      if (!wasRefused(error)) ledger.ordered.push({ rollout, action, confirmed: false });
    }
  }

  async #rollouts(): Promise<RolloutRecord[]> {
    const { client, model } = this.#o;
    const all = await client.getAll('/api/v1/rollouts', rolloutList, 'rollouts');
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
