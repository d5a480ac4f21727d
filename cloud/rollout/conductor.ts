/**
 * Conducts the rollouts. READ THIS FIRST.
 *
 *   plan (a person: orders.ts; or the policy `staged`) -> actions.ts: begin, pause, resume, abort, roll back
 *   every few seconds, and when devices tell something: fleet.ts (who is meant, how far is each) -> arms.ts, gates/ (what they have
 *     counted) -> step.ts: who comes in next, next stage, stopped, done -> the records -> devices are told (registry/wanted-version.ts)
 *
 * Everything that counts is in the records, one step at a time: after any crash it goes on from there.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DeviceRecord } from '../../shared/contract/admin.ts';
import {
  type GateVerdict,
  isUnderWay,
  plannedRollout,
  type RolloutRequest,
  type UnmeasurableGate,
} from '../../shared/contract/rollouts.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { RolloutBook, RolloutChange, StagedVersion, StoredRollout } from '../ports.ts';
import { begin, released } from './actions.ts';
import type { RolloutArms } from './arms.ts';
import { type FleetDevice, fleetOf } from './fleet.ts';
import { unmeasurable } from './forecast.ts';
import { judge } from './gates/gates.ts';
import { parseSelector } from './selector.ts';
import { type Step, step } from './step.ts';

/** Records, devices and models that rollouts are about. */
export interface ConductorOptions {
  readonly book: RolloutBook;
  readonly devices: () => readonly DeviceRecord[];
  /** Whether a device runs a version of its own choice. */
  readonly isPinned: (deviceId: string, model: string) => boolean;
  /** Versions that are published under the policy `staged` and newer than what is deployed. */
  readonly staged: () => readonly StagedVersion[];
  /** What devices have counted. */
  readonly arms: RolloutArms;
  /** After a look: these have changed, or what is seen of them. */
  readonly onLook: (ids: readonly string[]) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What the last look has seen of a rollout; nothing that must be kept. */
export interface RolloutSight {
  /** What its stage waits for, in a sentence; undefined: for nothing. */
  readonly waitsFor: string | undefined;
  readonly verdicts: readonly GateVerdict[];
  /** Devices that are meant. */
  readonly matched: number;
  /** By the version, of all its devices. */
  readonly answers: number;
  /** Gates that will have nothing to say. */
  readonly unmeasurable: readonly UnmeasurableGate[];
}

const LOOK_EVERY_MS = 5_000;
/** Devices tell much at a time. */
const GATHER_MS = 500;
const NOTHING: RolloutSight = { waitsFor: undefined, verdicts: [], matched: 0, answers: 0, unmeasurable: [] };

/** Looks at the rollouts that are under way, and brings each on. */
export class RolloutConductor implements Part {
  readonly #o: ConductorOptions;
  readonly #seen = new Map<string, RolloutSight>();
  #cancel: () => void = () => undefined;
  #isHurried = false;
  #isStopped = true;
  #looking: Promise<void> = Promise.resolve();

  constructor(options: ConductorOptions) {
    this.#o = options;
  }

  start(): void {
    this.#isStopped = false;
    this.#lookIn(GATHER_MS);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    await this.#looking;
  }

  /** Something that a rollout may wait for has changed. Returns at once. */
  hurry(): void {
    if (this.#isHurried || this.#isStopped) return;
    this.#isHurried = true;
    this.#lookIn(GATHER_MS);
  }

  /** What the last look has seen of it. */
  sightOf(id: string): RolloutSight {
    return this.#seen.get(id) ?? NOTHING;
  }

  /** Looks at all that are under way, and brings each on as far as it goes now. Never rejects. */
  look(): Promise<void> {
    this.#looking = this.#looking
      .then(() => this.#look())
      .catch((error: unknown) => this.#o.logger.failure('rollout.not_looked_at', error));
    return this.#looking;
  }

  #lookIn(ms: number): void {
    this.#cancel();
    this.#cancel = this.#o.clock.after(ms, () => {
      this.#isHurried = false;
      void this.look().finally(() => {
        if (!this.#isStopped && !this.#isHurried) this.#lookIn(LOOK_EVERY_MS);
      });
    });
  }

  async #look(): Promise<void> {
    const { book } = this.#o;
    const before = book.all;
    const seen = new Map(this.#seen);
    await this.#beginStaged();
    const devices = Object.values(book.all).some(counts) ? this.#o.devices() : [];
    if (devices.length > 0) await book.change((now, models) => this.#broughtOn(now, models, devices));
    const underWay = Object.entries(book.all).filter(([, one]) => counts(one));
    await this.#o.arms.save(new Set(underWay.map(([id]) => id)));
    for (const id of this.#seen.keys()) if (!Object.hasOwn(book.all, id)) this.#seen.delete(id);
    for (const [id, one] of Object.entries(book.all)) this.#log(id, one, before);
    const isNews = (id: string): boolean =>
      !isDeepStrictEqual(book.all[id], Object.hasOwn(before, id) ? before[id] : undefined) ||
      !isDeepStrictEqual(this.#seen.get(id), seen.get(id));
    const news = Object.keys(book.all).filter(isNews);
    if (news.length > 0) this.#o.onLook(news);
  }

  #broughtOn(
    now: RolloutBook['all'],
    models: RolloutBook['models'],
    devices: readonly DeviceRecord[],
  ): RolloutChange {
    const atMs = this.#o.clock.nowAtMs();
    const rollouts = { ...now };
    const notes: RolloutChange['notes'][number][] = [];
    let deploy: RolloutChange['deploy'];
    for (const [id, one] of Object.entries(now)) {
      if (!counts(one)) continue;
      const done = this.#stepOf(id, one, devices, atMs);
      rollouts[id] = done.rollout;
      notes.push(...done.notes.map((note) => ({ ...note, id, atMs, by: null })));
      if (!done.deploys) continue;
      deploy = { model: one.model, version: one.version };
      // One at a time with what it deploys; the others go on at the next look.
      this.hurry();
      break;
    }
    for (const [id, { rollout, said }] of released(rollouts, models)) {
      rollouts[id] = rollout;
      notes.push({ ...said, id, atMs, by: null });
    }
    return { rollouts, notes, deploy };
  }

  #stepOf(id: string, one: StoredRollout, devices: readonly DeviceRecord[], nowAtMs: number): Step {
    const { model, digest, gates } = one;
    const fleet = fleetOf(
      devices,
      { model, digest, selector: parseSelector(one.selector) },
      this.#o.isPinned,
    );
    const arms = this.#o.arms.of(id, one, fleet, nowAtMs);
    const standing = { stage: one.stage, stages: one.stages.length };
    const verdicts = arms.version.length === 0 ? [] : judge(gates, arms, standing);
    const answers = arms.version.reduce((sum, { totals }) => sum + totals.answers, 0);
    const unheard = new Set(devices.flatMap(({ id: device, reported }) => (reported ? [] : [device])));
    const done = step(one, { nowAtMs, fleet, unheard, verdicts, answers });
    const all = this.#o.arms.answers(done.rollout);
    const sight = { waitsFor: done.waitsFor, verdicts, matched: fleet.size, answers: all };
    this.#seen.set(id, { ...sight, unmeasurable: this.#unmeasurable(id, one, fleet) });
    return done;
  }

  /** Told while nothing is known of the version: later the gates speak for themselves, by what devices ran before. */
  #unmeasurable(
    id: string,
    one: StoredRollout,
    fleet: ReadonlyMap<string, FleetDevice>,
  ): readonly UnmeasurableGate[] {
    const known = this.#seen.get(id)?.unmeasurable;
    if (known && one.stageBeganAtMs !== null) return known;
    return unmeasurable(one, fleet.size, this.#o.arms.now(fleet));
  }

  /** A version that was published under the policy `staged` is rolled out, once. */
  async #beginStaged(): Promise<void> {
    for (const { model, version, plan } of this.#o.staged()) {
      if (this.#hasHad(model, version)) continue;
      const how = { ifBusy: 'replace', note: 'by the policy “staged”' } as const;
      await this.begin({ ...plan, model, version, ...how }, null).catch((error: unknown) =>
        this.#o.logger.failure('rollout.not_started', error, { model }),
      );
    }
  }

  /**
   * Begins a rollout; nobody has been told anything yet when it returns.
   *
   * @param by id of the key of who does it; null: the hub itself
   * @returns its id
   * @throws PARAMETERS_INVALID, MODEL_UNKNOWN, UPDATE_NOT_LISTED, CONFLICT, DISK_FULL
   */
  async begin(wish: RolloutRequest, by: string | null): Promise<string> {
    const request = plannedRollout(wish);
    const id = newId();
    const atMs = this.#o.clock.nowAtMs();
    await this.#o.book.change((now, models) => {
      const { rollouts, said } = begin(now, models, request, { id, nowAtMs: atMs });
      return { rollouts, notes: said.map((one) => ({ ...one, atMs, by })) };
    });
    const { model, version } = request;
    this.#o.logger.info('rollout.started', { rollout: id, model, version });
    return id;
  }

  #hasHad(model: string, version: string): boolean {
    return Object.values(this.#o.book.all).some((one) => one.model === model && one.version === version);
  }

  #log(id: string, { model, version, state, reason }: StoredRollout, before: RolloutBook['all']): void {
    const known = Object.hasOwn(before, id) ? before[id] : undefined;
    if (known && known.state !== state)
      this.#o.logger.info('rollout.state', { rollout: id, model, version, state, reason });
  }
}

/** Whether anything may come of it, or its devices may have news. */
const counts = ({ state, holds }: StoredRollout): boolean => holds || isUnderWay(state);
