/** Makes the next root and the next targets, not signed yet: other keys, other thresholds, other delegations, or only a later expiry. */
import { type Key, Metadata, Root, Targets } from '@tufjs/models';
import {
  type Delegation,
  delegationsOf,
  delegationsWith,
  keysJson,
  requireThreshold,
} from './delegations.ts';
import { nextTargets, versionAbove } from './listing.ts';
import { isoTime, LIFE_MS, ROLES, type Role, type Signed, SPEC_VERSION, signersOf } from './roles.ts';

/** Keys of a role, and how many of them have to sign. */
export interface Signers {
  readonly keys: readonly Key[];
  readonly threshold: number;
}

/**
 * The root that follows, with these keys in the place of those before.
 *
 * @throws PARAMETERS_INVALID: a threshold that nobody could meet
 */
export function nextRoot(
  root: Signed['root'],
  changes: Partial<Readonly<Record<Role, Signers>>>,
  nowAtMs: number,
): Signed['root'] {
  const signers = ROLES.map((role) => ({ role, ...(changes[role] ?? signersOf(root, role)) }));
  for (const { role, keys, threshold } of signers) requireThreshold(role, keys, threshold);
  const json = {
    ...{ _type: 'root', spec_version: SPEC_VERSION, version: root.signed.version + 1 },
    expires: isoTime(nowAtMs + LIFE_MS.root),
    consistent_snapshot: true,
    keys: keysJson(signers.flatMap(({ keys }) => keys)),
    roles: Object.fromEntries(
      signers.map(({ role, keys, threshold }) => [
        role,
        { keyids: [...new Set(keys.map(({ keyID }) => keyID))], threshold },
      ]),
    ),
  };
  return new Metadata(Root.fromJSON(json as Parameters<typeof Root.fromJSON>[0]));
}

/** The same targets, to be signed anew; with other delegations where they are given. @throws PARAMETERS_INVALID */
export function targetsAgain(
  targets: Signed['targets'],
  nowAtMs: number,
  change: (all: Delegation[]) => readonly Delegation[] = (all) => all,
): Signed['targets'] {
  const next = nextTargets(targets.signed, {
    expires: isoTime(nowAtMs + LIFE_MS.targets),
    version: versionAbove(targets.signed.version, nowAtMs),
  });
  const delegations = delegationsWith(change(delegationsOf(targets)));
  const { delegations: _before, ...json } = next.signed.toJSON();
  return new Metadata(Targets.fromJSON({ ...json, ...(delegations && { delegations }) } as typeof json));
}
