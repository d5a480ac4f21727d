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

/** @throws UPDATE_UNTRUSTED when too few of the role's keys have signed it; one key under two ids is one key (TUF 4.2.1) */
export function requireSigned(root: Signed['root'], role: Role, metadata: Signed[Role]): void {
  try {
    root.verifyDelegate(role, metadata);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('UPDATE_UNTRUSTED', `${role}.json: ${why}`, { cause: error });
  }
  // `verifyDelegate` counts ids.
  const { keyIDs = [], threshold = 1 } = root.signed.roles[role] ?? {};
  const signers = new Set(
    keyIDs.flatMap((id) => {
      const key = root.signed.keys[id];
      return key && isSignedBy(key, metadata) ? [`${key.keyType} ${key.keyVal.public}`] : [];
    }),
  );
  if (signers.size < threshold)
    throw new AppError(
      'UPDATE_UNTRUSTED',
      `${role}.json was signed by ${signers.size} different keys, ${threshold} are wanted`,
    );
}

function isSignedBy(key: Key, metadata: Signed[Role]): boolean {
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
