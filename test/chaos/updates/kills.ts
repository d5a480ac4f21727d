/**
 * SIGKILL at random moments, and at moments in which a device or the hub is in a state that few kills have met yet. What was killed is
 * started again after a while. Each device's disk is looked at while it is down.
 */
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { UpdatePhase } from '../../../shared/contract/messages.ts';
import type { Random } from '../../../shared/runtime/random.ts';
import { commandOf } from '../../support/programs.ts';
import { add, leastMet } from '../histogram.ts';
import type { KeptProgram } from '../kept-program.ts';
import { halfApplied, phasesOn } from './device-disk.ts';
import type { UpdatedDevice, UpdatedPlace } from './place.ts';

/** Between two kills, without those that are aimed. */
const MEAN_MS = 4_000;
const DOWN_MS = { from: 100, to: 2_000 };
const AGAIN_MS = 100;
/** So long it waits for a state to come. */
const AIM_MS = 12_000;
const AIM_EVERY_MS = 4;
const AIM_AT_HUB_EVERY_MS = 50;
/** A difference of these models is made within half a second. */
const AIM_AT_HELPER_EVERY_MS = 25;
const INTO_HELPER_MS = 250;
const HELPER_EVERY_MS = 6_000;
/** After the beginning of a state. */
const INTO_MS = 400;
const AIMED_EVERY_MS = 1_500;

/** Of a model on a device, in the order of its life. */
export const DEVICE_STATES = [
  'none',
  'checking',
  'downloading',
  'staged',
  'trying',
  'trial',
  'committed',
  'rolled-back',
  'its start',
] as const satisfies readonly ('none' | UpdatePhase | 'its start')[];
/** Of a hub: of its rollouts, and what it is at. */
export const HUB_STATES = [
  ...['waiting', 'running', 'paused', 'halted', 'aborted', 'rolled-back', 'done'],
  ...['a push', 'a rehearsal', 'a difference', 'nothing', 'its start'],
] as const;

/** Who is at work in a process of its own: at the hub it makes a difference, on a device a file of one. */
export const HELPERS = ['makes a difference', 'makes a file'] as const;
type Helper = (typeof HELPERS)[number];

/** Work of the hub that a process of its own does. */
const WORK_OF_HUB: Readonly<Record<string, string>> = {
  'a difference': 'dist/delta.js',
  'a rehearsal': 'dist/runner.js',
};

const TARGETS = [
  { target: 'agent', weight: 5 },
  { target: 'hub', weight: 4 },
  { target: 'broker', weight: 1 },
  { target: 'runner', weight: 1.5 },
  { target: 'helper', weight: 1 },
  { target: 'push', weight: 1 },
  { target: 'everything', weight: 1 },
] as const;
type Target = (typeof TARGETS)[number]['target'];

/** Who is killed, and what the hub is known to be at. */
export interface KillsOptions {
  readonly place: UpdatedPlace;
  readonly random: Random;
  readonly count: number;
  /** Digests of the folders that devices were installed with. */
  readonly given: ReadonlySet<string>;
  /** Of the rollouts now, and whether something is pushed. */
  readonly hubStates: () => string[];
  readonly killPush: () => boolean;
}

export class Kills {
  readonly byTarget: Record<string, number> = {};
  readonly onDevices: Record<string, number> = {};
  readonly onHub: Record<string, number> = {};
  readonly onHelpers: Record<string, number> = {};
  /** Sentences. */
  readonly wrong: string[] = [];
  done = 0;
  readonly #o: KillsOptions;
  readonly #stopping = new AbortController();
  /** Programs whose restart is looked after. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: KillsOptions) {
    this.#o = options;
  }

  /** Until there have been as many as were wanted. */
  async run(signal: AbortSignal): Promise<void> {
    const { place, random } = this.#o;
    signal.addEventListener('abort', () => this.#stopping.abort(), { once: true });
    const programs = [place.broker, place.hub, ...place.devices.map(({ program }) => program)];
    this.#work = Promise.all(
      programs.map((one) => this.#keepUp(one, random.fork(`restarts of ${one.name}`))),
    );
    await Promise.all([
      this.#atRandom(random.fork('kills')),
      this.#aimed(random.fork('aims')),
      this.#aimedAtHelpers(random.fork('helpers')),
    ]);
    this.#stopping.abort();
    await this.#work;
    for (const program of programs) while (!program.isRunning) await program.start();
  }

  async #atRandom(random: Random): Promise<void> {
    while (await this.#goesOn(random.between(0.3, 1.7) * MEAN_MS)) {
      const { target } = random.pick(TARGETS, ({ weight }) => weight);
      await this.#kill(target, random);
    }
  }

  /** In turn on a device and at the hub, in the state of theirs that was met least. */
  async #aimed(random: Random): Promise<void> {
    for (let turn = 0; await this.#goesOn(random.between(0.5, 1.5) * AIMED_EVERY_MS); turn++) {
      if (turn % 2 === 0) await this.#aimAtDevice(random);
      else await this.#aimAtHub(random);
    }
  }

  /** Beside the others: what deals with differences is there for half a second. */
  async #aimedAtHelpers(random: Random): Promise<void> {
    while (await this.#goesOn(random.between(0.5, 1.5) * HELPER_EVERY_MS)) await this.#aimAtHelper(random);
  }

  /** The process itself: whoever has started it lives on. Until one comes: of those the kind that was met least. */
  async #aimAtHelper(random: Random): Promise<void> {
    while (!this.#isOver) {
      const least = leastMet(HELPERS, this.onHelpers, random);
      if (this.#helpers().some(({ what }) => what === least)) {
        await delay(random.chance(0.5) ? 0 : random.between(0, INTO_HELPER_MS));
        if (this.#killHelper(random, least)) return;
      }
      await delay(AIM_AT_HELPER_EVERY_MS);
    }
  }

  async #aimAtDevice(random: Random): Promise<void> {
    const wanted = leastMet(DEVICE_STATES.slice(1, 6), this.onDevices, random);
    const { devices } = this.#o.place;
    for (const giveUp = performance.now() + AIM_MS; performance.now() < giveUp && !this.#isOver; ) {
      for (const device of devices) {
        if (!device.program.isUp) continue;
        const phases = await phasesOn(device).catch(() => ({}));
        if (!Object.values(phases).includes(wanted)) continue;
        await delay(random.chance(0.5) ? 0 : random.between(0, INTO_MS));
        return this.#killAgent(device, random);
      }
      await delay(AIM_EVERY_MS);
    }
  }

  async #aimAtHub(random: Random): Promise<void> {
    const wanted = leastMet(HUB_STATES.slice(0, -2), this.onHub, random);
    const { hub } = this.#o.place;
    const look = (): string[] => (wanted in WORK_OF_HUB ? this.#workOfHub() : this.#o.hubStates());
    for (const giveUp = performance.now() + AIM_MS; performance.now() < giveUp && !this.#isOver; ) {
      if (hub.isUp && look().includes(wanted)) {
        await delay(random.chance(0.5) ? 0 : random.between(0, INTO_MS));
        return this.#killHub(random);
      }
      await delay(AIM_AT_HUB_EVERY_MS);
    }
  }

  get #isOver(): boolean {
    return this.#stopping.signal.aborted || this.done >= this.#o.count;
  }

  async #kill(target: Target, random: Random): Promise<void> {
    const { broker, hub, devices } = this.#o.place;
    const device = random.pick(devices);
    switch (target) {
      case 'agent':
        return this.#killAgent(device, random);
      case 'hub':
        return this.#killHub(random);
      case 'broker':
        if (await broker.kill('alone')) this.#count('broker');
        return;
      case 'runner':
        if (random.pick([device.program, device.program, hub]).killRunner((pids) => random.pick(pids)))
          this.#count('runner');
        return;
      case 'helper':
        this.#killHelper(random);
        return;
      case 'push':
        if (this.#o.killPush()) this.#count('push');
        return;
      case 'everything':
        // As a power cut of the whole place does it.
        await Promise.all([
          ...devices.map((one) => this.#killAgent(one, random)),
          this.#killHub(random),
          broker.kill('group').then((isKilled) => isKilled && this.#count('broker')),
        ]);
    }
  }

  async #killAgent(device: UpdatedDevice, random: Random): Promise<void> {
    const isStarting = !device.program.isUp;
    if (!(await device.program.kill(random.pick(['alone', 'group'])))) return;
    this.#count('agent');
    if (isStarting) add(this.onDevices, 'its start');
    try {
      const phases = Object.values(await phasesOn(device));
      for (const phase of new Set(phases.length > 0 ? phases : ['none'])) add(this.onDevices, phase);
    } catch (error) {
      this.wrong.push(`${device.id}: ${String(error)}`);
    }
    this.wrong.push(...(await halfApplied(device, this.#o.given)));
  }

  async #killHub(random: Random): Promise<void> {
    const { hub } = this.#o.place;
    const states = hub.isUp ? this.#statesOfHub() : ['its start'];
    if (!(await hub.kill(random.pick(['alone', 'group'])))) return;
    this.#count('hub');
    for (const state of states) add(this.onHub, state);
  }

  /** @param what of this kind; any, when left out @returns false when there is none */
  #killHelper(random: Random, what?: Helper): boolean {
    const found = this.#helpers().filter((one) => what === undefined || one.what === what);
    if (found.length === 0) return false;
    const one = random.pick(found);
    try {
      process.kill(one.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
      return false;
    }
    this.#count('helper');
    add(this.onHelpers, one.what);
    return true;
  }

  /** Processes that deal with differences of this place: their job, which names its files, is on their command line. */
  #helpers(): { readonly pid: number; readonly what: Helper }[] {
    const folder = dirname(this.#o.place.hubData);
    return readdirSync('/proc').flatMap((name) => {
      const command = /^\d+$/.test(name) ? commandOf(Number(name)) : '';
      if (!command.includes(WORK_OF_HUB['a difference'] ?? '') || !command.includes(folder)) return [];
      return { pid: Number(name), what: command.includes('"kind":"encode"') ? HELPERS[0] : HELPERS[1] };
    });
  }

  #statesOfHub(): string[] {
    const states = [...this.#o.hubStates(), ...this.#workOfHub()];
    return states.length > 0 ? states : ['nothing'];
  }

  /** What processes of its are for. */
  #workOfHub(): string[] {
    const commands = this.#o.place.hub.children().map(commandOf);
    return Object.entries(WORK_OF_HUB).flatMap(([work, file]) =>
      commands.some((command) => command.includes(file)) ? [work] : [],
    );
  }

  #count(target: string): void {
    this.done++;
    add(this.byTarget, target);
  }

  async #keepUp(program: KeptProgram, random: Random): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await delay(random.between(DOWN_MS.from, DOWN_MS.to), undefined, { signal }).catch(() => undefined);
      if (!program.isRunning) await program.start();
    }
  }

  /** Waits. @returns false when there have been enough */
  async #goesOn(ms: number): Promise<boolean> {
    const { signal } = this.#stopping;
    await delay(Math.max(AGAIN_MS, ms), undefined, { signal }).catch(() => undefined);
    return !this.#isOver;
  }
}
