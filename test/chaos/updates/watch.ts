/** Looks at the rollouts all the time: what was shown stays, no stage has more devices than it has room for. */
import { setTimeout as delay } from 'node:timers/promises';
import type { HubClient } from '../../../cli/hub-client.ts';
import { isUnderWay, type RolloutRecord, rolloutList } from '../../../shared/contract/rollouts.ts';
import { beyondItsStage, lostSince } from './judge.ts';

const EVERY_MS = 150;

export class Watch {
  /** Sentences. */
  readonly wrong: string[] = [];
  readonly #client: HubClient;
  readonly #devices: number;
  readonly #seen = new Map<string, RolloutRecord>();
  readonly #stopping = new AbortController();
  #work: Promise<void> = Promise.resolve();

  /** @param devices all that there are */
  constructor(client: HubClient, devices: number) {
    this.#client = client;
    this.#devices = devices;
  }

  /** Of each model the state of what is under way, or of what ended last. */
  get states(): string[] {
    const newest = new Map<string, RolloutRecord>();
    for (const one of [...this.#seen.values()].sort((a, b) => a.createdAtMs - b.createdAtMs))
      newest.set(one.model, one);
    const underWay = [...this.#seen.values()].filter(({ state }) => isUnderWay(state));
    return [...new Set([...newest.values(), ...underWay].map(({ state }) => state))];
  }

  start(): void {
    this.#work = this.#goOn();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  async #goOn(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      for (const one of await this.#list()) {
        const before = this.#seen.get(one.id);
        if (before) this.wrong.push(...lostSince(before, one));
        if (isUnderWay(one.state)) this.wrong.push(...beyondItsStage(one, this.#devices));
        this.#seen.set(one.id, one);
      }
      await delay(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Nothing while nobody is there to tell. */
  #list(): Promise<RolloutRecord[]> {
    return this.#client.getAll('/api/v1/rollouts', rolloutList, 'rollouts').catch(() => []);
  }
}
