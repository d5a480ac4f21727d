/**
 * The least that a device accepts, kept apart from the metadata itself: with all local metadata torn, TUF alone would take an old
 * repository for new (docs/design/link.md 4). One small file, replaced atomically, raised before what raised it is used.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../../runtime/atomic-file.ts';
import { AppError, isAppError } from '../../runtime/errors.ts';
import { ROLES, type Role, type Signed, signedAtMs } from './roles.ts';

const FILE_NAME = 'floor.json';

const version = z.int().nonnegative();
/** Least versions that a device still accepts, on disk beside the metadata. */
const floor = z.object({
  schema: z.literal(1),
  /** SHA-256 of the root that was given at enrolment: with another one everything begins anew. */
  trustedRootSha256: z.string(),
  versions: z.object({ root: version, targets: version, snapshot: version, timestamp: version }),
  /** The ids of each role's keys, sorted. */
  keys: z.partialRecord(z.enum(ROLES), z.array(z.string())),
  /** By delegated role. */
  delegated: z.record(z.string(), z.object({ version, keys: z.array(z.string()) })).default({}),
  /** When the newest timestamp was signed, by the hub's clock: the time is at least that. */
  signedAtMs: z.number(),
});
export type Floor = z.infer<typeof floor>;

/** Floor of a device that has seen no metadata yet: everything under its trusted root is new enough. */
export const noFloor = (trustedRootSha256: string): Floor => ({
  schema: 1,
  trustedRootSha256,
  versions: { root: 0, targets: 0, snapshot: 0, timestamp: 0 },
  keys: {},
  delegated: {},
  signedAtMs: 0,
});

/** undefined when there is none, or a torn one: a device that refused to update for ever would be worse. */
export async function readFloor(folder: string): Promise<Floor | undefined> {
  try {
    return await readJson(join(folder, FILE_NAME), floor);
  } catch (error) {
    if (isAppError(error, 'DATA_CORRUPT')) return undefined;
    throw error;
  }
}

/** Writes the floor; it is on disk when this returns. @throws DISK_FULL */
export const writeFloor = (folder: string, value: Floor): Promise<void> =>
  writeJsonAtomic(join(folder, FILE_NAME), value);

/**
 * The floor after this metadata, which is verified.
 *
 * @throws UPDATE_OLDER when it lies below
 */
export function raise(before: Floor, found: Signed): Floor {
  const keys = Object.fromEntries(ROLES.map((role) => [role, keyIds(found.root, role)]));
  const versions = { ...before.versions };
  for (const role of ROLES) {
    const least = isRotated(before, keys, role) ? 0 : before.versions[role];
    const offered = found[role].signed.version;
    if (offered < least)
      throw new AppError(
        'UPDATE_OLDER',
        `${role}.json has version ${offered}, and version ${least} has been seen here before`,
      );
    versions[role] = offered;
  }
  return { ...before, versions, keys, signedAtMs: Math.max(before.signedAtMs, signedAtMs(found.timestamp)) };
}

/**
 * New keys of an online role mean that the old ones were lost to somebody, who may have run its numbers up (TUF 5.3.11). The root
 * itself only counts up.
 */
function isRotated(before: Floor, keys: Record<string, string[]>, role: Role): boolean {
  const of = { root: [], targets: ['targets', 'snapshot'], snapshot: ONLINE, timestamp: ONLINE } as const;
  return of[role].some((one) => before.keys[one] !== undefined && `${before.keys[one]}` !== `${keys[one]}`);
}

const ONLINE = ['snapshot', 'timestamp'] as const;

/** Whether another root has other keys for what is signed under it. */
export const hasOtherKeys = (before: Signed['root'], after: Signed['root']): boolean =>
  ROLES.some((role) => role !== 'root' && `${keyIds(before, role)}` !== `${keyIds(after, role)}`);

const keyIds = (root: Signed['root'], role: Role): string[] =>
  [...(root.signed.roles[role]?.keyIDs ?? [])].sort();
