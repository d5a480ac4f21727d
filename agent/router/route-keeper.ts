/**
 * Keeps what the routers have learned, a file for each pipeline, and tells the hub. A change of mind (an alarm, another basis of
 * the threshold) is written and told within seconds. What merely grows is written every few minutes, and told when it has grown by
 * a tenth: often while there is little, and hardly ever later, when it says the same and the link has its price.
 */
import { join } from 'node:path';
import type { RouteAlarm } from '../../shared/contract/routing.ts';
import { readJson, writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { type LearningRouter, type RouterState, routerState } from './router.ts';

/** Routers to keep on disk, and how the hub hears of a change. */
export interface RouteKeeperOptions {
  readonly folder: string;
  /** By pipeline; asked when it starts. */
  readonly routers: ReadonlyMap<string, Pick<LearningRouter, 'state' | 'status'>>;
  /** The hub should hear what this device reports. */
  readonly announce: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const LOOK_EVERY_MS = 5_000;
const STORE_EVERY_MS = 5 * 60_000;
/** Of the requests that could be asked. */
const TOLD_AGAIN_AT = 1.1;

/** Saves what the routers have learned, and tells the hub when they change their mind. */
export class RouteKeeper implements Part {
  readonly #o: RouteKeeperOptions;
  readonly #stopping = new AbortController();
  /** By pipeline: what is on disk, and the mind that was told. */
  readonly #stored = new Map<string, string>();
  readonly #minds = new Map<string, string>();
  /** By pipeline: of how many requests the hub has heard. */
  readonly #told = new Map<string, number>();
  #storedMonoMs = 0;
  #isAlarmed = false;
  #loop: Promise<void> | undefined;
  /** One look at a time. */
  #looking: Promise<void> = Promise.resolve();

  constructor(options: RouteKeeperOptions) {
    this.#o = options;
  }

  /** undefined: nothing was learned yet, or it cannot be read. */
  async load(pipeline: string): Promise<RouterState | undefined> {
    try {
      return await readJson(this.#pathOf(pipeline), routerState);
    } catch (error) {
      this.#o.logger.failure('route_keeper.unreadable', error, { pipeline });
      return undefined;
    }
  }

  start(): void {
    this.#storedMonoMs = this.#o.clock.nowMonoMs();
    this.#loop = this.#keepLooking();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await this.#looking;
    await this.#store();
  }

  /** Stored and told at once. */
  alarmed(pipeline: string, alarm: RouteAlarm): void {
    const { kind, label, requests, unanswered } = alarm;
    this.#o.logger.warn('route_keeper.drift', { pipeline, kind, label, requests, unanswered });
    this.#o.metrics.count('outrider_route_alarms_total', { pipeline, kind });
    this.#isAlarmed = true;
    void this.#look();
  }

  async #keepLooking(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#o.clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
      if (!signal.aborted) await this.#look();
    }
  }

  #look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#lookNow());
    return this.#looking;
  }

  async #lookNow(): Promise<void> {
    const now = this.#o.clock.nowMonoMs();
    const isNew = this.#hasChangedItsMind() || this.#isAlarmed;
    this.#isAlarmed = false;
    if (isNew || now - this.#storedMonoMs >= STORE_EVERY_MS) {
      this.#storedMonoMs = now;
      await this.#store();
    }
    if (!isNew && !this.#hasGrown()) return;
    for (const [pipeline, router] of this.#o.routers)
      this.#told.set(pipeline, router.status().counts.eligible);
    this.#o.announce();
  }

  #hasGrown(): boolean {
    return [...this.#o.routers].some(([pipeline, router]) => {
      const told = this.#told.get(pipeline) ?? 0;
      const { eligible } = router.status().counts;
      return eligible > told && eligible >= TOLD_AGAIN_AT * told;
    });
  }

  #hasChangedItsMind(): boolean {
    let has = false;
    for (const [pipeline, router] of this.#o.routers) {
      const { basis, threshold, alarms, edgeDigest, cloudDigest, labels } = router.status();
      const bases = labels.map((one) => one.basis);
      const mind = JSON.stringify([basis, threshold === null, alarms, edgeDigest, cloudDigest, bases]);
      if (this.#minds.get(pipeline) !== mind) has = true;
      this.#minds.set(pipeline, mind);
    }
    return has;
  }

  async #store(): Promise<void> {
    for (const [pipeline, router] of this.#o.routers) {
      const text = JSON.stringify(router.state);
      if (this.#stored.get(pipeline) === text) continue;
      try {
        await writeFileAtomic(this.#pathOf(pipeline), text);
        this.#stored.set(pipeline, text);
      } catch (error) {
        this.#o.logger.failure('route_keeper.not_stored', error, { pipeline });
      }
    }
  }

  #pathOf(pipeline: string): string {
    return join(this.#o.folder, `${pipeline}.json`);
  }
}
