/** Metadata as the roles of this hub sign it: each says of the next which file of it counts (TUF 5.4 to 5.6). */
import { Metadata, MetaFile, Root, Snapshot, Targets, Timestamp } from '@tufjs/models';
import { AppError } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import { encodeMetadata, isoTime, LIFE_MS, ROLES, type Role, type Signed, SPEC_VERSION } from './roles.ts';
import type { SigningKey, SigningKeys } from './signing-keys.ts';

/** Metadata with the bytes that lie on disk. */
export interface SignedFile<R extends Role> {
  readonly metadata: Signed[R];
  readonly body: Buffer;
}

/** The metadata that counts now. */
export type Current = { readonly [R in Role]: SignedFile<R> } & {
  /** By delegated role: those that have signed anything yet. */
  readonly delegated: ReadonlyMap<string, SignedFile<'targets'>>;
};

/**
 * Root metadata, version 1, signed with its own key; it names the keys of all four roles.
 *
 * @throws INVARIANT_BROKEN when a role has no key
 */
export function firstRoot(keys: SigningKeys, nowAtMs: number): Current['root'] {
  const expires = isoTime(nowAtMs + LIFE_MS.root);
  const root = new Metadata(
    new Root({ version: 1, specVersion: SPEC_VERSION, expires, consistentSnapshot: true }),
  );
  for (const role of ROLES) {
    const key = keys[role];
    if (!key) throw new AppError('INVARIANT_BROKEN', `there is no key for ${role}`);
    root.signed.addKey(key.publicKey, role);
  }
  keys.root?.sign(root);
  return { metadata: root, body: encodeMetadata(root) };
}

/**
 * Targets metadata: every file that devices may trust, with length and digest.
 *
 * @param of `expires` as ISO 8601
 */
export function signedTargets(
  key: SigningKey,
  of: {
    readonly version: number;
    readonly expires: string;
    readonly targets: Targets['targets'];
    readonly delegations?: Targets['delegations'] | undefined;
  },
): Current['targets'] {
  const { delegations, ...rest } = of;
  const metadata = new Metadata(
    new Targets({ ...rest, specVersion: SPEC_VERSION, ...(delegations && { delegations }) }),
  );
  key.sign(metadata);
  return { metadata, body: encodeMetadata(metadata) };
}

/**
 * Snapshot metadata: which version of the targets metadata counts, and of each delegated role's.
 *
 * @param of `expires` as ISO 8601; `before`: what it has named goes on to be named, a device would take it for a rollback (TUF 5.5.5)
 */
export function signedSnapshot(
  key: SigningKey,
  of: {
    readonly version: number;
    readonly expires: string;
    readonly targets: Current['targets'];
    readonly delegated: Current['delegated'];
    readonly before: Signed['snapshot'] | undefined;
  },
): Current['snapshot'] {
  const { version, expires, targets, delegated, before } = of;
  const meta: Record<string, MetaFile> = { ...before?.signed.meta, 'targets.json': describe(targets) };
  for (const [role, file] of delegated) meta[`${role}.json`] = describe(file);
  const metadata = new Metadata(new Snapshot({ version, specVersion: SPEC_VERSION, expires, meta }));
  key.sign(metadata);
  return { metadata, body: encodeMetadata(metadata) };
}

/**
 * Timestamp metadata: which snapshot counts, signed again the most often.
 *
 * @param of `expires` as ISO 8601
 */
export function signedTimestamp(
  key: SigningKey,
  of: { readonly version: number; readonly expires: string; readonly snapshot: Current['snapshot'] },
): Current['timestamp'] {
  const { version, expires, snapshot } = of;
  const snapshotMeta = describe(snapshot);
  const metadata = new Metadata(new Timestamp({ version, specVersion: SPEC_VERSION, expires, snapshotMeta }));
  key.sign(metadata);
  return { metadata, body: encodeMetadata(metadata) };
}

/** With length and hash: nobody can put a file of another time in its place. */
const describe = ({ metadata, body }: SignedFile<'targets' | 'snapshot'>): MetaFile =>
  new MetaFile({
    version: metadata.signed.version,
    length: body.length,
    hashes: { sha256: sha256Hex(body) },
  });
