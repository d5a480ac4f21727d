/**
 * The repository as it lies on disk: which files are whole and signed, and what a crash has kept from being written. Only reads.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import { readIfThere } from '../../runtime/read-file.ts';
import {
  isoTime,
  LIFE_MS,
  parseMetadata,
  ROLES,
  type Role,
  requireSigned,
  roleOf,
  type Signed,
  signedAtMs,
} from './roles.ts';
import { type Current, firstRoot, signedSnapshot, signedTargets, signedTimestamp } from './signing.ts';
import type { SigningKey, SigningKeys } from './signing-keys.ts';

interface MetadataFile {
  readonly name: string;
  readonly role: Role;
  /** 0 for timestamp.json. */
  readonly version: number;
}

/** Repository on disk as a start finds it. */
export interface Found {
  readonly initialRoot: string;
  readonly current: Current;
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
      const role = roleOf(name);
      return role === undefined ? [] : [{ name, role, version: Number.parseInt(name, 10) || 0 }];
    })
    .sort((a, b) => a.version - b.version);
}

/** Current metadata: what counts, or will count once `#finish` has written it. */
export async function findCurrent({
  files,
  metadataFolder,
  keys,
  nowAtMs,
}: {
  readonly files: readonly MetadataFile[];
  readonly metadataFolder: string;
  readonly keys: SigningKeys;
  readonly nowAtMs: number;
}): Promise<Found> {
  const newest = <R extends Role>(role: R, root?: Signed['root']): Promise<Current[R] | undefined> =>
    newestOf(role, { files, metadataFolder, root });
  const root = (await newest('root')) ?? firstRoot(keys, nowAtMs);
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
    const isTrusted = found && root.metadata.signed.roles[role]?.keyIDs.includes(found.id);
    if (!isTrusted) throw new AppError('DATA_CORRUPT', `keys/${role}.pem is not the key that the root names`);
    return found;
  };
  for (const role of ROLES) if (keys[role] || role === 'snapshot' || role === 'timestamp') key(role);

  const isNewestTargets = onDisk.targets?.metadata.signed.version === highest('targets');
  // Devices have seen the number of one that is torn now: go on behind it.
  const targets =
    onDisk.targets && (isNewestTargets || !keys.targets)
      ? onDisk.targets
      : signedTargets(key('targets'), {
          version: highest('targets') + 1,
          expires: end('targets'),
          targets: onDisk.targets?.metadata.signed.targets ?? {},
        });
  const isSnapshotOf =
    onDisk.snapshot?.metadata.signed.version === highest('snapshot') &&
    onDisk.snapshot.metadata.signed.meta['targets.json']?.hashes?.sha256 === sha256Hex(targets.body);
  const snapshot =
    isSnapshotOf && onDisk.snapshot
      ? onDisk.snapshot
      : signedSnapshot(key('snapshot'), {
          version: highest('snapshot') + 1,
          expires: end('snapshot'),
          targets,
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
    current: { root, targets, snapshot, timestamp },
    isWhole: isStamped && isSnapshotOf,
  };
}

/** The newest file of the role that is whole and signed; without `root`, one that vouches for itself. */
async function newestOf<R extends Role>(
  role: R,
  of: {
    readonly files: readonly MetadataFile[];
    readonly metadataFolder: string;
    readonly root: Signed['root'] | undefined;
  },
): Promise<Current[R] | undefined> {
  const own = of.files.filter((file) => file.role === role);
  for (const { name, version } of own.reverse()) {
    try {
      const body = await readFile(join(of.metadataFolder, name));
      const metadata = parseMetadata(role, body);
      requireSigned(of.root ?? (metadata as Signed['root']), role, metadata);
      if (role === 'timestamp' || metadata.signed.version === version)
        return { metadata, body } as unknown as Current[R];
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // Torn, or not ours: the one before it counts.
    }
  }
  if (role === 'root' && own.length > 0)
    throw new AppError('DATA_CORRUPT', `no root metadata in ${of.metadataFolder} can be read`);
  return undefined;
}
