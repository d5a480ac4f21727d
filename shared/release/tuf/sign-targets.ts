/**
 * Signs for a version where the hub cannot: on the machine of whoever keeps the key of targets. The hub is believed nothing. What it
 * says is listed counts only because this key has signed it before; else it could have anything signed.
 */
import type { Clock } from '../../runtime/clock.ts';
import { AppError } from '../../runtime/errors.ts';
import type { Release } from '../release.ts';
import { targetsWith, versionAbove } from './listing.ts';
import { encodeMetadata, isoTime, LIFE_MS, parseMetadata } from './roles.ts';
import type { SigningKey } from './signing-keys.ts';

/**
 * The targets that follow these and list the release too, good for a year.
 *
 * @param body the signed targets that are in force
 * @returns undefined when they list it already
 * @throws UPDATE_UNTRUSTED (this key has not signed them), CONFLICT (the same version with other files)
 */
export function signTargets(
  body: Uint8Array,
  release: Release,
  { key, clock }: { readonly key: SigningKey; readonly clock: Clock },
): Buffer | undefined {
  const current = parseMetadata('targets', body);
  if (!key.hasSigned(current))
    throw new AppError(
      'UPDATE_UNTRUSTED',
      'the hub’s targets.json is not signed with this key: it is another hub’s key, or not that of targets',
    );
  const nowAtMs = clock.nowAtMs();
  const next = targetsWith(current.signed, [release], {
    expires: isoTime(nowAtMs + LIFE_MS.targets),
    // The hub may have been restored from a backup, and devices may have seen more.
    version: versionAbove(current.signed.version, nowAtMs),
  });
  if (!next) return undefined;
  key.sign(next);
  return encodeMetadata(next);
}
