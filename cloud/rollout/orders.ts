/** Rollouts for who orders them: each order is one step, of the state that its author has read. */
import {
  isUnderWay,
  type RolloutAction,
  type RolloutDevice,
  type RolloutPlan,
  type RolloutPlanChange,
  type RolloutRecord,
  type RolloutRequest,
} from '../../shared/contract/rollouts.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { RolloutAdmin, RolloutBook, RolloutStanding, StoredRollout } from '../ports.ts';
import { act, changePlan, type Done, requirePlan } from './actions.ts';
import type { RolloutConductor } from './conductor.ts';

/** The records of rollouts, and who brings them on. */
export interface RolloutOrdersOptions {
  readonly book: RolloutBook;
  readonly conductor: Pick<RolloutConductor, 'begin' | 'look' | 'sightOf'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

type IsExpected = (now: RolloutStanding) => boolean;

/** Takes the orders of operators, and shows what has become of them. */
export class RolloutOrders implements RolloutAdmin {
  readonly #o: RolloutOrdersOptions;

  constructor(options: RolloutOrdersOptions) {
    this.#o = options;
  }

  requirePlan(plan: RolloutPlan): void {
    requirePlan(plan);
  }

  list(): RolloutRecord[] {
    return Object.keys(this.#o.book.all)
      .map((id) => this.get(id))
      .sort((one, other) => other.createdAtMs - one.createdAtMs);
  }

  get(id: string): RolloutRecord {
    const { salt: _salt, stageBeganAtMs: _began, holds: _holds, devices, ...shown } = this.#find(id);
    const { waitsFor, verdicts, matched, answers, unmeasurable } = this.#o.conductor.sightOf(id);
    const counts: RolloutRecord['devices'] = {};
    for (const { state } of Object.values(devices)) counts[state] = (counts[state] ?? 0) + 1;
    const reason = shown.state === 'running' ? (waitsFor ?? shown.reason) : shown.reason;
    return {
      ...shown,
      id,
      reason,
      matched,
      devices: counts,
      answers,
      verdicts: [...verdicts],
      unmeasurable: [...unmeasurable],
    };
  }

  standingOf(id: string): RolloutStanding {
    return standing(id, this.#find(id));
  }

  devicesOf(id: string): RolloutDevice[] {
    return Object.entries(this.#find(id).devices)
      .map(([device, one]) => ({ id: device, ...one }))
      .sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  async start(request: RolloutRequest, by: string | null): Promise<RolloutRecord> {
    const id = await this.#o.conductor.begin(request, by);
    await this.#o.conductor.look();
    return this.get(id);
  }

  change(
    id: string,
    change: RolloutPlanChange,
    isExpected: IsExpected,
    by: string | null,
  ): Promise<RolloutRecord> {
    return this.#do(id, (one) => changePlan(one, change), isExpected, by);
  }

  async act(
    id: string,
    action: RolloutAction,
    isExpected: IsExpected,
    by: string | null,
  ): Promise<RolloutRecord> {
    const { clock, logger, book } = this.#o;
    const how = { nowAtMs: clock.nowAtMs(), models: book.models };
    const done = await this.#do(id, (one) => act(one, action, how), isExpected, by);
    logger.info('rollout.ordered', { rollout: id, action, by });
    return done;
  }

  async #do(
    id: string,
    doIt: (one: StoredRollout) => Done,
    isExpected: IsExpected,
    by: string | null,
  ): Promise<RolloutRecord> {
    const { book, clock, conductor } = this.#o;
    await book.change((now) => {
      const found = Object.hasOwn(now, id) ? now[id] : undefined;
      if (!found) throw unknown();
      if (!isExpected(standing(id, found))) throw new AppError('PRECONDITION_FAILED');
      const { rollout, said, deploy } = doIt(found);
      const notes = [{ id, ...said, atMs: clock.nowAtMs(), by }];
      return { rollouts: { ...now, [id]: rollout }, notes, deploy };
    });
    await conductor.look();
    return this.get(id);
  }

  #find(id: string): StoredRollout {
    const { all } = this.#o.book;
    const found = Object.hasOwn(all, id) ? all[id] : undefined;
    if (!found) throw unknown();
    return found;
  }
}

const unknown = (): AppError => new AppError('NOT_FOUND', 'there is no rollout of this id');

const standing = (
  id: string,
  { state, stage, holds, gates, window, onFailure }: StoredRollout,
): RolloutStanding => ({
  ...{ id, state, stage, holds },
  plan: JSON.stringify([gates, window, onFailure]),
});

/** Devices of the rollouts that are under way, by how far they are: for metrics. */
export function deviceCounts(rollouts: readonly RolloutRecord[]): [Record<string, string>, number][] {
  return rollouts
    .filter(({ state }) => isUnderWay(state))
    .flatMap(({ model, version, devices }) =>
      Object.entries(devices).map(([state, value]): [Record<string, string>, number] => [
        { model, version, state },
        value,
      ]),
    );
}
