/**
 * A device whose agent updates itself, and what systemd does for it: the agent is started from `current` whenever it is not there, root's part
 * when the agent has written an offer and again two seconds after it was killed; after a power cut root's part comes first where a version is on
 * trial (deploy/systemd/).
 */
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Place } from '../../../cli/device/place.ts';
import { machinePaths, offerPaths, UPDATES_VARIABLE } from '../../../shared/release/agent/handover.ts';
import type { Random } from '../../../shared/runtime/random.ts';
import { SerialQueue } from '../../../shared/runtime/serial-queue.ts';
import { KeptProgram } from '../kept-program.ts';
import { inTree } from '../place.ts';
import type { RootJob, Said } from './root-part.ts';

/** After the agent was killed. */
const AGENT_DOWN_MS = { from: 100, to: 2_000 };
/** As in outrider-update.service. */
const ROOT_AGAIN_MS = 2_000;
const LOOK_EVERY_MS = 100;
const STAYS_UP_MS = 2_000;
/** A real device has a minute; here the hub is a process away. */
const REACHES_WITHIN_MS = 30_000;
const ONLINE = /^outrider_link_online_ratio 1$/m;

/** Where a device lies and whom it asks. */
export interface DeviceOptions {
  readonly id: string;
  readonly place: Place;
  readonly hubUrl: string;
  readonly token: string;
  readonly port: number;
  /** Where root's part reaches the chaos run. */
  readonly control: string;
  readonly random: Random;
  /** Root's part is about to do a step; resolves when it may. */
  readonly onStep: (device: ManagedDevice, step: string) => Promise<void>;
}

export class ManagedDevice {
  readonly id: string;
  readonly place: Place;
  readonly url: string;
  readonly agent: KeptProgram;
  /** Of the step that root's part was about to do last. */
  step = 'its start';
  /** Runs of root's part, by how they ended. */
  readonly rootRuns: Record<string, number> = {};
  #root: KeptProgram;
  readonly #o: DeviceOptions;
  readonly #stopping = new AbortController();
  /** Starts and ends of the agent. */
  readonly #turns = new SerialQueue();
  #isWithoutPower = false;
  /** Root's part is to run although nothing is offered anew. */
  #isDue = false;
  #offered = '';
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: DeviceOptions) {
    const { id, place, port, hubUrl, token } = options;
    this.#o = options;
    [this.id, this.place, this.url] = [id, place, `http://127.0.0.1:${port}`];
    this.agent = new KeptProgram({
      name: id,
      command: [
        join(place.current, 'bin/outrider'),
        ...['agent', '--config', place.config, '--data', place.data, '--models', inTree('models')],
        ...['--hub', hubUrl, '--agent-port', String(port)],
      ],
      env: { OUTRIDER_ENROLL_TOKEN: token, [UPDATES_VARIABLE]: place.updates },
    });
    this.#root = this.#rootPart(false);
  }

  /** Root's part, while there is one. */
  get root(): KeptProgram {
    return this.#root;
  }

  get programs(): KeptProgram[] {
    return [this.agent, this.#root];
  }

  /** Version of which root has on record that it is on trial. */
  get isOnTrial(): boolean {
    return existsSync(machinePaths(this.place.updates).trial);
  }

  /** How far the agent says that it is. @throws what is wrong with the file */
  async phase(): Promise<string> {
    const path = join(offerPaths(join(this.place.data, 'agent')).folder, 'state.json');
    if (!existsSync(path)) return 'none';
    const state = z.object({ update: z.object({ phase: z.string() }).nullable() });
    return state.parse(JSON.parse(await readFile(path, 'utf8'))).update?.phase ?? 'none';
  }

  /** The agent runs, and its machine takes updates, when it returns. */
  async begin(): Promise<void> {
    await this.agent.start();
  }

  keepUp(): void {
    this.#work = Promise.all([this.#keepAgentUp(), this.#watchOffers()]);
  }

  /** Nothing is started any more; what runs stays. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  /** The next versions of it begin as after a boot. @param off how long there is no power */
  async cutPower(off: number): Promise<{ readonly agent: boolean; readonly root: boolean }> {
    this.#isWithoutPower = true;
    const [agent, root] = await Promise.all([this.agent.kill('group'), this.#root.kill('group')]);
    void this.#boot(off);
    return { agent, root };
  }

  /** What root's part asks. */
  async answer(what: string): Promise<Said> {
    if (what === 'restart') {
      const why = await this.#turns.run(() => this.#restart());
      return why === undefined ? {} : { why };
    }
    if (what === 'reaches') return { reaches: await this.#reachesHub() };
    this.step = what.replace(/^step /, '');
    await this.#o.onStep(this, this.step);
    return {};
  }

  async #boot(off: number): Promise<void> {
    await delay(off);
    // ConditionPathExists=, Before=outrider-agent.service, OnFailure=outrider-update.service
    this.#isDue = this.isOnTrial && !(await this.#runRoot(true));
    this.#offered = await this.#offer();
    this.#isWithoutPower = false;
  }

  async #keepAgentUp(): Promise<void> {
    const { signal } = this.#stopping;
    const { random } = this.#o;
    while (!signal.aborted) {
      await delay(random.between(AGENT_DOWN_MS.from, AGENT_DOWN_MS.to), undefined, { signal }).catch(
        () => undefined,
      );
      await this.#turns.run(async () => {
        if (!this.agent.isRunning && !this.#isWithoutPower && !signal.aborted) await this.agent.start();
      });
    }
  }

  /** PathChanged= and Restart=on-failure. */
  async #watchOffers(): Promise<void> {
    const { signal } = this.#stopping;
    this.#offered = await this.#offer();
    while (!signal.aborted) {
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
      const now = await this.#offer();
      if (this.#isWithoutPower || (now === this.#offered && !this.#isDue)) continue;
      const isDue = this.#isDue || now !== '';
      [this.#offered, this.#isDue] = [now, false];
      if (!isDue) continue;
      while (!signal.aborted && !this.#isWithoutPower && !(await this.#runRoot(false)))
        await delay(ROOT_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #offer(): Promise<string> {
    const { ready } = offerPaths(join(this.place.data, 'agent'));
    const found = await stat(ready).catch(() => undefined);
    return found ? `${found.ino} ${found.mtimeMs}` : '';
  }

  /** @returns whether it has ended by itself, and well */
  async #runRoot(isBoot: boolean): Promise<boolean> {
    this.step = 'its start';
    this.#root = this.#rootPart(isBoot);
    await this.#root.start();
    while (this.#root.isRunning) await delay(LOOK_EVERY_MS);
    const [end] = this.#root.deaths;
    const how = end === undefined ? 'killed' : `${end.how} ${end.lastWords.split('\n').at(-1) ?? ''}`.trim();
    this.rootRuns[how] = (this.rootRuns[how] ?? 0) + 1;
    return how === 'exit 0';
  }

  #rootPart(isBoot: boolean): KeptProgram {
    const { place, control } = this.#o;
    const job: RootJob = { root: place.root, control, isBoot };
    return new KeptProgram({
      name: `${this.#o.id} root`,
      command: [
        ...([process.execPath, '--import', inTree('tools/from-source.mjs')] as const),
        ...[inTree('test/chaos/agents/root-part.ts'), JSON.stringify(job)],
      ],
    });
  }

  /** As `systemctl restart` with Type=notify. @returns why it does not come up */
  async #restart(): Promise<string | undefined> {
    if (this.#isWithoutPower) return 'there is no power';
    await this.agent.stop();
    const deaths = this.agent.deaths.length;
    await this.agent.start();
    const { kills } = this.agent;
    if (this.agent.isUp) await delay(STAYS_UP_MS);
    if (this.agent.isUp && this.agent.kills === kills) return undefined;
    return this.agent.deaths[deaths]?.lastWords || 'it was killed';
  }

  async #reachesHub(): Promise<boolean> {
    const untilMonoMs = performance.now() + REACHES_WITHIN_MS;
    const { kills } = this.agent;
    while (performance.now() < untilMonoMs && this.agent.isUp && this.agent.kills === kills) {
      const metrics = await fetch(`${this.url}/metrics`).then(
        (answer) => answer.text(),
        () => '',
      );
      if (ONLINE.test(metrics)) return true;
      await delay(LOOK_EVERY_MS);
    }
    return false;
  }
}
