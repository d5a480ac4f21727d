/** What devices have counted, put together for the gates: of the version, of what the same devices ran before, and of what the others run. */
import { join } from 'node:path';
import { z } from 'zod';
import { AGENT_NAME } from '../../shared/contract/releases.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { StoredRollout } from '../ports.ts';
import type { FleetDevice } from './fleet.ts';
import type { Arms, DeviceTotals } from './gates/arms.ts';
import { NO_TOTALS, since, toCounts, toTotals, totalsOnDisk, type VersionTotals } from './totals.ts';

/** What a device has counted of a version; undefined: nothing. */
export type TotalsOf = (deviceId: string, digest: string) => VersionTotals | undefined;

/** States of devices that have answered with the version, or tried to. */
const TRIED = ['trial', 'running', 'rolled-back'];

interface Marks {
  readonly stage: number;
  /** By device and digest. */
  readonly totals: Map<string, VersionTotals>;
}

const MARKS_FILE = 'rollout-marks.json';
const marksFile = z.object({
  schema: z.literal(1),
  rollouts: z.record(
    z.string(),
    z.object({ stage: z.int().nonnegative(), totals: z.record(z.string(), totalsOnDisk) }),
  ),
});

/**
 * Counts of rollouts that are under way. A stage is judged by what has come since it began: where each count was then lies in a file of
 * its own. One that is lost, or cannot be read, costs time alone: the stage begins to count anew.
 */
export class RolloutArms {
  readonly #totalsOf: TotalsOf;
  readonly #path: string;
  /** By rollout. */
  readonly #marks = new Map<string, Marks>();
  #isDirty = false;

  private constructor(totalsOf: TotalsOf, path: string) {
    this.#totalsOf = totalsOf;
    this.#path = path;
  }

  /** @param folder the hub's own */
  static async open(folder: string, totalsOf: TotalsOf, logger: Logger): Promise<RolloutArms> {
    const arms = new RolloutArms(totalsOf, join(folder, MARKS_FILE));
    const found = await readJson(arms.#path, marksFile).catch((error: unknown) => {
      logger.failure('rollout.marks_unreadable', error, { path: arms.#path });
      return undefined;
    });
    for (const [id, { stage, totals }] of Object.entries(found?.rollouts ?? {}))
      arms.#marks.set(id, {
        stage,
        totals: new Map(Object.entries(totals).map(([key, counts]) => [key, toTotals(counts)])),
      });
    return arms;
  }

  /** Keeps where the stages of these began, and forgets the others. @throws DISK_FULL */
  async save(ids: ReadonlySet<string>): Promise<void> {
    for (const id of this.#marks.keys()) if (!ids.has(id) && this.#marks.delete(id)) this.#isDirty = true;
    if (!this.#isDirty) return;
    const rollouts = Object.fromEntries(
      Array.from(this.#marks, ([id, { stage, totals }]) => [
        id,
        { stage, totals: Object.fromEntries(Array.from(totals, ([key, one]) => [key, toCounts(one)])) },
      ]),
    );
    await writeJsonAtomic(this.#path, { schema: 1, rollouts }, 0o600);
    this.#isDirty = false;
  }

  /** @param nowAtMs by which devices are away for long */
  of(
    id: string,
    { devices, digest, stage, model }: StoredRollout,
    fleet: ReadonlyMap<string, FleetDevice>,
    nowAtMs: number,
  ): Arms {
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
      ...(model === AGENT_NAME && { link: linkOf(devices, fleet, nowAtMs) }),
    };
  }

  /** What devices have counted of the versions that they run now. */
  now(fleet: ReadonlyMap<string, FleetDevice>): DeviceTotals[] {
    return [...fleet.values()].flatMap(({ id, now }) => this.#known(id, now?.digest));
  }

  /** Answers by the version of all of these together, ever. */
  answers({ devices, digest }: StoredRollout): number {
    return Object.keys(devices).reduce((sum, device) => sum + this.#now(device, digest).answers, 0);
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
    this.#isDirty = true;
    return fresh;
  }

  /** What had been counted when it was first looked at in this stage. */
  #mark({ totals }: Marks, device: string, digest: string): VersionTotals {
    const key = `${device} ${digest}`;
    const known = totals.get(key);
    if (known) return known;
    const mark = this.#now(device, digest);
    totals.set(key, mark);
    this.#isDirty = true;
    return mark;
  }
}

/** So long a device may be away for any reason: an installation takes a minute. */
const AWAY_MS = 15 * 60_000;

/** Of the devices that were told, and of the others that were here when the first of them was. */
function linkOf(
  devices: StoredRollout['devices'],
  fleet: ReadonlyMap<string, FleetDevice>,
  nowAtMs: number,
): NonNullable<Arms['link']> {
  const isAway = ({ online, lastSeenAtMs }: FleetDevice, sinceAtMs: number): boolean =>
    !online && nowAtMs - Math.max(lastSeenAtMs ?? 0, sinceAtMs) > AWAY_MS;
  const version = { told: 0, away: [] as string[] };
  const rest = { told: 0, away: [] as string[] };
  const firstAtMs = Math.min(...Object.values(devices).map(({ atMs }) => atMs));
  for (const [id, device] of fleet) {
    const told = Object.hasOwn(devices, id) ? devices[id] : undefined;
    // One that was away before has nothing to do with it.
    if (!told && (device.lastSeenAtMs ?? 0) < firstAtMs) continue;
    const arm = told ? version : rest;
    arm.told++;
    if (isAway(device, told?.atMs ?? firstAtMs)) arm.away.push(id);
  }
  return { version, rest };
}
