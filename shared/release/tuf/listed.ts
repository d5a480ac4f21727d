/** Versions over all who may list them: the targets first, then delegated roles in their order (TUF 5.6.7). */
import type { Release } from '../release.ts';
import { targetPrefix } from '../release.ts';
import { delegationsOf, matchesModel } from './delegations.ts';
import { contentOf, releaseIn, releasesIn } from './listing.ts';
import type { Signed } from './roles.ts';

/** Verified targets, and those of delegated roles that list their own models alone. */
export interface Listed {
  readonly targets: Signed['targets'];
  readonly delegated: ReadonlyMap<string, Signed['targets']>;
}

/**
 * Delegated role that has the say about a version that the targets do not list: the first with a fitting pattern, and no other.
 * undefined: none, or the targets say something of it.
 */
export function delegateOf(targets: Signed['targets'], name: string, version: string): string | undefined {
  const prefix = targetPrefix(name, version);
  if (Object.keys(targets.signed.targets).some((path) => path.startsWith(prefix))) return undefined;
  return delegationsOf(targets).find(({ models }) => matchesModel(models, name))?.role;
}

/** The version as it is listed; undefined when it is not, or not in one voice. */
export function findRelease(
  { targets, delegated }: Listed,
  name: string,
  version: string,
): Release | undefined {
  const role = delegateOf(targets, name, version);
  if (role === undefined) return releaseIn(targets.signed, name, version);
  const own = delegated.get(role);
  return own && releaseIn(own.signed, name, version);
}

/** Every version that a device may take. */
export function allReleases(listed: Listed): Release[] {
  const said = [listed.targets, ...listed.delegated.values()].flatMap(({ signed }) => releasesIn(signed));
  const refs = new Map(said.map(({ ref }) => [`${ref.name} ${ref.version}`, ref]));
  return [...refs.values()].flatMap(({ name, version }) => findRelease(listed, name, version) ?? []);
}

/** Consistent path -> what lies there. */
export const contentOfAll = ({ targets, delegated }: Listed): ReturnType<typeof contentOf> =>
  new Map([...[...delegated.values()].reverse(), targets].flatMap(({ signed }) => [...contentOf(signed)]));
