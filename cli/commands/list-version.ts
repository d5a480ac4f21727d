/** Has a version listed whose hub does not hold the key: signs for it here, where the key is. */
import { modelRecord, type PublishedVersion } from '../../shared/contract/admin.ts';
import type { Release } from '../../shared/release/release.ts';
import { signTargets } from '../../shared/release/tuf/sign-targets.ts';
import type { SigningKey } from '../../shared/release/tuf/signing-keys.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError } from '../../shared/runtime/errors.ts';
import { type HubClient, modelPath } from '../hub-client.ts';
import { versionText } from '../update-text.ts';

const TARGETS_PATH = '/api/v1/tuf/targets';
/** Each time somebody else has signed in between: more than so many do not push at once. */
const MAX_TRIES = 5;

/**
 * @param made what the hub says of the version
 * @param release what was pushed: it is signed for as it is here, whatever the hub says that it has
 * @throws UPDATE_UNTRUSTED (the wrong key, or not what was pushed), CONFLICT, PRECONDITION_FAILED (others signed at each try)
 */
export async function listVersion(
  hub: HubClient,
  made: PublishedVersion,
  { release, key }: { readonly release: Release; readonly key: SigningKey },
): Promise<PublishedVersion> {
  const { ref } = release;
  if (made.name !== ref.name || made.digest !== ref.digest)
    throw new AppError(
      'UPDATE_UNTRUSTED',
      `the hub says that it has taken ${versionText(made)} with digest ${made.digest}, not what was pushed: it is not signed`,
    );
  for (let tries = 1; ; tries++) {
    const { etag, body } = await hub.getBytes(TARGETS_PATH);
    const signed = signTargets(body, release, { key, clock });
    if (!signed) break;
    try {
      await hub.putBytes(TARGETS_PATH, { etag, body: signed });
      break;
    } catch (error) {
      if (!isAppError(error, 'PRECONDITION_FAILED') || tries === MAX_TRIES) throw error;
    }
  }
  const { deployed, versions } = await hub.get(`/api/v1/models/${modelPath(ref.name)}`, modelRecord);
  const published = versions.some(({ version, published: is }) => version === ref.version && is);
  if (!published)
    throw new AppError(
      'UPDATE_NOT_LISTED',
      `${versionText(ref)} is signed, and the hub has not published it: push it again`,
    );
  return { ...made, published, deployed: deployed === ref.version };
}
