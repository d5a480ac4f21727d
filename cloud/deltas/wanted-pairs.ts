/** Between which versions deltas are worth making: from those that devices really have, and the one before, to those that they are to have. */
import type { DeviceRecord, VersionFile } from '../../shared/contract/admin.ts';
import { DELTA_KINDS, type DeltaKind } from '../../shared/contract/deltas.ts';
import type { ModelRef } from '../../shared/contract/names.ts';

/** Records by which it is told. */
export interface PairFacts {
  readonly devices: readonly Pick<DeviceRecord, 'id' | 'reported'>[];
  /** What a device is told to run. */
  wantedBy(deviceId: string): readonly ModelRef[];
  /** All versions that are recorded, those of one model in the order of their numbers. */
  readonly versions: readonly (ModelRef & { readonly published: boolean })[];
}

/** Two versions of one model. */
interface VersionPair {
  readonly base: ModelRef;
  readonly result: ModelRef;
}

/** Two versions, and the kinds of deltas that are worth making between them; undefined: one that every agent can read. */
export interface WantedPair extends VersionPair {
  readonly kinds: readonly (DeltaKind | undefined)[];
}

/** A delta to each file of a small change is made from so many versions at most. */
const MAX_BASES = 4;

/**
 * Pairs of versions, the most devices first.
 *
 * @param next versions that are about to be published: devices will want them
 */
export function wantedPairs(facts: PairFacts, next: readonly ModelRef[]): WantedPair[] {
  const held = heldBy(facts.devices);
  const counts = new Map<string, { readonly pair: VersionPair; count: number }>();
  const add = (base: ModelRef, result: ModelRef, count: number): void => {
    if (base.name !== result.name || base.digest === result.digest) return;
    const key = `${base.digest} ${result.digest}`;
    const known = counts.get(key);
    if (known) known.count += count;
    else counts.set(key, { pair: { base, result }, count });
  };
  for (const { id, refs } of held)
    for (const result of facts.wantedBy(id)) for (const base of refs) add(base, result, 1);
  for (const result of newest(facts, next)) {
    for (const { refs } of held) for (const base of refs) add(base, result, 1);
    const before = facts.versions.filter(
      ({ name, version }) => name === result.name && Number(version) < Number(result.version),
    );
    const last = before.at(-1);
    // What a chain of deltas goes over, for devices that report later.
    if (last) add(last, result, 0);
  }
  const bases = new Map<string, number>();
  return [...counts.values()]
    .sort((a, b) => b.count - a.count)
    .filter(({ pair }) => {
      const { digest } = pair.result;
      const before = bases.get(digest) ?? 0;
      bases.set(digest, before + 1);
      return before < MAX_BASES;
    })
    .map(({ pair }) => ({ ...pair, kinds: kindsFor(facts.devices, pair.base.name) }));
}

/** What the devices that run any version of the model can read; nobody does yet: what today's agents can. A chain is as good as its links. */
function kindsFor(devices: PairFacts['devices'], model: string): WantedPair['kinds'] {
  const told = devices
    .filter(({ reported }) => reported?.pipelines.some(({ edge }) => edge?.name === model))
    .map(({ reported }) => reported?.deltaKinds ?? []);
  const kinds = DELTA_KINDS.filter((kind) => told.length === 0 || told.some((one) => one.includes(kind)));
  return told.some((one) => !DELTA_KINDS.every((kind) => one.includes(kind))) ? [...kinds, undefined] : kinds;
}

/** What each device says that it runs. */
function heldBy(
  devices: PairFacts['devices'],
): { readonly id: string; readonly refs: readonly ModelRef[] }[] {
  return devices.map(({ id, reported }) => ({
    id,
    refs: (reported?.pipelines ?? []).flatMap(({ edge }) => edge ?? []),
  }));
}

/** Of each model the newest version that is published, and those that are about to be. */
function newest({ versions }: PairFacts, next: readonly ModelRef[]): ModelRef[] {
  const found = new Map<string, ModelRef>();
  for (const one of versions) if (one.published) found.set(one.name, one);
  return [...next, ...found.values()];
}

/** Files of two versions that a delta may be made between. */
export interface FileJob {
  readonly base: VersionFile;
  readonly result: VersionFile;
}

/** A smaller file costs less than asking for it. */
const MIN_FILE_BYTES = 64 * 1024;

/** The files that the result's version has and the base's has not, each with what is most likely like it there. */
export function filePairs(base: readonly VersionFile[], result: readonly VersionFile[]): FileJob[] {
  const there = new Set(base.map(({ sha256 }) => sha256));
  const large = base.filter(({ bytes }) => bytes >= MIN_FILE_BYTES);
  return result.flatMap((file) => {
    if (file.bytes < MIN_FILE_BYTES || there.has(file.sha256)) return [];
    const named = large.find(({ path }) => path === file.path);
    // Renamed: the one of its kind that is nearest in size.
    const alike = large
      .filter(({ path }) => extensionOf(path) === extensionOf(file.path))
      .sort((a, b) => Math.abs(a.bytes - file.bytes) - Math.abs(b.bytes - file.bytes));
    const like = named ?? alike[0];
    return like ? { base: like, result: file } : [];
  });
}

const extensionOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
