/** What devices have counted, put together for the gates: of the version, of what the same devices ran before, and of what the others run. */
import type { StoredRollout } from '../ports.ts';
import type { FleetDevice } from './fleet.ts';
import type { Arms, DeviceTotals } from './gates/arms.ts';
import { NO_TOTALS, since, type VersionTotals } from './totals.ts';

/** What a device has counted of a version; undefined: nothing. */
export type TotalsOf = (deviceId: string, digest: string) => VersionTotals | undefined;

/** States of devices that have answered with the version, or tried to. */
const TRIED = ['trial', 'running', 'rolled-back'];

interface Marks {
  readonly stage: number;
  /** By device and digest. */
  readonly totals: Map<string, VersionTotals>;
}

/**
 * Counts of rollouts that are under way. A stage is judged by what has come since it began, or since this process looked at it first: what
 * was counted until then is kept in memory alone, and a hub that starts again begins to count anew.
 */
export class RolloutArms {
  readonly #totalsOf: TotalsOf;
  /** By rollout. */
  readonly #marks = new Map<string, Marks>();

  constructor(totalsOf: TotalsOf) {
    this.#totalsOf = totalsOf;
  }

  of(id: string, { devices, digest, stage }: StoredRollout, fleet: ReadonlyMap<string, FleetDevice>): Arms {
    const marks = this.#marksOf(id, stage);
    const inside = Object.entries(devices).filter(([, { state }]) => state !== 'left');
    const tried = inside.filter(([, { state }]) => TRIED.includes(state));
    const others = [...fleet.values()].flatMap(({ id: device, now }) =>
      Object.hasOwn(devices, device) || !now || now.digest === digest ? [] : [{ device, digest: now.digest }],
    );
    // Also of those that have not begun: their first answers are to count.
    for (const [device] of inside) this.#mark(marks, device, digest);
    const marked = others.map((one) => ({ ...one, mark: this.#mark(marks, one.device, one.digest) }));
    return {
      version: tried.map(([device, { state }]) => ({
        id: device,
        totals: since(this.#now(device, digest), this.#mark(marks, device, digest)),
        wasTakenBack: state === 'rolled-back',
      })),
      before: [
        ...tried.flatMap(([device, { before }]) => this.#known(device, before?.digest)),
        ...marked.map(({ device, mark }) => ({ id: device, totals: mark })),
      ],
      rest: marked.map((one) => ({
        id: one.device,
        totals: since(this.#now(one.device, one.digest), one.mark),
      })),
    };
  }

  /** Answers by the version of all of these together, ever. */
  answers({ devices, digest }: StoredRollout): number {
    return Object.keys(devices).reduce((sum, device) => sum + this.#now(device, digest).answers, 0);
  }

  /** Forgets what is not of these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#marks.keys()) if (!ids.has(id)) this.#marks.delete(id);
  }

  #now(device: string, digest: string): VersionTotals {
    return this.#totalsOf(device, digest) ?? NO_TOTALS;
  }

  #known(device: string, digest: string | undefined): DeviceTotals[] {
    const totals = digest === undefined ? undefined : this.#totalsOf(device, digest);
    return totals ? [{ id: device, totals }] : [];
  }

  #marksOf(id: string, stage: number): Marks {
    const known = this.#marks.get(id);
    if (known?.stage === stage) return known;
    const fresh = { stage, totals: new Map<string, VersionTotals>() };
    this.#marks.set(id, fresh);
    return fresh;
  }

  /** What had been counted when it was first looked at in this stage. */
  #mark({ totals }: Marks, device: string, digest: string): VersionTotals {
    const key = `${device} ${digest}`;
    const mark = totals.get(key) ?? this.#now(device, digest);
    totals.set(key, mark);
    return mark;
  }
}
