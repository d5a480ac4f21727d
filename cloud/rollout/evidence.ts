/**
 * What devices have counted of each version, over the runs of their agents: what the gates of a rollout judge by. A run says again and
 * again how far it is, and its newest word stands; another run comes on top. Kept in memory, and written now and then: what the last
 * half minute brought is told again.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { EvidenceSight } from '../../shared/contract/fleet-evidence.ts';
import { digest, modelName } from '../../shared/contract/names.ts';
import type { VersionCounts } from '../../shared/contract/version-counts.ts';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { KeptFile } from '../../shared/runtime/kept-file.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { VersionEvidence } from '../ports.ts';
import type { DeviceTotals } from './gates/arms.ts';
import { furthest, NO_TOTALS, plus, toCounts, toTotals, totalsOnDisk, type VersionTotals } from './totals.ts';

/** Versions of one model that are kept of a device: what it runs, tries and ran before, and a few that were taken back. */
const MAX_VERSIONS = 6;
/** Of all models together. */
const MAX_ENTRIES = 120;
/** Runs that may still say more: the present one, and those whose last word is on its way. Older ones are summed up. */
const MAX_RUNS = 4;
const EVIDENCE_FILE = 'evidence.json';

const evidenceFile = z.object({
  schema: z.literal(1),
  /** When each device was heard; missing: of an older hub. */
  heardAtMs: z.record(z.string(), z.number()).optional(),
  devices: z.record(
    z.string(),
    z
      .array(
        z.object({
          model: modelName,
          digest,
          earlier: totalsOnDisk,
          runs: z.array(z.object({ run: z.string(), counts: totalsOnDisk })).max(MAX_RUNS),
        }),
      )
      .max(MAX_ENTRIES),
  ),
});

interface Run {
  readonly run: string;
  totals: VersionTotals;
  /** That its numbers went back has been said. */
  isTold: boolean;
}

interface Entry {
  readonly model: string;
  readonly digest: string;
  /** Of runs that have nothing more to say. */
  earlier: VersionTotals;
  /** Those that were heard last come last. */
  runs: Run[];
}

/** Counts of versions by device, kept over restarts of agents and of the hub. */
export class Evidence implements VersionEvidence, Part {
  readonly #path: string;
  readonly #logger: Logger;
  /** By device; the newest versions first. */
  readonly #devices = new Map<string, Entry[]>();
  readonly #file: KeptFile;
  /** By device. */
  readonly #heardAtMs = new Map<string, number>();
  readonly #clock: Clock;

  /** @param folder the hub's own */
  constructor({ folder, clock, logger }: { folder: string; clock: Clock; logger: Logger }) {
    this.#path = join(folder, EVIDENCE_FILE);
    this.#logger = logger;
    this.#clock = clock;
    this.#file = new KeptFile({
      path: this.#path,
      content: () => ({
        schema: 1,
        heardAtMs: Object.fromEntries(this.#heardAtMs),
        devices: Object.fromEntries(Array.from(this.#devices, ([id, entries]) => [id, entries.map(toDisk)])),
      }),
      onFailed: (error) => logger.failure('evidence.not_saved', error),
      clock,
    });
  }

  /** A file that cannot be read is none: rollouts wait for new evidence. */
  async start(): Promise<void> {
    try {
      const found = await readJson(this.#path, evidenceFile);
      for (const [id, entries] of Object.entries(found?.devices ?? {}))
        this.#devices.set(id, entries.map(fromDisk));
      for (const [id, atMs] of Object.entries(found?.heardAtMs ?? {})) this.#heardAtMs.set(id, atMs);
    } catch (error) {
      this.#logger.failure('evidence.unreadable', error, { path: this.#path });
    }
    this.#file.start();
  }

  stop(): Promise<void> {
    return this.#file.stop();
  }

  take(deviceId: string, versions: readonly VersionCounts[]): void {
    let entries = this.#devices.get(deviceId) ?? [];
    // The newest comes first in what is told, and so here.
    for (const told of [...versions].reverse()) {
      const { name, digest } = told.model;
      const known = entries.find((one) => one.model === name && one.digest === digest);
      const entry = known ?? { model: name, digest, earlier: NO_TOTALS, runs: [] };
      this.#hear(deviceId, entry, told);
      entries = [entry, ...entries.filter((one) => one !== entry)];
    }
    this.#devices.set(deviceId, newestOf(entries));
    this.#heardAtMs.set(deviceId, this.#clock.nowAtMs());
    this.#file.changed();
  }

  /** Of all runs together; undefined: nothing was heard of it. */
  of(deviceId: string, digest: string): VersionTotals | undefined {
    const entry = this.#devices.get(deviceId)?.find((one) => one.digest === digest);
    return entry?.runs.reduce((sum, { totals }) => plus(sum, totals), entry.earlier);
  }

  /** Of a version, on each device that has told of it. */
  ofAll(digest: string): DeviceTotals[] {
    return [...this.#devices.keys()].flatMap((id) => {
      const totals = this.of(id, digest);
      return totals ? [{ id, totals }] : [];
    });
  }

  /** How much there is of it. */
  sight(): EvidenceSight {
    const times = [...this.#devices.keys()].flatMap((id) => this.#heardAtMs.get(id) ?? []);
    const versions = new Set([...this.#devices.values()].flatMap((all) => all.map((one) => one.digest)));
    return {
      devices: this.#devices.size,
      subjects: versions.size,
      oldestAtMs: times.reduce<number | null>((old, one) => (old === null ? one : Math.min(old, one)), null),
    };
  }

  forget(deviceId: string): void {
    this.#heardAtMs.delete(deviceId);
    if (this.#devices.delete(deviceId)) this.#file.changed();
  }

  #hear(deviceId: string, entry: Entry, told: VersionCounts): void {
    const totals = toTotals(told);
    const known = entry.runs.find(({ run }) => run === told.run);
    const run = known ?? { run: told.run, totals, isTold: false };
    const next = furthest(run.totals, totals);
    if (!run.isTold && hasGoneBack(totals, next)) {
      run.isTold = true;
      const { name: model, version } = told.model;
      this.#logger.warn('evidence.went_back', { deviceId, model, version, run: told.run });
    }
    run.totals = next;
    entry.runs = [...entry.runs.filter((one) => one !== run), run];
    const [oldest] = entry.runs;
    if (entry.runs.length <= MAX_RUNS || !oldest) return;
    entry.earlier = plus(entry.earlier, oldest.totals);
    entry.runs.shift();
  }
}

type Stored = z.infer<typeof evidenceFile>['devices'][string][number];

const fromDisk = ({ model, digest, earlier, runs }: Stored): Entry => ({
  ...{ model, digest, earlier: toTotals(earlier) },
  runs: runs.map(({ run, counts }) => ({ run, totals: toTotals(counts), isTold: false })),
});

const toDisk = ({ model, digest, earlier, runs }: Entry): Stored => ({
  ...{ model, digest, earlier: toCounts(earlier) },
  runs: runs.map(({ run, totals }) => ({ run, counts: toCounts(totals) })),
});

function newestOf(entries: readonly Entry[]): Entry[] {
  const ofModel = new Map<string, number>();
  const newest = entries.filter(({ model }) => {
    const before = ofModel.get(model) ?? 0;
    ofModel.set(model, before + 1);
    return before < MAX_VERSIONS;
  });
  return newest.slice(0, MAX_ENTRIES);
}

const hasGoneBack = (told: VersionTotals, furthestKnown: VersionTotals): boolean =>
  told.answers < furthestKnown.answers ||
  told.failures < furthestKnown.failures ||
  told.crashes < furthestKnown.crashes ||
  told.judged.requests < furthestKnown.judged.requests ||
  told.routed.requests < furthestKnown.routed.requests;
