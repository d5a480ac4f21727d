/** Versions of the agent that an operator rolls out: the hub has signed all of them before the first kill. */
import type { Random } from '../../../shared/runtime/random.ts';
import type { Versions } from '../updates/versions.ts';
import { FAULTY, LAST, WORKING } from './releases.ts';

export class AgentVersions implements Versions {
  readonly published = WORKING;
  readonly #random: Random;
  #next = 0;
  #last = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  next(isBad: boolean): Promise<string> {
    const working = WORKING[this.#next % WORKING.length] ?? WORKING[0];
    if (!isBad) this.#next++;
    return Promise.resolve(isBad ? this.#random.pick(Object.keys(FAULTY)) : working);
  }

  last(): Promise<{ readonly version: string; readonly digest: string }> {
    const version = LAST[this.#last++ % LAST.length] ?? LAST[0];
    return Promise.resolve({ version, digest: version });
  }
}
