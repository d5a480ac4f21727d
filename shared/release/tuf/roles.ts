/**
 * The four roles of The Update Framework as hub and device see them: their files, how long a signature is good, and how a file is
 * read. Whoever reads metadata here has its form checked; what it is worth, only a signature says.
 */
import {
  type Key,
  Metadata,
  MetadataKind,
  type Root,
  type Snapshot,
  type Targets,
  type Timestamp,
} from '@tufjs/models';
import { AppError } from '../../runtime/errors.ts';
import { fingerprintOf } from './public-keys.ts';

/** Roles in the order in which a device trusts them. */
export const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;
/** Role of The Update Framework: each signs one kind of metadata. */
export type Role = (typeof ROLES)[number];

const DAY_MS = 86_400_000;
/** How long a signature is good (docs/design/link.md 4). The rarer a key is used, the longer. */
export const LIFE_MS: Readonly<Record<Role, number>> = {
  root: 730 * DAY_MS,
  targets: 365 * DAY_MS,
  snapshot: 7 * DAY_MS,
  timestamp: DAY_MS,
};

/** The version of the specification that tuf-js 5 speaks. */
export const SPEC_VERSION = '1.0.31';

/** Largest file of each role, in bytes: an endless one is cut off there. tuf-js's own limits, said here so that both sides hold them. */
export const MAX_BYTES: Readonly<Record<Role, number>> = {
  root: 512_000,
  targets: 5_000_000,
  snapshot: 2_000_000,
  timestamp: 16_384,
};

/** Largest file of a delegated role, in bytes: some 2,000 files of versions. */
export const MAX_DELEGATED_BYTES = 1_000_000;
/** Delegated roles of a hub. tuf-js and python-tuf look into as many for one target. */
export const MAX_DELEGATED_ROLES = 32;
/** Keys of one role. */
export const MAX_ROLE_KEYS = 16;

/** Metadata that each role signs. */
export interface Signed {
  root: Metadata<Root>;
  targets: Metadata<Targets>;
  snapshot: Metadata<Snapshot>;
  timestamp: Metadata<Timestamp>;
}

/** Role whose file this is: `3.root.json`, `timestamp.json`. undefined for any other name. */
export function roleOf(fileName: string): Role | undefined {
  const name = /^(?:\d{1,16}\.)?(root|targets|snapshot|timestamp)\.json$/.exec(fileName)?.[1];
  return ROLES.find((role) => role === name);
}

/** Name of a delegated role: stands in file names and addresses, and never begins with a digit, which would change its place. */
export const DELEGATED_ROLE = /^(?!(?:root|targets|snapshot|timestamp)$)[a-z][a-z0-9-]{0,62}$/;

/** Delegated role whose file this is, as `3.acme.json`. undefined for any other name. */
export function delegatedRoleOf(fileName: string): string | undefined {
  const name = /^\d{1,16}\.([a-z][a-z0-9-]{0,62})\.json$/.exec(fileName)?.[1];
  return name !== undefined && DELEGATED_ROLE.test(name) ? name : undefined;
}

/** @throws UPDATE_UNTRUSTED when it is not metadata of this role */
export function parseMetadata<R extends Role>(role: R, body: Uint8Array): Signed[R] {
  try {
    const json = JSON.parse(Buffer.from(body).toString('utf8'));
    const metadata: Metadata<Root | Targets | Snapshot | Timestamp> = Metadata.fromJSON(
      MetadataKind[KINDS[role]] as MetadataKind.Root,
      json,
    );
    if (!Number.isSafeInteger(metadata.signed.version) || Number.isNaN(Date.parse(metadata.signed.expires)))
      throw new AppError('UPDATE_UNTRUSTED', `${role}.json: version or expiry is not valid`);
    return metadata as Signed[R];
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('UPDATE_UNTRUSTED', `${role}.json is not of the expected form`, { cause: error });
  }
}

const KINDS = { root: 'Root', targets: 'Targets', snapshot: 'Snapshot', timestamp: 'Timestamp' } as const;

/**
 * @param delegator who names the role's keys: the root, or the targets for a delegated role
 * @throws UPDATE_UNTRUSTED when too few of the role's keys have signed it; one key under two ids is one key (TUF 4.2.1)
 */
export function requireSigned(
  delegator: Signed['root'] | Signed['targets'],
  role: string,
  metadata: Signed[Role],
): void {
  try {
    delegator.verifyDelegate(role, metadata);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('UPDATE_UNTRUSTED', `${role}.json: ${why}`, { cause: error });
  }
  // `verifyDelegate` counts ids.
  const { keys, threshold } = signersOf(delegator, role);
  const signed = signersAmong(keys, metadata).size;
  if (signed < threshold)
    throw new AppError(
      'UPDATE_UNTRUSTED',
      `${role}.json was signed by ${signed} different keys, ${threshold} are wanted`,
    );
}

/** Keys of a role, and how many of them have to sign. None for a role that nobody knows. */
export function signersOf(
  delegator: Signed['root'] | Signed['targets'],
  role: string,
): { readonly keys: readonly Key[]; readonly threshold: number } {
  const of = 'roles' in delegator.signed ? delegator.signed : delegator.signed.delegations;
  const named = of?.roles && Object.hasOwn(of.roles, role) ? of.roles[role] : undefined;
  if (!of || !named) return { keys: [], threshold: 1 };
  return { keys: named.keyIDs.flatMap((id) => of.keys[id] ?? []), threshold: named.threshold };
}

/** Fingerprints of those keys that have signed it. */
export const signersAmong = (keys: readonly Key[], metadata: Signed[Role]): Set<string> =>
  new Set(keys.filter((key) => isSignedBy(key, metadata)).map(fingerprintOf));

/** Whether this key has signed it. */
export function isSignedBy(key: Key, metadata: Signed[Role]): boolean {
  try {
    key.verifySignature(metadata);
    return true;
  } catch {
    return false;
  }
}

/** Expiry of signed metadata, on the epoch clock. */
export const expiresAtMs = (metadata: Signed[Role]): number => Date.parse(metadata.signed.expires);

/** A timestamp is signed for a day: it says what time it was at the hub. */
export const signedAtMs = (timestamp: Signed['timestamp']): number =>
  expiresAtMs(timestamp) - LIFE_MS.timestamp;

/** TUF 4.2: UTC, to the second. */
export const isoTime = (atMs: number): string => new Date(atMs).toISOString().replace(/\.\d{3}Z$/, 'Z');

/** Bytes of signed metadata, as they lie on disk and travel. */
export const encodeMetadata = (metadata: Signed[Role]): Buffer =>
  Buffer.from(`${JSON.stringify(metadata.toJSON())}\n`);
