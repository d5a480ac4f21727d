/** What people offer a hub's repository: whether it may follow what is in force. */
import { AppError } from '../../runtime/errors.ts';
import { delegationsOf, requireOwn } from './delegations.ts';
import {
  expiresAtMs,
  MAX_DELEGATED_BYTES,
  parseMetadata,
  type Role,
  requireSigned,
  type Signed,
  signersOf,
} from './roles.ts';
import type { SignedFile } from './signing.ts';

/** Numbers follow the seconds since 1970: a day ahead is somebody's clock, more is none. */
const MAX_VERSION_AHEAD = 86_400;

/**
 * The next root counts when the one before and it itself say so, and when the hub can go on signing under it.
 *
 * @param held ids of the keys of a role that the hub holds
 * @throws CONFLICT (not the next one), UPDATE_UNTRUSTED
 */
export function requireNextRoot(
  root: Signed['root'],
  before: Signed['root'],
  nowAtMs: number,
  held: (role: Role) => readonly (string | undefined)[],
): void {
  const { version, consistentSnapshot } = root.signed;
  if (version !== before.signed.version + 1)
    throw new AppError(
      'CONFLICT',
      `root.json has version ${version}, and ${before.signed.version} is in force: make this change anew`,
    );
  if (!consistentSnapshot)
    throw new AppError('UPDATE_UNTRUSTED', 'root.json does without consistent snapshots');
  if (expiresAtMs(root) <= nowAtMs)
    throw new AppError('UPDATE_UNTRUSTED', 'root.json has passed its expiry already');
  for (const role of ['snapshot', 'timestamp'] as const) {
    const { keys, threshold } = signersOf(root, role);
    if (!keys.some(({ keyID }) => held(role).includes(keyID)) || threshold !== 1)
      throw new AppError(
        'UPDATE_UNTRUSTED',
        `root.json names no key of ${role} that this hub holds: it could sign nothing any more`,
      );
  }
}

/**
 * Nobody runs the numbers up to where nobody could follow (TUF 5.3.11 is the way back from that).
 *
 * @param before the version that is in force
 * @throws UPDATE_UNTRUSTED
 */
export function requireNewer(
  role: string,
  { signed }: Signed['targets'],
  before: number,
  nowAtMs: number,
): void {
  const { version, expires } = signed;
  if (version <= before)
    throw new AppError('UPDATE_UNTRUSTED', `${role}.json has version ${version}; ${before} is in force`);
  const highest = Math.max(before, Math.floor(nowAtMs / 1_000)) + MAX_VERSION_AHEAD;
  if (version > highest)
    throw new AppError(
      'UPDATE_UNTRUSTED',
      `${role}.json has version ${version}, which leaves no room after it`,
    );
  if (Date.parse(expires) <= nowAtMs)
    throw new AppError('UPDATE_UNTRUSTED', `${role}.json has passed its expiry already`);
}

/**
 * What a delegated role has signed, read and checked: its own models alone.
 *
 * @throws NOT_FOUND (nobody has named the role), UPDATE_UNTRUSTED
 */
export function delegatedFrom(
  role: string,
  targets: Signed['targets'],
  body: Uint8Array,
  lastVersion: number,
  nowAtMs: number,
): Signed['targets'] {
  const delegation = delegationsOf(targets).find((one) => one.role === role);
  if (!delegation) throw new AppError('NOT_FOUND', `there is no delegation ${role}`);
  if (body.length > MAX_DELEGATED_BYTES)
    throw new AppError('UPDATE_UNTRUSTED', `${role}.json is over ${MAX_DELEGATED_BYTES} bytes`);
  const offered = parseMetadata('targets', body);
  requireSigned(targets, role, offered);
  requireOwn(delegation, offered);
  requireNewer(role, offered, lastVersion, nowAtMs);
  return offered;
}

/** Of the delegated metadata what these targets still trust; what they do not is told, for another key has to sign it anew. */
export function stillSigned(
  targets: Signed['targets'],
  delegated: ReadonlyMap<string, SignedFile<'targets'>>,
  tell: (role: string, error: unknown) => void,
): Map<string, SignedFile<'targets'>> {
  const still = new Map<string, SignedFile<'targets'>>();
  for (const delegation of delegationsOf(targets)) {
    const file = delegated.get(delegation.role);
    if (!file) continue;
    try {
      requireSigned(targets, delegation.role, file.metadata);
      requireOwn(delegation, file.metadata);
      still.set(delegation.role, file);
    } catch (error) {
      tell(delegation.role, error);
    }
  }
  return still;
}
