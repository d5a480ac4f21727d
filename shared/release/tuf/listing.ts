/** Versions among the signed targets: one target for each file, told apart by its path, described by its custom fields (TUF 4.5). */
import { isDeepStrictEqual } from 'node:util';
import { Metadata, TargetFile, Targets } from '@tufjs/models';
import { z } from 'zod';
import { type VersionFile, versionFile } from '../../contract/admin.ts';
import { MAX_VERSION_FILES } from '../../contract/limits.ts';
import { AppError } from '../../runtime/errors.ts';
import {
  consistentPath,
  type Release,
  type TargetCustom,
  targetCustom,
  targetPath,
  targetPrefix,
} from '../release.ts';
import { type Signed, SPEC_VERSION } from './roles.ts';

/** What the next targets are to say of themselves. */
export interface NextTargets {
  /** As ISO 8601. */
  readonly expires: string;
  /** Above that of the ones before. */
  readonly version: number;
}

/** Targets with the same content, not signed yet. */
export function nextTargets(
  { targets, delegations }: Targets,
  { expires, version }: NextTargets,
): Signed['targets'] {
  const next = { version, specVersion: SPEC_VERSION, expires, targets: { ...targets } };
  return new Metadata(new Targets({ ...next, ...(delegations && { delegations }) }));
}

/**
 * A version that is above everything that anybody has signed before, as long as nobody signs once a second: the seconds since 1970.
 * For whoever cannot know what devices have seen.
 */
export const versionAbove = (version: number, nowAtMs: number): number =>
  Math.max(version + 1, Math.floor(nowAtMs / 1_000));

/**
 * Targets of the next version that list these too, not signed yet. A version that is listed with its digest stays as it was signed.
 *
 * @returns undefined when all are listed
 * @throws CONFLICT (the same version with other files)
 */
export function targetsWith(
  targets: Targets,
  releases: readonly Release[],
  of: NextTargets,
): Signed['targets'] | undefined {
  const isMissing = (release: Release): boolean => !isListed(targets, release);
  const missing = releases.filter(isMissing);
  if (missing.length === 0) return undefined;
  const next = nextTargets(targets, of);
  for (const target of missing.flatMap(targetsOf)) next.signed.addTarget(target);
  return next;
}

/**
 * Targets of the next version without these, not signed yet.
 *
 * @returns undefined when none of them is listed
 */
export function targetsWithout(
  targets: Targets,
  refs: readonly { readonly name: string; readonly version: string }[],
  of: NextTargets,
): Signed['targets'] | undefined {
  const prefixes = refs.map(({ name, version }) => targetPrefix(name, version));
  const next = nextTargets(targets, of);
  const paths = Object.keys(next.signed.targets);
  const gone = paths.filter((path) => prefixes.some((prefix) => path.startsWith(prefix)));
  for (const path of gone) delete (next.signed.targets as Record<string, TargetFile>)[path];
  return gone.length === 0 ? undefined : next;
}

function isListed(targets: Targets, release: Release): boolean {
  const { ref } = release;
  const own = targetsOf(release);
  const there = own.filter(({ path }) => targets.targets[path]);
  if (there.length === 0) return false;
  const isEqual = (target: TargetFile): boolean =>
    isDeepStrictEqual(targets.targets[target.path]?.toJSON(), target.toJSON());
  if (own.every(isEqual)) return true;
  // Files that only travel may differ: who has signed for this digest has decided which.
  if (releaseIn(targets, ref.name, ref.version)?.ref.digest === ref.digest) return true;
  throw new AppError('CONFLICT', `${there[0]?.path} is listed already, with other content`);
}

/** A version's files as targets. */
function targetsOf({ ref, task, minAgentVersion, files }: Release): TargetFile[] {
  const { name, version, digest } = ref;
  const custom = {
    model: name,
    version,
    digest,
    task,
    ...(minAgentVersion !== undefined && { minAgentVersion }),
  } satisfies TargetCustom;
  return files.map(
    ({ path, sha256, bytes }) =>
      new TargetFile({
        path: targetPath(ref, path),
        length: bytes,
        hashes: { sha256 },
        unrecognizedFields: { custom: { ...custom } },
      }),
  );
}

/**
 * The version as the targets describe it.
 *
 * @returns undefined when it is not listed, or when its files do not agree about what they are of
 */
export function releaseIn(targets: Targets, name: string, version: string): Release | undefined {
  const prefix = targetPrefix(name, version);
  const files: VersionFile[] = [];
  let first: TargetCustom | undefined;
  for (const [path, target] of Object.entries(targets.targets)) {
    if (!path.startsWith(prefix)) continue;
    const custom = targetCustom.safeParse(target.custom);
    const file = versionFile.safeParse({
      path: path.slice(prefix.length),
      sha256: target.hashes.sha256,
      bytes: target.length,
    });
    if (!custom.success || !file.success) return undefined;
    first ??= custom.data;
    if (!isSame(custom.data, first)) return undefined;
    files.push(file.data);
  }
  if (!first || first.model !== name || first.version !== version || files.length > MAX_VERSION_FILES)
    return undefined;
  const { digest, task, minAgentVersion } = first;
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { ref: { name, version, digest }, task, minAgentVersion, files };
}

/** Releases that are listed, in no order. */
export function releasesIn(targets: Targets): Release[] {
  const named = new Map<string, TargetCustom>();
  for (const target of Object.values(targets.targets)) {
    const custom = targetCustom.safeParse(target.custom);
    if (custom.success) named.set(targetPrefix(custom.data.model, custom.data.version), custom.data);
  }
  return [...named.values()].flatMap(({ model, version }) => releaseIn(targets, model, version) ?? []);
}

/** Consistent path -> what lies there. */
export function contentOf(
  targets: Targets,
): Map<string, { readonly sha256: string; readonly bytes: number }> {
  return new Map(
    Object.entries(targets.targets).flatMap(([path, { hashes, length }]) => {
      const sha256 = z.string().safeParse(hashes.sha256).data;
      return sha256 === undefined ? [] : [[consistentPath(path, sha256), { sha256, bytes: length }] as const];
    }),
  );
}

function isSame(a: TargetCustom, b: TargetCustom): boolean {
  return (
    a.model === b.model &&
    a.version === b.version &&
    a.digest === b.digest &&
    a.task === b.task &&
    a.minAgentVersion === b.minAgentVersion
  );
}
