/**
 * SIGKILL to agents, to root's part of their updates, to hub and broker, and to all of a device as a power cut does it: at random moments, and
 * in the steps of root's part and the phases of agents that few kills have met yet. Each device's versions are looked at when it has happened.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentUpdate } from '../../../shared/contract/messages.ts';
import type { Random } from '../../../shared/runtime/random.ts';
import { add, leastMet } from '../histogram.ts';
import type { ManagedDevice } from './device.ts';
import { notWhole, standingOf } from './device-disk.ts';
import type { ManagedPlace } from './place.ts';

/** Between two kills, without those that are aimed. */
const MEAN_MS = 6_000;
const HUB_DOWN_MS = { from: 100, to: 2_000 };
const POWER_OFF_MS = { from: 100, to: 2_000 };
const AGAIN_MS = 100;
/** So long it waits for a state to come. */
const AIM_MS = 20_000;
const AIM_EVERY_MS = 15;
/** After the beginning of a state. */
const INTO_MS = 400;
const AIMED_EVERY_MS = 2_000;
/** While root's part changes something each time. */
const MAX_LOOKS = 20;

/** Of the agent, in the order of its life. */
export const AGENT_STATES = [
  ...([
    'none',
    'checking',
    'downloading',
    'staged',
    'installing',
    'trial',
    'committed',
    'rolled-back',
  ] as const),
  'its start',
] as const satisfies readonly ('none' | AgentUpdate['phase'] | 'its start')[];
/** Of root's part: what it was about to do, or doing (cli/device/update/apply-update.ts). */
export const ROOT_STATES = [
  ...['its start', 'tell installing', 'unpack', 'place', 'check', 'trial', 'switch', 'restart'],
  ...['reach hub', 'commit', 'raise', 'switch back', 'restart before', 'end trial'],
] as const;
/** Of the hub: of its rollouts of the agent. */
export const HUB_STATES = [
  ...['waiting', 'running', 'paused', 'halted', 'aborted', 'rolled-back', 'done'],
  ...['nothing', 'its start'],
] as const;

const TARGETS = [
  { target: 'agent', weight: 3 },
  { target: 'root', weight: 3 },
  { target: 'power', weight: 2 },
  { target: 'hub', weight: 2 },
  { target: 'broker', weight: 1 },
] as const;
type Target = (typeof TARGETS)[number]['target'];

/** Who is killed, and what the hub is known to be at. */
export interface KillsOptions {
  readonly random: Random;
  readonly count: number;
  /** Of the rollouts now. */
  readonly hubStates: () => string[];
}

export class Kills {
  readonly byTarget: Record<string, number> = {};
  readonly onAgents: Record<string, number> = {};
  readonly onRoot: Record<string, number> = {};
  readonly onHub: Record<string, number> = {};
  /** Sentences. */
  readonly wrong: string[] = [];
  done = 0;
  readonly #o: KillsOptions;
  readonly #stopping = new AbortController();
  readonly #aims: Random;
  /** Step of root's part in which it is to be killed next, and until when: one that does not come gives way to another. */
  #aim = { step: '', untilMonoMs: 0 };
  #place!: ManagedPlace;

  constructor(options: KillsOptions) {
    this.#o = options;
    this.#aims = options.random.fork('steps');
  }

  /** Until there have been as many as were wanted. */
  async run(place: ManagedPlace, signal: AbortSignal): Promise<void> {
    const { random } = this.#o;
    this.#place = place;
    signal.addEventListener('abort', () => this.#stopping.abort(), { once: true });
    const keepUp = [place.broker, place.hub].map(async (program) => {
      while (!this.#stopping.signal.aborted) {
        await this.#sleep(random.between(HUB_DOWN_MS.from, HUB_DOWN_MS.to));
        if (!program.isRunning) await program.start();
      }
    });
    await Promise.all([this.#atRandom(random.fork('kills')), this.#aimed(random.fork('aims'))]);
    this.#stopping.abort();
    await Promise.all(keepUp);
    for (const program of [place.broker, place.hub]) while (!program.isRunning) await program.start();
  }

  /** Root's part is about to do a step: it may be the one. */
  async onStep(device: ManagedDevice, step: string): Promise<void> {
    if (this.#isOver) return;
    const now = performance.now();
    if (this.#aim.untilMonoMs < now) this.#aim = { step: this.#nextStep(), untilMonoMs: now + AIM_MS };
    if (step !== this.#aim.step) return;
    this.#aim = { step: '', untilMonoMs: 0 };
    // Before the step, or in the midst of it.
    if (this.#aims.chance(0.5)) await this.#killRoot(device);
    else
      void delay(this.#aims.between(0, INTO_MS)).then(() =>
        this.#isOver ? undefined : this.#killRoot(device),
      );
  }

  #nextStep(): string {
    return leastMet(ROOT_STATES.slice(1), this.onRoot, this.#aims);
  }

  async #atRandom(random: Random): Promise<void> {
    while (await this.#goesOn(random.between(0.3, 1.7) * MEAN_MS)) {
      const { target } = random.pick(TARGETS, ({ weight }) => weight);
      await this.#kill(target, random);
    }
  }

  /** In turn an agent in the phase and a hub in the state that was met least. */
  async #aimed(random: Random): Promise<void> {
    for (let turn = 0; await this.#goesOn(random.between(0.5, 1.5) * AIMED_EVERY_MS); turn++) {
      const { hub, devices } = this.#place;
      const isAtHub = turn % 3 === 2;
      const wanted = isAtHub
        ? leastMet(HUB_STATES.slice(0, -2), this.onHub, random)
        : leastMet(AGENT_STATES.slice(1, 6), this.onAgents, random);
      for (const giveUp = performance.now() + AIM_MS; performance.now() < giveUp && !this.#isOver; ) {
        const device = isAtHub ? undefined : await whoIsAt(devices, wanted);
        if (device || (isAtHub && hub.isUp && this.#o.hubStates().includes(wanted))) {
          await delay(random.chance(0.5) ? 0 : random.between(0, INTO_MS));
          await (device ? this.#killAgent(device, random) : this.#killHub(random));
          break;
        }
        await delay(AIM_EVERY_MS);
      }
    }
  }

  async #kill(target: Target, random: Random): Promise<void> {
    const device = random.pick(this.#place.devices);
    switch (target) {
      case 'agent':
        return this.#killAgent(device, random);
      case 'root':
        return this.#killRoot(this.#place.devices.find(({ root }) => root.isRunning) ?? device);
      case 'power':
        return this.#cutPower(device, random);
      case 'hub':
        return this.#killHub(random);
      case 'broker':
        if (await this.#place.broker.kill('alone')) this.#count('broker');
    }
  }

  async #killAgent(device: ManagedDevice, random: Random): Promise<void> {
    const isStarting = !device.agent.isUp;
    if (!(await device.agent.kill(random.pick(['alone', 'group'])))) return;
    this.#count('agent');
    await this.#noteAgent(device, isStarting);
    if (!device.root.isRunning) await this.#look(device);
  }

  async #killRoot(device: ManagedDevice): Promise<void> {
    const { step } = device;
    if (!(await device.root.kill('group'))) return;
    this.#count('root');
    add(this.onRoot, step);
    await this.#look(device);
  }

  async #cutPower(device: ManagedDevice, random: Random): Promise<void> {
    const { step } = device;
    const isStarting = !device.agent.isUp;
    const killed = await device.cutPower(random.between(POWER_OFF_MS.from, POWER_OFF_MS.to));
    if (killed.agent) {
      this.#count('agent');
      await this.#noteAgent(device, isStarting);
    }
    if (killed.root) {
      this.#count('root');
      add(this.onRoot, step);
    }
    if (killed.agent || killed.root) add(this.byTarget, 'of them with the power');
    await this.#look(device);
  }

  async #noteAgent(device: ManagedDevice, isStarting: boolean): Promise<void> {
    if (isStarting) add(this.onAgents, 'its start');
    try {
      add(this.onAgents, await device.phase());
    } catch (error) {
      this.wrong.push(`${device.id}: ${String(error)}`);
    }
  }

  /** Root's part may be started again meanwhile: what was read while links or a trial have changed is read once more. */
  async #look(device: ManagedDevice): Promise<void> {
    for (let tries = 1; ; tries++) {
      const before = await standingOf(device);
      const wrong = await notWhole(device, this.#place.releases);
      if (wrong.length === 0) return;
      if ((await standingOf(device)) !== before && tries < MAX_LOOKS) continue;
      this.wrong.push(...wrong);
      return;
    }
  }

  async #killHub(random: Random): Promise<void> {
    const { hub } = this.#place;
    const states = this.#o.hubStates();
    const found = hub.isUp ? (states.length > 0 ? states : ['nothing']) : ['its start'];
    if (!(await hub.kill(random.pick(['alone', 'group'])))) return;
    this.#count('hub');
    for (const state of found) add(this.onHub, state);
  }

  get #isOver(): boolean {
    return this.#stopping.signal.aborted || this.done >= this.#o.count;
  }

  #count(target: string): void {
    this.done++;
    add(this.byTarget, target);
  }

  async #sleep(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }

  /** Waits. @returns false when there have been enough */
  async #goesOn(ms: number): Promise<boolean> {
    await this.#sleep(Math.max(AGAIN_MS, ms));
    return !this.#isOver;
  }
}

async function whoIsAt(devices: readonly ManagedDevice[], phase: string): Promise<ManagedDevice | undefined> {
  for (const device of devices)
    if (device.agent.isUp && (await device.phase().catch(() => 'none')) === phase) return device;
  return undefined;
}
