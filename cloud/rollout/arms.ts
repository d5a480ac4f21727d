/** What devices have counted, put together for the gates: of the version, of what the same devices ran before, and of what the others run. */
import type { GateVerdict, RolloutGates } from '../../shared/contract/rollouts.ts';
import type { StoredRollout } from '../ports.ts';
import type { FleetDevice } from './fleet.ts';
import { since, type VersionTotals } from './totals.ts';

/** Counts by which a version is held against others. */
export interface GateArms {
  /** Of the rollout's version, by its devices. */
  readonly version: readonly VersionTotals[];
  /** Of what the same devices ran before. */
  readonly before: readonly VersionTotals[];
  /** Of what the others run, since the rollout was first looked at. */
  readonly rest: readonly VersionTotals[];
  /** Devices that have tried the version, and those of them that took it back. */
  readonly tried: number;
  readonly rolledBack: number;
}

/** Says by what the devices have counted whether a version may go on. */
export type Judge = (gates: RolloutGates, arms: GateArms) => GateVerdict[];

/** What a device has counted of a version; undefined: nothing. */
export type TotalsOf = (deviceId: string, digest: string) => VersionTotals | undefined;

const TRIED = ['trial', 'running', 'rolled-back'];

/** Counts of rollouts that are under way, with where the others began. */
export class Arms {
  readonly #totalsOf: TotalsOf;
  /** What the others had counted when the rollout was first looked at, by rollout, device and digest. Forgotten with the process: then it begins again. */
  readonly #marks = new Map<string, Map<string, VersionTotals>>();

  constructor(totalsOf: TotalsOf) {
    this.#totalsOf = totalsOf;
  }

  of(id: string, { devices, digest }: StoredRollout, fleet: ReadonlyMap<string, FleetDevice>): GateArms {
    const inside = Object.entries(devices).filter(([, { state }]) => state !== 'left');
    const tried = inside.filter(([, { state }]) => TRIED.includes(state));
    const rest = [...fleet.values()].filter((one) => !Object.hasOwn(devices, one.id));
    return {
      version: tried.flatMap(([device]) => this.#totalsOf(device, digest) ?? []),
      before: tried.flatMap(
        ([device, { before }]) => (before && this.#totalsOf(device, before.digest)) ?? [],
      ),
      rest: rest.flatMap(
        ({ id: device, now }) =>
          (now && now.digest !== digest ? this.#sinceMark(id, device, now.digest) : undefined) ?? [],
      ),
      tried: tried.length,
      rolledBack: tried.filter(([, { state }]) => state === 'rolled-back').length,
    };
  }

  /** Forgets where the others began, of all rollouts but these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#marks.keys()) if (!ids.has(id)) this.#marks.delete(id);
  }

  #sinceMark(id: string, deviceId: string, digest: string): VersionTotals | undefined {
    const totals = this.#totalsOf(deviceId, digest);
    if (!totals) return undefined;
    const marks = this.#marks.get(id) ?? new Map<string, VersionTotals>();
    this.#marks.set(id, marks);
    const key = `${deviceId} ${digest}`;
    const marked = marks.get(key) ?? totals;
    marks.set(key, marked);
    return since(totals, marked);
  }
}
