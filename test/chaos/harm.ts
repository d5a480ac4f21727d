/** What goes wrong in a chaos run: kills at random moments, and faults of the links between them. One draw of luck decides it all. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../shared/runtime/random.ts';
import type { Faults } from '../support/chaos/channel.ts';
import type { ChaosProxy, Direction } from '../support/chaos/proxy.ts';
import type { KeptProgram } from './kept-program.ts';
import type { Place } from './place.ts';

const KILLS_PER_MINUTE = 11;
/** Two at a time, as a power cut does it. */
const TOGETHER_SHARE = 0.2;
/** What was picked is down: something else is picked after this. */
const AGAIN_MS = 100;
const DOWN_MS = { from: 100, to: 2_500 };
const FAULT_MS = { from: 300, to: 6_000 };
const CALM_MS = { from: 500, to: 4_000 };
/** A program that is killed alone leaves its runners, which must end themselves. */
const ALONE_SHARE = 0.5;

type Target = 'agent' | 'hub' | 'broker' | 'runner';
const TARGETS: readonly { readonly target: Target; readonly weight: number }[] = [
  { target: 'agent', weight: 4 },
  { target: 'hub', weight: 3 },
  { target: 'broker', weight: 2 },
  { target: 'runner', weight: 2 },
];

interface Fault {
  readonly name: string;
  readonly weight: number;
  readonly apply: (proxy: ChaosProxy, random: Random) => void | Promise<void>;
}

const where = (random: Random): Direction | 'both' => random.pick(['up', 'down', 'both'] as const);
const soft =
  (draw: (random: Random) => Partial<Faults>) =>
  (proxy: ChaosProxy, random: Random): void =>
    proxy.set(where(random), draw(random));

const FAULTS: readonly Fault[] = [
  {
    name: 'delay',
    weight: 3,
    apply: soft((random) => ({ delayMs: random.between(50, 2_000), jitterMs: random.between(0, 500) })),
  },
  {
    name: 'narrow',
    weight: 3,
    apply: soft((random) => ({ bytesPerSecond: random.between(2_000, 200_000) })),
  },
  { name: 'loss', weight: 3, apply: soft(() => ({ lossShare: 0.3, retransmitMs: 200 })) },
  {
    name: 'corrupt',
    weight: 2,
    apply: soft((random) => ({ corruptEveryBytes: random.between(2_000, 50_000) })),
  },
  { name: 'reset', weight: 2, apply: (proxy) => proxy.reset() },
  { name: 'cut', weight: 2, apply: (proxy) => proxy.cut() },
  // Found out by keep-alive only, after most of a minute: a few are many.
  { name: 'half-open', weight: 0.5, apply: soft(() => ({ vanish: true })) },
];

export class Harm {
  readonly kills: Record<Target, number> = { agent: 0, hub: 0, broker: 0, runner: 0 };
  readonly faults: Record<string, number> = {};
  readonly #place: Place;
  readonly #random: Random;
  readonly #stopping = new AbortController();
  #killing: Promise<void> = Promise.resolve();
  #work: Promise<unknown> = Promise.resolve();

  constructor(place: Place, random: Random) {
    this.#place = place;
    this.#random = random;
  }

  start(): void {
    const { broker, hub, hubProxy, devices } = this.#place;
    const programs = [broker, hub, ...devices.map(({ program }) => program)];
    const proxies = [hubProxy, ...devices.map(({ proxy }) => proxy)];
    this.#killing = this.#kill(this.#random.fork('kills'));
    this.#work = Promise.all([
      this.#killing,
      ...programs.map((one) => this.#keepUp(one, this.#random.fork(`restarts of ${one.name}`))),
      ...proxies.map((one, at) => this.#trouble(one, this.#random.fork(`faults ${at}`))),
    ]);
  }

  /** Heals the links and has everything up again. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  async #kill(random: Random): Promise<void> {
    const meanMs = 60_000 / KILLS_PER_MINUTE;
    while (await this.#goesOn(random.between(0.4, 1.6) * meanMs)) {
      while (!(await this.#killSome(random)) && (await this.#goesOn(AGAIN_MS)));
      if (random.chance(TOGETHER_SHARE)) await this.#killSome(random);
    }
  }

  /** @returns false when what was picked is down already */
  async #killSome(random: Random): Promise<boolean> {
    const { target } = random.pick(TARGETS, ({ weight }) => weight);
    const what = random.chance(ALONE_SHARE) ? 'alone' : 'group';
    const isKilled = await this.#killOne(target, what, random);
    if (isKilled) this.kills[target]++;
    return isKilled;
  }

  async #killOne(target: Target, what: 'alone' | 'group', random: Random): Promise<boolean> {
    const { broker, hub, devices } = this.#place;
    const { program: agent } = random.pick(devices);
    switch (target) {
      case 'agent':
        return agent.kill(what);
      case 'hub':
        return hub.kill(what);
      case 'broker':
        return broker.kill(what);
      case 'runner':
        return random.pick([agent, hub]).killRunner((pids) => random.pick(pids));
    }
  }

  /** What was killed, or has ended by itself, is started again after a while; at the end at once. */
  async #keepUp(program: KeptProgram, random: Random): Promise<void> {
    while (await this.#goesOn(random.between(DOWN_MS.from, DOWN_MS.to)))
      if (!program.isRunning) await program.start();
    // One that is under way may take another along.
    await this.#killing;
    for (; !program.isRunning; await delay(AGAIN_MS)) await program.start();
  }

  async #trouble(proxy: ChaosProxy, random: Random): Promise<void> {
    while (await this.#goesOn(random.between(CALM_MS.from, CALM_MS.to))) {
      const fault = random.pick(FAULTS, ({ weight }) => weight);
      await fault.apply(proxy, random);
      this.faults[fault.name] = (this.faults[fault.name] ?? 0) + 1;
      await this.#goesOn(random.between(FAULT_MS.from, FAULT_MS.to));
      await proxy.heal();
    }
  }

  /** Waits. @returns false when it is over */
  async #goesOn(ms: number): Promise<boolean> {
    const { signal } = this.#stopping;
    await delay(ms, undefined, { signal }).catch(() => undefined);
    return !signal.aborted;
  }
}
