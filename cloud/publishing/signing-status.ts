/** How the keys that sign updates stand: who signs what, until when it is good, what waits for a signature, and what to do. */
import type { SigningLevel, SigningRoleStatus, SigningStatus } from '../../shared/contract/signing.ts';
import { delegationsOf } from '../../shared/release/tuf/delegations.ts';
import type { TufRepository } from '../../shared/release/tuf/repository.ts';
import { expiresAtMs, LIFE_MS, ROLES, type Role, signersOf } from '../../shared/release/tuf/roles.ts';
import type { VersionBook } from '../ports.ts';

const DAY_MS = 86_400_000;
/** Long before it ends: the holders of keys may be travelling. */
const WARN_MS = { soon: 30 * DAY_MS, urgent: 7 * DAY_MS };
/** What renews itself does so when a third of its life is left: with less than this, something keeps it from it. */
const LEFT_WHEN_LATE = 1 / 6;

/** Signing side, as it is looked at. */
export type SigningSide = Pick<TufRepository, 'current' | 'isDevelopment' | 'holds' | 'renews' | 'release'>;

/** Status of all roles at this time. */
export function signingStatus(updates: SigningSide, models: VersionBook, nowAtMs: number): SigningStatus {
  return {
    isDevelopment: updates.isDevelopment,
    roles: signingRoles(updates, nowAtMs),
    ...waitingFor(updates, models),
  };
}

/** The four roles, then delegations. */
export function signingRoles(updates: SigningSide, nowAtMs: number): SigningRoleStatus[] {
  const { current } = updates;
  const keysOf = (keys: ReturnType<typeof signersOf>['keys']): SigningRoleStatus['keys'] =>
    keys.map(({ keyID, keyType }) => ({ id: keyID, kind: keyType, isHere: updates.holds(keyID) }));
  const roles = ROLES.map((role): SigningRoleStatus => {
    const { keys, threshold } = signersOf(current.root.metadata, role);
    const endsAtMs = expiresAtMs(current[role].metadata);
    const renewsItself = updates.renews(role);
    const level = levelOf(endsAtMs, nowAtMs, renewsItself ? role : undefined);
    return {
      ...{ role, version: current[role].metadata.signed.version, keys: keysOf(keys), threshold },
      ...{ expiresAtMs: endsAtMs, renewsItself, level },
      todo: todoOf(role, level, renewsItself),
    };
  });
  const delegated = delegationsOf(current.targets.metadata).map(
    ({ role, keys, threshold, models }): SigningRoleStatus => {
      const metadata = current.delegated.get(role)?.metadata;
      const endsAtMs = metadata ? expiresAtMs(metadata) : null;
      const level = endsAtMs === null ? 'ok' : levelOf(endsAtMs, nowAtMs);
      const hadSome = current.snapshot.metadata.signed.meta[`${role}.json`] !== undefined;
      const todo =
        !metadata && hadSome
          ? 'What it listed was signed with other keys: its publisher pushes it again with a new one (outrider models push FOLDER --signing-key FILE).'
          : todoOf(role, level, false);
      return {
        ...{ role, version: metadata?.signed.version ?? null, keys: keysOf(keys), threshold },
        ...{ expiresAtMs: endsAtMs, renewsItself: false, todo, models: [...models] },
        level: !metadata && hadSome ? 'urgent' : level,
      };
    },
  );
  return [...roles, ...delegated];
}

/** @param renewedAs the role, of one that signs itself again in time */
function levelOf(endsAtMs: number, nowAtMs: number, renewedAs?: Role): SigningLevel {
  const leftMs = endsAtMs - nowAtMs;
  if (leftMs <= 0) return 'expired';
  if (renewedAs) return leftMs < LIFE_MS[renewedAs] * LEFT_WHEN_LATE ? 'urgent' : 'ok';
  if (leftMs < WARN_MS.urgent) return 'urgent';
  return leftMs < WARN_MS.soon ? 'soon' : 'ok';
}

function todoOf(role: string, level: SigningLevel, renewsItself: boolean): string | null {
  if (level === 'ok') return null;
  if (renewsItself)
    return 'This hub could not sign it again: look for updates.not_signed in its log (a full disk, a clock that is wrong).';
  return `Sign it again where its keys are: outrider keys renew ${role} --signing-key FILE (docs/updates.md).`;
}

function waitingFor(updates: SigningSide, models: VersionBook): Pick<SigningStatus, 'toList' | 'toDelist'> {
  const toList: SigningStatus['toList'] = [];
  const toDelist: SigningStatus['toDelist'] = [];
  for (const ref of models.all()) {
    const stored = models.stored(ref);
    const { name: model, version } = ref;
    if (stored && stored.removedAtMs !== null) {
      if (updates.release(model, version)) toDelist.push({ model, version });
    } else if (stored && !stored.published && stored.files.length > 0) toList.push({ model, version });
  }
  return { toList, toDelist };
}
