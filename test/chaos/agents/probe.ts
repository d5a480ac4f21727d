/** Asks a device all the time: how long it has answered nothing while its agent was up, and altogether. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ManagedDevice } from './device.ts';

const EVERY_MS = 200;
const TIMEOUT_MS = 20_000;
const INPUT = 'Every scene is a delight to look at.';

/** What one device has said. */
export interface Said {
  answered: number;
  /** Its agent was up, and answered nothing for so long. */
  longestSilenceMs: number;
  /** Nothing was answered for so long, whatever was killed. */
  longestGapMs: number;
}

export class Probe {
  readonly said: Said = { answered: 0, longestSilenceMs: 0, longestGapMs: 0 };
  readonly #device: ManagedDevice;
  readonly #stopping = new AbortController();
  #work: Promise<void> = Promise.resolve();

  constructor(device: ManagedDevice) {
    this.#device = device;
  }

  start(): void {
    this.#work = this.#askOn();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  async #askOn(): Promise<void> {
    const { agent } = this.#device;
    const { signal } = this.#stopping;
    let [upSinceMonoMs, answeredMonoMs, kills] = [performance.now(), performance.now(), agent.kills];
    while (!signal.aborted) {
      if (!agent.isUp || kills !== agent.kills) [kills, upSinceMonoMs] = [agent.kills, performance.now()];
      else if (await this.#ask()) [upSinceMonoMs, answeredMonoMs] = [performance.now(), performance.now()];
      const now = performance.now();
      const { said } = this;
      if (agent.isUp && kills === agent.kills)
        said.longestSilenceMs = Math.max(said.longestSilenceMs, now - upSinceMonoMs);
      said.longestGapMs = Math.max(said.longestGapMs, now - answeredMonoMs);
      await delay(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #ask(): Promise<boolean> {
    try {
      const response = await fetch(`${this.#device.url}/v1/infer/texts`, {
        method: 'POST',
        headers: { 'content-type': 'text/plain' },
        body: INPUT,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.arrayBuffer();
      if (response.ok) this.said.answered++;
      return response.ok;
    } catch {
      return false;
    }
  }
}
