/**
 * A device's credential, and the one that it is being renewed to: two hashes, so that neither a lost answer nor a power cut
 * between asking and storing locks a device out. The device has the new secret on disk before it asks.
 *
 * state    | event                                  -> state
 * settled  | renewed to another secret              -> renewing, which is next
 * settled  | renewed to the same                    -> settled: asks how long it is good
 * renewing | renewed to the next again              -> renewing, unchanged: the answer was lost
 * renewing | renewed to a third, by the current one -> renewing, the third is next
 * renewing | the next is used                       -> settled on it
 * renewing | 10 minutes                             -> settled on the next
 * any      | its end has passed                     -> ended: only enrolment helps
 */
import type { Principal } from '../../shared/contract/access.ts';
import type { StoredDevice } from './records.ts';

/** The secrets of a device, as hashes. */
export type StoredCredential = Pick<StoredDevice, 'secretSha256' | 'expiresAtMs' | 'next'>;

/** Enough for a device to ask again after a power cut; a stolen old secret is good no longer. */
const OLD_SECRET_LIFE_MS = 10 * 60_000;

const isOver = (atMs: number | null, nowAtMs: number): boolean => atMs !== null && atMs <= nowAtMs;

/** The next has been used: the one before it is worth nothing. */
export function promote(credential: StoredCredential): StoredCredential {
  const { next } = credential;
  return next ? { secretSha256: next.secretSha256, expiresAtMs: next.expiresAtMs, next: null } : credential;
}

/** As it is now: after its time the old secret is gone, also where nobody has written that down. */
function asOf(credential: StoredCredential, nowAtMs: number): StoredCredential {
  const { next } = credential;
  return next && isOver(next.sinceAtMs + OLD_SECRET_LIFE_MS, nowAtMs) ? promote(credential) : credential;
}

/** Which of the two this is the hash of, if it is good now. */
export function whichOf(
  credential: StoredCredential,
  secretSha256: string,
  nowAtMs: number,
): 'current' | 'next' | undefined {
  const now = asOf(credential, nowAtMs);
  if (now.next?.secretSha256 === secretSha256)
    return isOver(now.next.expiresAtMs, nowAtMs) ? undefined : 'next';
  return now.secretSha256 === secretSha256 && !isOver(now.expiresAtMs, nowAtMs) ? 'current' : undefined;
}

/** Renewed to this secret, which then ends at `expiresAtMs`; itself where that has happened already. */
export function renew(
  credential: StoredCredential,
  secretSha256: string,
  { expiresAtMs, nowAtMs }: { expiresAtMs: number | null; nowAtMs: number },
): StoredCredential {
  if (whichOf(credential, secretSha256, nowAtMs)) return credential;
  const { secretSha256: current, expiresAtMs: ends } = asOf(credential, nowAtMs);
  return {
    secretSha256: current,
    expiresAtMs: ends,
    next: { secretSha256, expiresAtMs, sinceAtMs: nowAtMs },
  };
}

/** When the last of its secrets ends; null: never. */
export function endOf({ expiresAtMs, next }: StoredCredential): number | null {
  if (expiresAtMs === null || !next) return expiresAtMs;
  return next.expiresAtMs === null ? null : Math.max(expiresAtMs, next.expiresAtMs);
}

/** Whether one of its secrets is good now. */
export const isAlive = (credential: StoredCredential, nowAtMs: number): boolean =>
  !isOver(endOf(credential), nowAtMs);

/** Principal that the broker knows it by. */
export function principalOf(id: string, { secretSha256, expiresAtMs, next }: StoredCredential): Principal {
  const newest = next ?? { secretSha256, expiresAtMs };
  return {
    id,
    role: 'device',
    secretSha256: newest.secretSha256,
    ...(newest.expiresAtMs !== null && { expiresAtMs: newest.expiresAtMs }),
    ...(next && {
      before: {
        secretSha256,
        untilAtMs: Math.min(next.sinceAtMs + OLD_SECRET_LIFE_MS, expiresAtMs ?? Number.POSITIVE_INFINITY),
      },
    }),
  };
}
