/**
 * What the devices of the fleet have seen of each pair of models, and what a device that knows nothing of one may start from. READ THIS FIRST.
 *
 *   counters of a device (told.ts: within what can be) -> here, its newest word on each pair; kept in a file
 *   a device that is still learning -> start.ts: a threshold by what the others have seen -> its desired state
 *
 * A device that is revoked, has not been heard for a month, or whose router has noticed a drift does not count (any more).
 */
import { join } from 'node:path';
import { z } from 'zod';
import {
  type EvidenceStatus,
  type FleetStart,
  type FleetThreshold,
  MAX_KNOWN_PAIRS,
  MAX_PAIRS,
  MAX_THRESHOLDS,
  type PairEvidence,
  pairEvidence,
} from '../../shared/contract/fleet-evidence.ts';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { KeptFile } from '../../shared/runtime/kept-file.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { FleetPromise, FleetStarts } from '../ports.ts';
import { ByPair, keyOf } from './by-pair.ts';
import { findStart, hasSeenEnough } from './start.ts';
import { boundedEvidence } from './told.ts';

/** Where it is kept, and who counts. */
export interface FleetEvidenceOptions {
  /** The hub's own. */
  readonly folder: string;
  /** Whether the device is one of ours, with a credential that is good. */
  readonly isActive: (deviceId: string) => boolean;
  /** Other starts are to be had than before. */
  readonly onNews: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** So long a world stays as it is, unless a router notices otherwise. */
const MAX_AGE_MS = 30 * 24 * 3_600_000;
/** More would say nothing new; those that were heard last. */
const MAX_COUNTED = 500;
/** What has grown less says the same. */
const NEWS_AT = 1.1;
/** Devices tell much at a time; and who waits for a start is told again no more often than this. */
const GATHER_MS = 1_000;
const NEWS_EVERY_MS = 30_000;
const FILE_NAME = 'pairs.json';

const stored = pairEvidence.extend({ heardAtMs: z.number() });
type Stored = z.infer<typeof stored>;
const fileOf = z.object({
  schema: z.literal(1),
  devices: z.record(z.string(), z.array(stored).max(MAX_PAIRS)),
});

/** What was found for each promise, and of how much evidence. */
interface Found {
  readonly requests: number;
  readonly devices: number;
  readonly thresholds: Map<string, FleetThreshold | undefined>;
}

/** Evidence of the fleet about pairs of models. */
export class FleetEvidence implements FleetStarts, Part {
  readonly #o: FleetEvidenceOptions;
  readonly #file: KeptFile;
  /** By device; the newest word first. */
  readonly #devices = new Map<string, readonly Stored[]>();
  readonly #pairs = new ByPair<Stored>();
  /** By pair and way of comparing; of those that somebody has asked for. */
  readonly #found = new Map<string, Found>();
  #cancelNews: (() => void) | undefined;
  #newsMonoMs = Number.NEGATIVE_INFINITY;

  constructor(options: FleetEvidenceOptions) {
    this.#o = options;
    this.#file = new KeptFile({
      path: join(options.folder, FILE_NAME),
      content: () => ({ schema: 1, devices: Object.fromEntries(this.#devices) }),
      onFailed: (error) => options.logger.failure('fleet_evidence.not_saved', error),
      clock: options.clock,
    });
  }

  /** A file that cannot be read is none: devices tell again within the hour. */
  async start(): Promise<void> {
    const path = join(this.#o.folder, FILE_NAME);
    try {
      const found = await readJson(path, fileOf);
      for (const [id, pairs] of Object.entries(found?.devices ?? {})) this.#set(id, pairs);
    } catch (error) {
      this.#o.logger.failure('fleet_evidence.unreadable', error, { path });
    }
    this.#file.start();
  }

  stop(): Promise<void> {
    this.#cancelNews?.();
    return this.#file.stop();
  }

  take(deviceId: string, told: readonly PairEvidence[]): void {
    if (told.length === 0) return;
    const heardAtMs = this.#o.clock.nowAtMs();
    const keys = new Set(told.map(keyOf));
    const others = (this.#devices.get(deviceId) ?? []).filter((one) => !keys.has(keyOf(one)));
    this.#set(deviceId, [...told.map((one) => ({ ...boundedEvidence(one), heardAtMs })), ...others]);
    this.#file.changed();
    for (const one of told) this.#look(one);
  }

  /** The device is gone, and what it has said with it. */
  forget(deviceId: string): void {
    const pairs = this.#devices.get(deviceId);
    if (!pairs) return;
    this.#set(deviceId, []);
    this.#file.changed();
    for (const one of pairs) this.#look(one);
  }

  startsFor(promises: readonly FleetPromise[]): FleetStart[] {
    const starts = new Map<string, FleetStart>();
    for (const { edgeDigest, cloudDigest, agreement, confidence } of promises)
      for (const comparedBy of this.#pairs.waysOf({ edgeDigest, cloudDigest })) {
        const pair = { edgeDigest, cloudDigest, comparedBy };
        const threshold = this.#thresholdFor(pair, { agreement, confidence });
        const known = starts.get(keyOf(pair))?.thresholds ?? [];
        if (threshold && !known.includes(threshold) && known.length < MAX_THRESHOLDS)
          starts.set(keyOf(pair), { ...pair, thresholds: [...known, threshold] });
      }
    return [...starts.values()].slice(0, MAX_PAIRS);
  }

  /** How much there is of it. */
  sight(): Pick<EvidenceStatus, 'pairs' | 'known'> {
    const counted = [...this.#devices].flatMap(([id, pairs]) =>
      pairs.filter((one) => this.#counts(id, one)).map((one) => ({ id, ...one })),
    );
    const known = new Map<string, EvidenceStatus['known'][number]>();
    for (const { edgeDigest, cloudDigest, comparedBy, requests } of counted) {
      const pair = { edgeDigest, cloudDigest, comparedBy };
      const before = known.get(keyOf(pair)) ?? { devices: 0, requests: 0 };
      known.set(keyOf(pair), {
        ...pair,
        ...{ devices: before.devices + 1, requests: before.requests + requests },
      });
    }
    return {
      pairs: {
        devices: new Set(counted.map(({ id }) => id)).size,
        subjects: known.size,
        oldestAtMs: oldestOf(counted.map(({ heardAtMs }) => heardAtMs)),
      },
      known: [...known.values()].sort((one, other) => other.devices - one.devices).slice(0, MAX_KNOWN_PAIRS),
    };
  }

  #set(deviceId: string, pairs: readonly Stored[]): void {
    for (const one of this.#devices.get(deviceId) ?? []) this.#pairs.remove(deviceId, one);
    const kept = pairs.slice(0, MAX_PAIRS);
    if (kept.length === 0) this.#devices.delete(deviceId);
    else this.#devices.set(deviceId, kept);
    for (const one of kept) this.#pairs.add(deviceId, one);
  }

  #thresholdFor(
    pair: Parameters<ByPair<Stored>['of']>[0],
    promise: Pick<FleetPromise, 'agreement' | 'confidence'>,
  ): FleetThreshold | undefined {
    const evidence = this.#countedOf(pair);
    const found = this.#found.get(keyOf(pair)) ?? { ...sizeOf(evidence), thresholds: new Map() };
    this.#found.set(keyOf(pair), found);
    const name = `${promise.agreement} ${promise.confidence}`;
    if (!found.thresholds.has(name)) {
      const start = findStart(evidence, promise);
      found.thresholds.set(name, start && { ...promise, ...start });
    }
    return found.thresholds.get(name);
  }

  /** What was found of less, or of others, is found again. */
  #look(pair: Parameters<ByPair<Stored>['of']>[0]): void {
    const found = this.#found.get(keyOf(pair));
    if (!found) return;
    const { devices, requests } = sizeOf(this.#countedOf(pair));
    const isSame =
      devices === found.devices && requests >= found.requests && requests < NEWS_AT * found.requests;
    if (isSame && devices > 0) return;
    this.#found.delete(keyOf(pair));
    this.#news();
  }

  #news(): void {
    const { clock, onNews } = this.#o;
    const waitMs = Math.max(GATHER_MS, this.#newsMonoMs + NEWS_EVERY_MS - clock.nowMonoMs());
    this.#cancelNews ??= clock.after(waitMs, () => {
      this.#cancelNews = undefined;
      this.#newsMonoMs = clock.nowMonoMs();
      onNews();
    });
  }

  /** Those of the devices that have seen enough of it, and are to be believed. */
  #countedOf(pair: Parameters<ByPair<Stored>['of']>[0]): Stored[] {
    return [...this.#pairs.of(pair)]
      .filter(([id, one]) => this.#counts(id, one))
      .map(([, one]) => one)
      .sort((one, other) => other.heardAtMs - one.heardAtMs)
      .slice(0, MAX_COUNTED);
  }

  #counts(deviceId: string, one: Stored): boolean {
    const isRecent = one.heardAtMs >= this.#o.clock.nowAtMs() - MAX_AGE_MS;
    return isRecent && hasSeenEnough(one) && this.#o.isActive(deviceId);
  }
}

const oldestOf = (times: readonly number[]): number | null =>
  times.reduce<number | null>((oldest, one) => (oldest === null ? one : Math.min(oldest, one)), null);

const sizeOf = (evidence: readonly Stored[]): Pick<Found, 'devices' | 'requests'> => ({
  devices: evidence.length,
  requests: evidence.reduce((sum, { requests }) => sum + requests, 0),
});
