/**
 * The repository as it lies on disk: which files are whole and signed, and what a crash has kept from being written. Only reads.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import { readIfThere } from '../../runtime/read-file.ts';
import { delegationsOf } from './delegations.ts';
import {
  delegatedRoleOf,
  isoTime,
  LIFE_MS,
  parseMetadata,
  ROLES,
  type Role,
  requireSigned,
  roleOf,
  type Signed,
  signedAtMs,
  signersOf,
} from './roles.ts';
import {
  type Current,
  firstRoot,
  type SignedFile,
  signedSnapshot,
  signedTargets,
  signedTimestamp,
} from './signing.ts';
import type { SigningKey, SigningKeys } from './signing-keys.ts';

interface MetadataFile {
  readonly name: string;
  /** A delegated one, too. */
  readonly role: string;
  /** 0 for timestamp.json. */
  readonly version: number;
}

/** Repository on disk as a start finds it. */
export interface Found {
  readonly initialRoot: string;
  readonly current: Current;
  /** Those that the root names. */
  readonly keys: SigningKeys;
  /** False: `current` is not on disk as a whole yet. */
  readonly isWhole: boolean;
}

/** Metadata files of the folder, oldest first. */
export async function filesIn(folder: string): Promise<MetadataFile[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  return names
    .flatMap((name) => {
      const role = roleOf(name) ?? delegatedRoleOf(name);
      return role === undefined ? [] : [{ name, role, version: Number.parseInt(name, 10) || 0 }];
    })
    .sort((a, b) => a.version - b.version);
}

/** Current metadata: what counts, or will count once `#finish` has written it. */
export async function findCurrent({
  files,
  metadataFolder,
  given,
  nowAtMs,
}: {
  readonly files: readonly MetadataFile[];
  readonly metadataFolder: string;
  /** In the folder of keys. */
  readonly given: { readonly keys: SigningKeys; readonly next: SigningKeys };
  readonly nowAtMs: number;
}): Promise<Found> {
  const newest = <R extends Role>(role: R, root?: Signed['root']): Promise<SignedFile<R> | undefined> =>
    newestOf(role, { files, metadataFolder, root });
  const root = (await newest('root')) ?? firstRoot(given.keys, nowAtMs);
  const keys = await keysUnder(root.metadata, { ...given, files, metadataFolder });
  const onDisk = {
    targets: await newest('targets', root.metadata),
    snapshot: await newest('snapshot', root.metadata),
    timestamp: await newest('timestamp', root.metadata),
  };
  const signedBefore = onDisk.timestamp ? signedAtMs(onDisk.timestamp.metadata) : 0;
  const end = (role: Role): string => isoTime(Math.max(nowAtMs, signedBefore) + LIFE_MS[role]);
  const highest = (role: Role): number => files.filter((one) => one.role === role).at(-1)?.version ?? 0;

  const key = (role: Role): SigningKey => {
    const found = keys[role];
    if (!found) throw new AppError('DATA_CORRUPT', `keys/${role}.pem is not the key that the root names`);
    return found;
  };
  key('snapshot');
  key('timestamp');

  const isNewestTargets = onDisk.targets?.metadata.signed.version === highest('targets');
  // Devices have seen the number of one that is torn now: go on behind it.
  const targets =
    onDisk.targets && (isNewestTargets || !canSign(root.metadata, 'targets', keys))
      ? onDisk.targets
      : signedTargets(key('targets'), {
          version: highest('targets') + 1,
          expires: end('targets'),
          targets: onDisk.targets?.metadata.signed.targets ?? {},
          delegations: onDisk.targets?.metadata.signed.delegations,
        });
  const delegated = new Map<string, SignedFile<'targets'>>();
  for (const { role } of delegationsOf(targets.metadata)) {
    const file = await newestDelegated(role, { files, metadataFolder, root: targets.metadata });
    if (file) delegated.set(role, file);
  }
  const isNamed = (role: string, body: Buffer): boolean =>
    onDisk.snapshot?.metadata.signed.meta[`${role}.json`]?.hashes?.sha256 === sha256Hex(body);
  const isSnapshotOf =
    onDisk.snapshot?.metadata.signed.version === highest('snapshot') &&
    isNamed('targets', targets.body) &&
    [...delegated].every(([role, { body }]) => isNamed(role, body));
  const snapshot =
    isSnapshotOf && onDisk.snapshot
      ? onDisk.snapshot
      : signedSnapshot(key('snapshot'), {
          version: highest('snapshot') + 1,
          expires: end('snapshot'),
          ...{ targets, delegated, before: onDisk.snapshot?.metadata },
        });
  const isStamped =
    onDisk.timestamp?.metadata.signed.snapshotMeta.hashes?.sha256 === sha256Hex(snapshot.body);
  // Seconds since 1970 are more than anybody has signed: devices have seen the number of the one that was lost.
  const afterLost = highest('snapshot') === 0 ? 1 : Math.floor(nowAtMs / 1_000);
  const timestampVersion = onDisk.timestamp ? onDisk.timestamp.metadata.signed.version + 1 : afterLost;
  const timestamp =
    isStamped && onDisk.timestamp
      ? onDisk.timestamp
      : signedTimestamp(key('timestamp'), {
          version: timestampVersion,
          expires: end('timestamp'),
          snapshot,
        });
  const initial = await readIfThere(join(metadataFolder, '1.root.json'));
  if (!initial && files.length > 0 && root.metadata.signed.version > 1)
    throw new AppError('DATA_CORRUPT', 'metadata/1.root.json is missing: devices are given it at enrolment');
  return {
    initialRoot: (initial ?? root.body).toString('utf8'),
    current: { root, targets, snapshot, timestamp, delegated },
    keys,
    isWhole: isStamped && isSnapshotOf,
  };
}

/** The newest file of the role that is whole and signed; without `root`, one that vouches for itself. */
async function newestOf<R extends Role>(role: R, of: Searched): Promise<SignedFile<R> | undefined> {
  const found = await newestFile(role, role, of);
  if (!found && role === 'root' && of.files.some((file) => file.role === role))
    throw new AppError('DATA_CORRUPT', `no root metadata in ${of.metadataFolder} can be read`);
  return found;
}

/** That of a delegated role. */
const newestDelegated = (role: string, of: Searched): Promise<SignedFile<'targets'> | undefined> =>
  newestFile(role, 'targets', of);

interface Searched {
  readonly files: readonly MetadataFile[];
  readonly metadataFolder: string;
  /** Who names the keys. */
  readonly root: Signed['root'] | Signed['targets'] | undefined;
}

async function newestFile<R extends Role>(
  role: string,
  kind: R,
  { files, metadataFolder, root }: Searched,
): Promise<SignedFile<R> | undefined> {
  const own = files.filter((file) => file.role === role);
  for (const { name, version } of own.reverse()) {
    try {
      const body = await readFile(join(metadataFolder, name));
      const metadata = parseMetadata(kind, body);
      requireSigned(root ?? (metadata as Signed['root']), role, metadata);
      if (role === 'timestamp' || metadata.signed.version === version) return { metadata, body };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // Torn, or not ours: the one before it counts.
    }
  }
  return undefined;
}

/** Whether this hub alone can sign for the role. */
export const canSign = (root: Signed['root'], role: Role, keys: SigningKeys): boolean =>
  keys[role] !== undefined && signersOf(root, role).threshold === 1;

/**
 * The keys of the folder that this root names, one that waited included: a crash may have come between the root and the folder.
 *
 * @throws DATA_CORRUPT for one that no root has ever named
 */
async function keysUnder(
  root: Signed['root'],
  of: {
    readonly keys: SigningKeys;
    readonly next: SigningKeys;
    readonly files: readonly MetadataFile[];
    readonly metadataFolder: string;
  },
): Promise<SigningKeys> {
  const named: SigningKeys = {};
  for (const role of ROLES) {
    const found = [of.next[role], of.keys[role]].find((key) => key && isNamedIn(root, role, key));
    if (found) named[role] = found;
    const key = of.keys[role];
    if (!key || found || (await wasNamed(role, key, of))) continue;
    throw new AppError('DATA_CORRUPT', `keys/${role}.pem is not the key that the root names`);
  }
  return named;
}

const isNamedIn = (root: Signed['root'], role: Role, key: SigningKey): boolean =>
  signersOf(root, role).keys.some(({ keyID }) => keyID === key.id);

/** Whether a root before this one has named it. */
async function wasNamed(
  role: Role,
  key: SigningKey,
  { files, metadataFolder }: { readonly files: readonly MetadataFile[]; readonly metadataFolder: string },
): Promise<boolean> {
  for (const { name } of files.filter((file) => file.role === 'root')) {
    const body = await readIfThere(join(metadataFolder, name));
    if (!body) continue;
    try {
      if (isNamedIn(parseMetadata('root', body), role, key)) return true;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    }
  }
  return false;
}
