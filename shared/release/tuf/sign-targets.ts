/**
 * Signs for a version where the hub cannot: on the machine of whoever keeps the key of targets, or of a delegation. The hub is believed
 * nothing. What it says is listed counts only because this key has signed it before; else it could have anything signed.
 */
import type { Targets } from '@tufjs/models';
import type { Clock } from '../../runtime/clock.ts';
import { AppError } from '../../runtime/errors.ts';
import type { Release } from '../release.ts';
import { emptyTargets } from './delegations.ts';
import { type NextTargets, targetsWith, targetsWithout, versionAbove } from './listing.ts';
import { encodeMetadata, isoTime, isSignedBy, LIFE_MS, parseMetadata, type Signed } from './roles.ts';
import type { Signer, SigningKey } from './signing-keys.ts';

/** What a holder of keys does to what is listed; undefined: it is so already. */
export type Edit = (targets: Targets, of: NextTargets) => Signed['targets'] | undefined;

/** Lists this version, too. @throws CONFLICT (the same version with other files) */
export const listing =
  (release: Release): Edit =>
  (targets, of) =>
    targetsWith(targets, [release], of);

/** Lists these no more. */
export const delisting =
  (refs: readonly { readonly name: string; readonly version: string }[]): Edit =>
  (targets, of) =>
    targetsWithout(targets, refs, of);

/**
 * The metadata that follow, good for a year, not signed yet.
 *
 * @param body those in force; undefined: a delegated role has signed nothing yet
 * @returns undefined when there is nothing to change
 * @throws UPDATE_UNTRUSTED (none of these keys has signed them), CONFLICT
 */
export function targetsToSign(
  body: Uint8Array | undefined,
  edit: Edit,
  { signers, clock }: { readonly signers: readonly Signer[]; readonly clock: Clock },
): Signed['targets'] | undefined {
  const nowAtMs = clock.nowAtMs();
  const expires = isoTime(nowAtMs + LIFE_MS.targets);
  const current = body ? parseMetadata('targets', body) : emptyTargets(0, expires);
  if (body && !signers.some(({ publicKey }) => isSignedBy(publicKey, current)))
    throw new AppError(
      'UPDATE_UNTRUSTED',
      'the hub’s targets.json is not signed with this key: it is another hub’s key, or not that of targets',
    );
  // The hub may have been restored from a backup, and devices may have seen more.
  return edit(current.signed, { expires, version: versionAbove(current.signed.version, nowAtMs) });
}

/** Signed by all of these. @throws SIGNING_FAILED */
export async function signedBy(metadata: Signed['targets'], signers: readonly Signer[]): Promise<Buffer> {
  for (const signer of signers) await signer.sign(metadata);
  return encodeMetadata(metadata);
}

/**
 * The targets that follow these and list the release too, good for a year, signed by one key in a file.
 *
 * @throws as `targetsToSign`
 */
export function signTargets(
  body: Uint8Array,
  release: Release,
  { key, clock }: { readonly key: SigningKey; readonly clock: Clock },
): Buffer | undefined {
  const next = targetsToSign(body, listing(release), { signers: [key], clock });
  if (!next) return undefined;
  key.sign(next);
  return encodeMetadata(next);
}
